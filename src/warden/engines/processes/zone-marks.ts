import { asRealUser, limitResource, resourceLimit } from '../../../os/libc.js'
import { tryReadText } from '../../../os/read.ts'

/**
 * Marks the zone of a process on machines without cgroups, by two resource limits without effect: RLIMIT_RSS (since Linux
 * 2.4.30) and RLIMIT_LOCKS (since 2.4.25), see getrlimit(2). Children inherit them and keep them when they are reparented,
 * and raising a hard limit takes CAP_SYS_RESOURCE. Of two sibling zones, one has the lower RSS and the other the lower
 * LOCKS: a process that lowers its own limits cannot enter a sibling, only a zone nested in its own.
 *
 * Not handled: a wall with a keeper, which marks its processes by RLIMIT_LOCKS too.
 */
export interface Mark {
  readonly rss: number
  readonly locks: number
}

/** Maximum depth of nested zones, which is what fits below `TOP`, and of zones within one over a life. */
export const zoneDepthMax = 6
export const zonesInOneMax = 256

const TOP = 2 ** 50
const WIDTH = zonesInOneMax + 1
const unmarked: Mark = { rss: TOP, locks: TOP }

/** Mark of a zone: the `index`th one, from 0, within a zone at `depth`; the whole wall has depth 0. */
export function markWithin(outer: Mark | undefined, depth: number, index: number): Mark {
  const { rss, locks } = outer ?? unmarked
  const step = WIDTH ** (zoneDepthMax - 1 - depth)
  return { rss: rss - (index + 1) * step, locks: locks - (zonesInOneMax - index) * step }
}

/** Marks a process, and reads the mark back. Throws if that is refused, or if the process is gone. */
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

/** Hard limits of a process, which mark its zone; undefined if it is gone. An unlimited one counts as no mark. */
export function zoneMarkOf(pid: number): Mark | undefined {
  const text = tryReadText(`/proc/${pid}/limits`)
  return text
    ? { rss: hardIn(text, 'Max resident set'), locks: hardIn(text, 'Max file locks') }
    : undefined
}

/** True if a mark is equal to `mark` or nested in it; tolerates a small reduction by the process itself. */
export function isWithinMark(found: Mark, mark: Mark, depth: number): boolean {
  const step = WIDTH ** (zoneDepthMax - 1 - depth)
  const isNear = (outer: number, inner: number) => outer - inner >= 0 && outer - inner < step
  return isNear(mark.rss, found.rss) && isNear(mark.locks, found.locks)
}

/** True if the process was ever in a zone: only `setMark` lowers both limits. */
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
