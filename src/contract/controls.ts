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
 * What a sandbox may do. A lattice: `meet(a, b)` is the stricter of each control, `isWithin(a, b)` is its
 * order. Values are kept in one canonical form (sorted, nothing implied twice), so that equal rights are equal
 * data and a profile made twice is the same bytes. No function here, or anywhere, widens a value.
 */

/**
 * `METHOD scheme://host:port/path` patterns, as pattern.ts reads them; method and path are mostly left out. `any` is
 * every public address, and is what `*://*:*` becomes. Denied is what is taken out of what is allowed.
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
/** Absolute folders, each with all below it. What may be written may not for that reason be read. */
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

/** No limit that a number could name; kept finite so that it survives JSON. */
export const unlimited = Number.MAX_SAFE_INTEGER

export const noNetwork: NetworkControl = { allow: [], deny: [] }
export const noFiles: FilesControl = { read: [], write: [] }

/** Whether anything may leave, or might but for what is denied. */
export function grantsNetwork({ allow }: NetworkControl): boolean {
  return allow === 'any' || allow.length > 0
}

/** Whether any folder may be read or written. */
export function grantsFiles({ read, write }: FilesControl): boolean {
  return read.length > 0 || write.length > 0
}

/** The top of the lattice: everything. */
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

/** The stricter of each control. Commutative, associative, idempotent; the result is canonical. */
export function meet(a: Controls, b: Controls): Controls {
  return {
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
}

/** Whether `inner` allows nothing that `outer` does not. */
export function isWithin(inner: Controls, outer: Controls): boolean {
  return controlsBeyond(inner, outer).length === 0
}

/**
 * The one form of equal rights: sorted, nothing implied twice, nothing denied that was not allowed. What cannot be
 * read allows nothing and denies everything.
 */
export function canonicalControls(controls: Controls): Controls {
  return meet(controls, controls)
}

/** The controls in which `inner` allows more than `outer`, in a fixed order; empty when it is within. */
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

/** A budget that nobody names is none of its own. */
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

/** Absolute and plain: a path with `..`, `.` or an empty step could lie anywhere. */
function isFolder(path: string): boolean {
  return path === '/' || (path.startsWith('/') && !/\/(\.{0,2})(\/|$)/.test(path))
}

function isBelow(inner: string, outer: string): boolean {
  return inner === outer || outer === '/' || inner.startsWith(`${outer}/`)
}

/** Crossings looked at before a network is closed for being too entangled to hold. */
const crossedMax = 4 * patternsMax

function isEverything(patterns: readonly Pattern[]): boolean {
  return patterns.some((pattern) => covers(pattern, everything))
}

/** What a network lets out, as patterns; what cannot be read lets out nothing. */
export function allowedBy(network: NetworkControl): readonly Pattern[] {
  if (network.allow === 'any') return [everything]
  return network.allow.map(readPattern).filter((pattern) => pattern !== undefined)
}

/** What it takes out of that; what cannot be read takes out everything. */
export function deniedBy(network: NetworkControl): readonly Pattern[] {
  return network.deny.map((text) => readPattern(text) ?? everything)
}

function texts(patterns: readonly Pattern[]): readonly string[] {
  return patterns.map(patternTextOf).sort()
}

/** What both lists hold. Only patterns that neither list covers whole can cross and make new ones. */
function meetPatterns(a: readonly Pattern[], b: readonly Pattern[]): readonly Pattern[] {
  const isInB = Map.groupBy(a, (x) => b.some((y) => covers(y, x)))
  const isInA = Map.groupBy(b, (y) => a.some((x) => covers(x, y)))
  const crossed = (isInB.get(false) ?? []).flatMap((x) =>
    (isInA.get(false) ?? []).map((y) => meetPattern(x, y)).filter((both) => both !== undefined),
  )
  const whole = [...(isInB.get(true) ?? []), ...(isInA.get(true) ?? [])]
  // Comparing all with all is quadratic, so a list past all bounds is not reduced: its length closes the network.
  return crossed.length > crossedMax ? crossed : outermost([...whole, ...crossed])
}

function outermost(patterns: readonly Pattern[]): readonly Pattern[] {
  const unique = [...new Map(patterns.map((pattern) => [patternTextOf(pattern), pattern])).values()]
  return unique.filter((inner) => !unique.some((outer) => outer !== inner && covers(outer, inner)))
}
