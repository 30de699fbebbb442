import type { Observation, ObservedFact } from '../contract/anomaly.ts'

/** What one run did, folded into sets and peaks of bounded size: what a baseline learns from. */
export interface Trail {
  readonly items: Readonly<Record<ItemKind, readonly string[]>>
  readonly peaks: Readonly<Record<PeakName, number>>
  /** Items that there was no room for. */
  readonly lost: Readonly<Record<ItemKind, number>>
}

export const itemKinds = ['syscalls', 'hosts', 'capabilities', 'programs', 'folders'] as const
export type ItemKind = (typeof itemKinds)[number]
export const peakNames = ['memory', 'cpu', 'processes', 'output', 'requests', 'sent'] as const
export type PeakName = (typeof peakNames)[number]

export const trailItemsMax = 256

export const noTrail: Trail = {
  items: { syscalls: [], hosts: [], capabilities: [], programs: [], folders: [] },
  peaks: { memory: 0, cpu: 0, processes: 0, output: 0, requests: 0, sent: 0 },
  lost: { syscalls: 0, hosts: 0, capabilities: 0, programs: 0, folders: 0 },
}

/** The trail after one more observation. What was refused leaves none: it was tried, not done. */
export function noted(trail: Trail, { seen }: Pick<Observation, 'seen'>): Trail {
  if ('denied' in seen && seen.denied) return trail
  const item = itemOf(seen)
  const kept = item ? withItem(trail, item) : trail
  const peaks = peaksOf(kept.peaks, seen)
  return peaks === kept.peaks ? kept : { ...kept, peaks }
}

export interface Item {
  readonly kind: ItemKind
  readonly text: string
}

/** What an observation adds to a set; undefined where it is a number alone. */
export function itemOf(seen: ObservedFact): Item | undefined {
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

/** Two steps of a folder, so that names made up at run time are one. */
function folderOf(path: string): string {
  const steps = path.split('/').slice(1, -1)
  return `/${steps.slice(0, 2).join('/')}`
}

function withItem(trail: Trail, { kind, text }: Item): Trail {
  const list = trail.items[kind]
  if (list.includes(text)) return trail
  if (list.length >= trailItemsMax)
    return { ...trail, lost: { ...trail.lost, [kind]: trail.lost[kind] + 1 } }
  return { ...trail, items: { ...trail.items, [kind]: [...list, text] } }
}

function peaksOf(peaks: Trail['peaks'], seen: ObservedFact): Trail['peaks'] {
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

function raised(peaks: Trail['peaks'], name: PeakName, value: number): Trail['peaks'] {
  return value > peaks[name] ? { ...peaks, [name]: value } : peaks
}
