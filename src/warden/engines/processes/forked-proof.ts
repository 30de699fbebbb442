import { readFileSync, readlinkSync, statSync } from 'node:fs'
import { MayflyError } from '../../../contract/error.ts'
import type { JailFacts } from '../../../jail/facts.ts'
import { processFacts } from '../../../os/proc.ts'
import { insideOf } from './members.ts'
import type { WallResources } from './resources.ts'

/**
 * Verifies a forked wall from outside before it is used: its processes were forked outside of the jail, so a missing
 * layer would otherwise stay unnoticed. The program has already probed its filter from inside (guest/zygote/prove.c).
 *
 * Throws MayflyError UNAVAILABLE with the name of the layer.
 */
export function assertForkedWall(resources: WallResources, facts: JailFacts): void {
  const { processes, cgroup, child, forkedFrom = [] } = resources
  if (processFacts(child.pid!)?.parent !== process.pid) throw unheld('its parent')
  const inside = insideOf(resources)
  if (processes.length !== 3 || inside.length !== 2) throw unheld('its processes')
  for (const pid of inside) {
    const others = [...forkedFrom, ...surroundingsOf('self')]
    const own = surroundingsOf(pid).filter((one) => !facts.root || !one.startsWith('user:'))
    const shared = own.find((one) => others.includes(one))
    if (shared) throw unheld(`its namespace (${shared})`)
    assertRights(statusOf(pid), resources.slot?.uid)
    if (cgroup && !cgroup.holds(pid)) throw unheld('its control groups')
  }
}

const NAMESPACES = ['mnt', 'net', 'pid', 'ipc', 'uts', 'user'] as const
const SETS = ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'] as const
const NONE = /^0+$/
/**
 * Namespaces of a process, and the device of its root. A wall must share none with the warden, and none with the
 * template, because all forked walls would share it.
 */
export function surroundingsOf(pid: number | 'self'): readonly string[] {
  const links = NAMESPACES.map((name) => readlinkSync(`/proc/${pid}/ns/${name}`))
  return [...links, `root device ${statSync(`/proc/${pid}/root/`).dev}`]
}

/** Number of PID namespaces in NSpid: program and init have a pid in the host's and in the wall's. */
const PID_NAMESPACES = 2
const FILTERS = '2'

function assertRights(status: ReadonlyMap<string, string>, uid: number | undefined): void {
  const field = (name: string) => status.get(name)?.trim() ?? ''
  for (const name of SETS) if (!NONE.test(field(name))) throw unheld(`its capabilities (${name})`)
  if (field('NoNewPrivs') !== '1' || field('Seccomp') !== FILTERS) throw unheld('its filters')
  if (field('NSpid').split(/\s+/).length < PID_NAMESPACES) throw unheld('its pid namespace')
  const uids = new Set(field('Uid').split(/\s+/).map(Number))
  const wanted = uid ?? process.getuid?.()
  if (uids.size !== 1 || !uids.has(wanted!)) throw unheld('its user')
  if (uid !== undefined && field('Groups') !== '') throw unheld('its groups')
}

function statusOf(pid: number): ReadonlyMap<string, string> {
  const lines = readFileSync(`/proc/${pid}/status`, 'utf8').split('\n')
  return new Map(lines.map((line) => [line.split(':')[0]!, line.slice(line.indexOf(':') + 1)]))
}

function unheld(what: string): MayflyError {
  return new MayflyError('UNAVAILABLE', `Cannot use a forked wall: ${what} is not as required`)
}
