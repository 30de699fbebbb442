import { asRealUser, limitResource, resourceLimit } from '../../../os/libc.js'
import { readFileSync } from 'node:fs'

/**
 * Marks the zone of a process where there are no cgroups, by two resource limits without effect: RLIMIT_RSS (since Linux
 * 2.4.30) and RLIMIT_LOCKS (since 2.4.25), see getrlimit(2). Children inherit them and keep them when they are reparented,
 * and raising a hard limit takes CAP_SYS_RESOURCE. Of two sibling zones, one has the lower RSS and the other the lower
 * LOCKS: a process that lowers its own limits cannot get into a sibling, only into a zone within its own.
 */
export interface Mark {
  readonly rss: number
  readonly locks: number
}

/** Depth of nested zones, and zones within one over a life. */
export const depthMax = 3
export const zonesInOneMax = 256

const TOP = 2 ** 50
const WIDTH = zonesInOneMax + 1
const unmarked: Mark = { rss: TOP, locks: TOP }

/** The mark of the `index`th zone, from 0, within one at `depth`, from 0 for the whole. */
export function markWithin(outer: Mark | undefined, depth: number, index: number): Mark {
  const { rss, locks } = outer ?? unmarked
  const step = WIDTH ** (depthMax - 1 - depth)
  return { rss: rss - (index + 1) * step, locks: locks - (zonesInOneMax - index) * step }
}

/** Marks a process, and reads it back. Throws where that is refused, or the process is gone. */
export function setMark(pid: number, { rss, locks }: Mark, uid: number | undefined): void {
  const set = () => {
    limitResource('rss', rss, pid)
    limitResource('locks', locks, pid)
    if (resourceLimit('rss', pid) !== rss || resourceLimit('locks', pid) !== locks)
      throw new Error(`process ${pid} does not keep its mark`)
  }
  if (uid === undefined) set()
  else asRealUser(uid, set)
}

/** Hard limits of a process, which mark its zone; undefined where it is gone. An unlimited one counts as no mark. */
export function markOf(pid: number): Mark | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/limits`, 'utf8')
    return { rss: hardIn(text, 'Max resident set'), locks: hardIn(text, 'Max file locks') }
  } catch {
    return undefined
  }
}

/** Whether a mark is this one, or one within it; also one that its own process has lowered by a little. */
export function isWithinMark(found: Mark, mark: Mark, depth: number): boolean {
  const step = WIDTH ** (depthMax - 1 - depth)
  const isNear = (outer: number, inner: number) => outer - inner >= 0 && outer - inner < step
  return isNear(mark.rss, found.rss) && isNear(mark.locks, found.locks)
}

/** Whether the process was ever in a zone: only `setMark` lowers both limits. */
export function isMarked({ rss, locks }: Mark): boolean {
  return rss < TOP && locks < TOP
}

function hardIn(text: string, name: string): number {
  const at = text.indexOf(`\n${name} `)
  const [, hard = 'unlimited'] = text
    .slice(at + name.length + 2)
    .trim()
    .split(/\s+/)
  return hard === 'unlimited' ? TOP : Math.min(TOP, Number(hard))
}
