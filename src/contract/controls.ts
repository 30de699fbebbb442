import assert from 'node:assert/strict'
import * as z from 'zod'
import {
  covers,
  everything,
  meetPattern,
  patternCharactersMax,
  patternTextOf,
  readPattern,
  type Pattern,
} from './pattern.ts'

/**
 * Rights of a sandbox. A lattice: `meet(a, b)` is the stricter of each control, `isWithin(a, b)` is
 * its order. Values are kept in one canonical form (sorted, no redundant entries), so that equal
 * rights are equal data and a profile made twice has the same bytes. No function here, or anywhere,
 * widens a value.
 */

/**
 * `METHOD scheme://host:port/path` patterns, parsed by pattern.ts; method and path are usually
 * omitted. `any` is every public address, and the canonical form of `*://*:*`. `deny` is subtracted
 * from `allow`.
 */
const patternsMax = 1000
const patterns = z.array(z.string().max(patternCharactersMax)).max(patternsMax).readonly()
const bytes = z.number().int().min(0)
export const networkControl = z
  .object({
    allow: z.union([z.literal('any'), patterns]),
    deny: patterns,
    sent: bytes.exactOptional().describe('bytes that may leave in one run'),
    received: bytes.exactOptional(),
  })
  .readonly()
const folders = z.array(z.string().max(300)).max(patternsMax).readonly()
/** Absolute folders, each with its subtree. Write access does not imply read access. */
export const filesControl = z.object({ read: folders, write: folders }).readonly()
const names = z.union([z.literal('any'), z.array(z.string().max(200)).max(1000).readonly()])

export const controlsSchema = z
  .object({
    network: networkControl,
    files: filesControl,
    cpu: z.number().min(0).describe('cores'),
    memory: z.number().int().min(0).describe('bytes above the idle size of the wall'),
    io: z.number().int().min(0).describe('bytes a second, read and written, each device'),
    processes: z.number().int().min(0).describe('processes and threads'),
    syscalls: names.describe('classes of system calls'),
    capabilities: names.describe('granted capability names'),
  })
  .readonly()

export type Controls = z.infer<typeof controlsSchema>
export type Control = keyof Controls
export type NetworkControl = Controls['network']
export type FilesControl = Controls['files']
type Names = Controls['capabilities']

export const controlNames = Object.keys(controlsSchema.unwrap().shape) as readonly Control[]

/** No limit; finite, so that it survives JSON. */
export const unlimited = Number.MAX_SAFE_INTEGER

export const noNetwork: NetworkControl = { allow: [], deny: [] }
export const noFiles: FilesControl = { read: [], write: [] }

/** True if any destination may be reachable. */
export function grantsNetwork({ allow }: NetworkControl): boolean {
  return allow === 'any' || allow.length > 0
}

/** True if any folder may be read or written. */
export function grantsFiles({ read, write }: FilesControl): boolean {
  return read.length > 0 || write.length > 0
}

/** Top of the lattice: all rights. */
export const allControls: Controls = {
  network: { allow: 'any', deny: [] },
  files: { read: ['/'], write: ['/'] },
  cpu: unlimited,
  memory: unlimited,
  io: unlimited,
  processes: unlimited,
  syscalls: 'any',
  capabilities: 'any',
}

const amounts = ['cpu', 'memory', 'io', 'processes'] as const satisfies readonly Control[]

/**
 * The stricter of each control. Commutative, associative, idempotent; the result is canonical. Throws AssertionError
 * for `NaN`: every comparison with it is false, so it would disable the limit.
 */
export function meet(a: Controls, b: Controls): Controls {
  const both = {
    network: meetNetwork(a.network, b.network),
    files: {
      read: meetPaths(a.files.read, b.files.read),
      write: meetPaths(a.files.write, b.files.write),
    },
    cpu: Math.min(a.cpu, b.cpu),
    memory: Math.min(a.memory, b.memory),
    io: Math.min(a.io, b.io),
    processes: Math.min(a.processes, b.processes),
    syscalls: meetNames(a.syscalls, b.syscalls),
    capabilities: meetNames(a.capabilities, b.capabilities),
  }
  for (const name of amounts)
    assert(both[name] <= a[name] && both[name] <= b[name], `${name}: ${both[name]} is no meet`)
  return both
}

/** True if `inner` allows nothing beyond `outer`. */
export function isWithin(inner: Controls, outer: Controls): boolean {
  return controlsBeyond(inner, outer).length === 0
}

/** Throws AssertionError where a change of controls opens something. */
export function assertNarrowed(before: Controls, after: Controls): void {
  const opened = controlsBeyond(after, before)
  assert(opened.length === 0, `a change of controls opened ${opened.join(', ')}`)
}

/**
 * Canonical form of equal rights: sorted, no redundant entries, no denial outside the allowed set.
 * An unreadable pattern allows nothing and denies everything.
 */
export function canonicalControls(controls: Controls): Controls {
  return meet(controls, controls)
}

/** Controls in which `inner` allows more than `outer`, in a fixed order; empty if it is within. */
export function controlsBeyond(inner: Controls, outer: Controls): readonly Control[] {
  const own = canonicalControls(inner)
  const both = meet(inner, outer)
  return controlNames.filter((name) => JSON.stringify(own[name]) !== JSON.stringify(both[name]))
}

function meetNetwork(a: NetworkControl, b: NetworkControl): NetworkControl {
  if (!grantsNetwork(a) || !grantsNetwork(b)) return noNetwork
  const denied = outermost([...deniedBy(a), ...deniedBy(b)])
  const allow = meetPatterns(allowedBy(a), allowedBy(b)).filter(
    (pattern) => !denied.some((deny) => covers(deny, pattern)),
  )
  const deny = isEverything(allow) ? denied : meetPatterns(allow, denied)
  if (allow.length === 0 || Math.max(allow.length, deny.length) > patternsMax) return noNetwork
  return {
    allow: isEverything(allow) ? 'any' : texts(allow),
    deny: texts(deny),
    ...lesser('sent', a, b),
    ...lesser('received', a, b),
  }
}

/** The stricter of two byte budgets; omits the key if neither side sets one. */
function lesser<K extends 'sent' | 'received'>(
  name: K,
  a: NetworkControl,
  b: NetworkControl,
): { readonly [k in K]?: number } {
  const least = Math.min(a[name] ?? Infinity, b[name] ?? Infinity)
  return least === Infinity ? {} : ({ [name]: least } as { [k in K]: number })
}

function meetPaths(a: readonly string[], b: readonly string[]): readonly string[] {
  const [x, y] = [a.filter(isFolder), b.filter(isFolder)]
  const shared = [
    ...x.filter((path) => y.some((outer) => isBelow(path, outer))),
    ...y.filter((path) => x.some((outer) => isBelow(path, outer))),
  ]
  const unique = [...new Set(shared)].sort()
  return unique.filter((inner) => !unique.some((outer) => outer !== inner && isBelow(inner, outer)))
}

function meetNames(a: Names, b: Names): Names {
  if (a === 'any') return b === 'any' ? 'any' : [...new Set(b)].sort()
  if (b === 'any') return [...new Set(a)].sort()
  const both = new Set(b)
  return [...new Set(a)].filter((name) => both.has(name)).sort()
}

/** Absolute and normalised: a path with `..`, `.` or an empty segment could lie anywhere. */
function isFolder(path: string): boolean {
  return path === '/' || (path.startsWith('/') && !/\/(\.{0,2})(\/|$)/.test(path))
}

function isBelow(inner: string, outer: string): boolean {
  return inner === outer || outer === '/' || inner.startsWith(`${outer}/`)
}

/** Largest number of patterns made by intersecting pairs; beyond it the network is closed as too complex. */
const crossedMax = 4 * patternsMax

function isEverything(patterns: readonly Pattern[]): boolean {
  return patterns.some((pattern) => covers(pattern, everything))
}

/** Patterns a network allows; an unreadable one allows nothing. */
export function allowedBy(network: NetworkControl): readonly Pattern[] {
  if (network.allow === 'any') return [everything]
  return network.allow.map(readPattern).filter((pattern) => pattern !== undefined)
}

/** Patterns it denies; an unreadable one denies everything. */
export function deniedBy(network: NetworkControl): readonly Pattern[] {
  return network.deny.map((text) => readPattern(text) ?? everything)
}

function texts(patterns: readonly Pattern[]): readonly string[] {
  return patterns.map(patternTextOf).sort()
}

/**
 * Intersection of two lists. Only patterns not fully covered by the other list can cross and form
 * new ones.
 */
function meetPatterns(a: readonly Pattern[], b: readonly Pattern[]): readonly Pattern[] {
  const isInB = Map.groupBy(a, (x) => b.some((y) => covers(y, x)))
  const isInA = Map.groupBy(b, (y) => a.some((x) => covers(x, y)))
  const crossed = (isInB.get(false) ?? []).flatMap((x) =>
    (isInA.get(false) ?? []).map((y) => meetPattern(x, y)).filter((both) => both !== undefined),
  )
  const whole = [...(isInB.get(true) ?? []), ...(isInA.get(true) ?? [])]
  // Reduction is quadratic, so a list beyond the bound stays unreduced: its length then closes the
  // network.
  return crossed.length > crossedMax ? crossed : outermost([...whole, ...crossed])
}

function outermost(patterns: readonly Pattern[]): readonly Pattern[] {
  const unique = [...new Map(patterns.map((pattern) => [patternTextOf(pattern), pattern])).values()]
  return unique.filter((inner) => !unique.some((outer) => outer !== inner && covers(outer, inner)))
}
