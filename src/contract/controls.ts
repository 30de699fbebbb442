import * as z from 'zod'

/**
 * What a sandbox may do. A lattice: `meet(a, b)` is the stricter of each control, `isWithin(a, b)` is its
 * order. Values are kept in one canonical form (sorted, nothing implied twice), so that equal rights are equal
 * data and a profile made twice is the same bytes. No function here, or anywhere, widens a value.
 */

/** `scheme://host:port` patterns; a host may start with `*.`, a port may be `*`. `any` is every public address. */
const patterns = z.array(z.string().max(300)).max(1000).readonly()
export const networkControl = z
  .object({ allow: z.union([z.literal('any'), patterns]), deny: patterns })
  .readonly()
/** Absolute folders, each with all below it. What may be written may not for that reason be read. */
export const filesControl = z.object({ read: patterns, write: patterns }).readonly()
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

/** The controls in which `inner` allows more than `outer`, in a fixed order; empty when it is within. */
export function controlsBeyond(inner: Controls, outer: Controls): readonly Control[] {
  const own = meet(inner, inner)
  const both = meet(inner, outer)
  return controlNames.filter((name) => JSON.stringify(own[name]) !== JSON.stringify(both[name]))
}

function meetNetwork(a: NetworkControl, b: NetworkControl): NetworkControl {
  const allow =
    a.allow === 'any' && b.allow === 'any'
      ? ('any' as const)
      : canonical(
          pairs(
            a.allow === 'any' ? ['*://*:*'] : a.allow,
            b.allow === 'any' ? ['*://*:*'] : b.allow,
            meetPattern,
          ),
          covers,
        )
  if (allow !== 'any' && allow.length === 0) return noNetwork
  return { allow, deny: canonical([...a.deny, ...b.deny], covers) }
}

function meetPaths(a: readonly string[], b: readonly string[]): readonly string[] {
  return canonical(
    pairs(a, b, (x, y) => (isBelow(x, y) ? x : isBelow(y, x) ? y : undefined)),
    (outer, inner) => isBelow(inner, outer),
  )
}

function meetNames(a: Names, b: Names): Names {
  if (a === 'any') return b === 'any' ? 'any' : [...new Set(b)].sort()
  if (b === 'any') return [...new Set(a)].sort()
  return [...new Set(a)].filter((name) => b.includes(name)).sort()
}

function pairs(
  a: readonly string[],
  b: readonly string[],
  both: (x: string, y: string) => string | undefined,
): string[] {
  return a.flatMap((x) => b.map((y) => both(x, y))).filter((p) => p !== undefined)
}

/** Sorted, without doubles and without what another entry covers. */
function canonical(
  list: readonly string[],
  covers: (outer: string, inner: string) => boolean,
): string[] {
  const unique = [...new Set(list)].sort()
  return unique.filter((inner) => !unique.some((outer) => outer !== inner && covers(outer, inner)))
}

function isBelow(inner: string, outer: string): boolean {
  return inner === outer || outer === '/' || inner.startsWith(`${outer}/`)
}

const PATTERN = /^([a-z*]+):\/\/(.+):(\d+|\*)$/

function covers(outer: string, inner: string): boolean {
  return meetPattern(outer, inner) === inner
}

function meetPattern(a: string, b: string): string | undefined {
  const [, schemeA = '', hostA = '', portA = ''] = PATTERN.exec(a) ?? []
  const [, schemeB = '', hostB = '', portB = ''] = PATTERN.exec(b) ?? []
  const scheme = meetWord(schemeA, schemeB)
  const host = meetHost(hostA, hostB)
  const port = meetWord(portA, portB)
  return scheme && host && port ? `${scheme}://${host}:${port}` : undefined
}

function meetWord(a: string, b: string): string | undefined {
  if (a === '*') return b
  return b === '*' || a === b ? a : undefined
}

function meetHost(a: string, b: string): string | undefined {
  if (a === '*') return b
  if (b === '*' || a === b) return a
  if (a.startsWith('*.') && b.endsWith(a.slice(1))) return b
  return b.startsWith('*.') && a.endsWith(b.slice(1)) ? a : undefined
}
