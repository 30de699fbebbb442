import {
  allControls,
  type Controls,
  isWithin,
  meet,
  noNetwork,
  unlimited,
} from '../contract/controls.ts'
import { parsePattern } from '../contract/network.ts'
import { type Baseline, familiarityOf, runsToLearn } from './baseline.ts'

/** Policy proposed from learned runs: what they used plus headroom, within the controls in force. */
export interface Proposal {
  readonly controls: Controls
  /** Notes for the approver. */
  readonly notes: readonly string[]
}

/** Factor above the largest observed value. */
const headroom = 1.5
const memoryMin = 8 * 2 ** 20

/** Proposes controls from baselines of one name; undefined without learned runs. */
export function propose(baselines: readonly Baseline[], inForce: Controls): Proposal | undefined {
  const known = baselines.filter(({ runs }) => runs > 0)
  if (known.length === 0) return undefined
  const peak = (name: 'memory' | 'processes') =>
    Math.max(...known.map(({ peaks }) => peaks[name].max))
  const hosts = namesOf(known, 'hosts')
  const capabilities = namesOf(known, 'capabilities')
  const wanted: Controls = {
    ...allControls,
    network: hosts === 'lost' ? inForce.network : networkOf(hosts),
    memory:
      peak('memory') > 0
        ? more(Math.max(memoryMin, peak('memory') * headroom), 2 ** 20)
        : unlimited,
    processes: peak('processes') > 0 ? more(peak('processes') * headroom, 1) : unlimited,
    capabilities: capabilities === 'lost' ? 'any' : capabilities,
    // Walls observe only some classes: an unobserved class may have been used.
    syscalls: 'any',
  }
  const controls = meet(inForce, wanted)
  if (!isWithin(controls, inForce))
    throw new RangeError('the proposal is looser than what is in force')
  return { controls, notes: notesOf(known) }
}

function networkOf(hosts: readonly string[]): Controls['network'] {
  const allow = hosts.flatMap((host) => parsePattern(host, 'https') ?? [])
  return allow.length === 0 ? noNetwork : { allow, deny: [] }
}

/** Union of the items of a kind; `lost` if some were dropped. */
function namesOf(
  baselines: readonly Baseline[],
  kind: 'hosts' | 'capabilities',
): readonly string[] | 'lost' {
  if (baselines.some(({ lost }) => lost[kind] > 0)) return 'lost'
  return [...new Set(baselines.flatMap(({ items }) => Object.keys(items[kind])))].sort()
}

function more(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit
}

/** A proposal has what any run used: the approver must see what only some did. */
function rareIn(baseline: Baseline): readonly string[] {
  return (['hosts', 'capabilities'] as const).flatMap((kind) =>
    Object.entries(baseline.items[kind])
      .filter(([, times]) => familiarityOf(times, baseline) !== 'usual')
      .map(([item, times]) => `"${item}" was used by ${times} of ${baseline.runs} runs`),
  )
}

function notesOf(baselines: readonly Baseline[]): readonly string[] {
  const sum = (of: (one: Baseline) => number) => baselines.reduce((so, one) => so + of(one), 0)
  const runs = sum(({ runs }) => runs)
  const setAside = sum(({ setAside }) => setAside)
  const lost = sum((one) => one.lost.hosts + one.lost.capabilities)
  const cpu = Math.max(...baselines.map(({ peaks }) => peaks.cpu.max))
  return [
    `learned from ${runs} ${runs === 1 ? 'run' : 'runs'}; memory and processes have 50 % headroom`,
    ...(cpu > 0 ? [`the maximum CPU time of a run is ${Math.ceil(cpu)} ms`] : []),
    ...(runs < runsToLearn ? [`fewer runs than the ${runsToLearn} of a complete baseline`] : []),
    ...baselines.flatMap(rareIn),
    ...(setAside > 0
      ? [
          `${setAside} more ${setAside === 1 ? 'run was' : 'runs were'} skipped, because they had anomalies`,
        ]
      : []),
    ...(lost > 0
      ? ['hosts or capabilities exceed the limit of a baseline, so their rules stay unchanged']
      : []),
  ]
}
