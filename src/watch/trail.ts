import type { Observation, ObservedFact } from '../contract/anomaly.ts'

/** Observed behaviour of one run in bounded sets and peaks; input for baselines. */
export interface RunTrail {
  readonly items: Readonly<Record<ItemKind, readonly string[]>>
  readonly peaks: Readonly<Record<PeakName, number>>
  /** Items dropped at the limit. */
  readonly lost: Readonly<Record<ItemKind, number>>
}

export const itemKinds = ['syscalls', 'hosts', 'capabilities', 'programs', 'folders'] as const
export type ItemKind = (typeof itemKinds)[number]
export const peakNames = ['memory', 'cpu', 'processes', 'output', 'requests', 'sent'] as const
export type PeakName = (typeof peakNames)[number]

export const trailItemsMax = 256

export const noTrail: RunTrail = {
  items: { syscalls: [], hosts: [], capabilities: [], programs: [], folders: [] },
  peaks: { memory: 0, cpu: 0, processes: 0, output: 0, requests: 0, sent: 0 },
  lost: { syscalls: 0, hosts: 0, capabilities: 0, programs: 0, folders: 0 },
}

/** Adds an observation; denied attempts are not behaviour. */
export function withObservation(trail: RunTrail, { seen }: Pick<Observation, 'seen'>): RunTrail {
  if ('denied' in seen && seen.denied) return trail
  const item = itemOf(seen)
  const kept = item ? withItem(trail, item) : trail
  const peaks = peaksOf(kept.peaks, seen)
  return peaks === kept.peaks ? kept : { ...kept, peaks }
}

export interface TrailItem {
  readonly kind: ItemKind
  readonly text: string
}

/** Set item of an observation; undefined if it is only a number. */
export function itemOf(seen: ObservedFact): TrailItem | undefined {
  switch (seen.kind) {
    case 'syscall':
      return { kind: 'syscalls', text: seen.class }
    case 'connect':
      return { kind: 'hosts', text: `${seen.host.toLowerCase()}:${seen.port}` }
    case 'capability':
      return { kind: 'capabilities', text: seen.name }
    case 'exec':
      return { kind: 'programs', text: seen.path }
    case 'open':
      return { kind: 'folders', text: `${seen.access} ${folderOf(seen.path)}` }
    default:
      return undefined
  }
}

/** First two path components, so that generated names are merged. */
function folderOf(path: string): string {
  const steps = path.split('/').slice(1, -1)
  return `/${steps.slice(0, 2).join('/')}`
}

function withItem(trail: RunTrail, { kind, text }: TrailItem): RunTrail {
  const list = trail.items[kind]
  if (list.includes(text)) return trail
  if (list.length >= trailItemsMax)
    return { ...trail, lost: { ...trail.lost, [kind]: trail.lost[kind] + 1 } }
  return { ...trail, items: { ...trail.items, [kind]: [...list, text] } }
}

function peaksOf(peaks: RunTrail['peaks'], seen: ObservedFact): RunTrail['peaks'] {
  switch (seen.kind) {
    case 'memory':
      return raised(peaks, 'memory', seen.bytes)
    case 'cpu':
      return raised(peaks, 'cpu', seen.used)
    case 'processes':
      return raised(peaks, 'processes', seen.now)
    case 'output':
      return raised(peaks, 'output', peaks.output + seen.bytes)
    case 'connect':
      return {
        ...peaks,
        requests: peaks.requests + (seen.part === 'closed' ? 0 : 1),
        sent: peaks.sent + seen.sent,
      }
    default:
      return peaks
  }
}

function raised(peaks: RunTrail['peaks'], name: PeakName, value: number): RunTrail['peaks'] {
  return value > peaks[name] ? { ...peaks, [name]: value } : peaks
}
