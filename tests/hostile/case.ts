import type { Entry, Language } from '../../src/contract/job.ts'
import type { Status } from '../../src/contract/exit-codes.ts'

/**
 * A hostile program as data. Escape shows as evidence that must never appear in an outcome: the word that
 * `mark` writes, the canary's value, the mark file, a connection to the listener.
 */
export interface Case {
  readonly name: string
  readonly family: Family
  /** The attack: its mechanism and, where there is one, the advisory it comes from. */
  readonly because: string
  readonly code: Source
  readonly language?: Language
  readonly entry?: Entry
  readonly files?: readonly { readonly path: string; readonly content: string }[]
  readonly capabilities?: readonly 'webassembly'[]
  /** Merged into the input that every case gets: see `Bait`. */
  readonly input?: Readonly<Record<string, unknown>>
  /** Permitted ends. Containment also requires that no evidence was found. */
  readonly expect: readonly End[]
  /** Result if it ends `ok`, where guest code must not be able to change it. */
  readonly gives?: unknown
  /** A second job, which searches for traces of the first. */
  readonly second?: {
    readonly code: Source
    readonly tenant?: string
    /** Whether the second result must differ from the first. */
    readonly differs?: boolean
    readonly expect: readonly End[]
  }
  /** Not expected to break every sandbox it is compared with: a regression guard. */
  readonly guard?: true
}

export type Family = (typeof families)[number]
export const families = [
  'escape',
  'reach',
  'time',
  'memory',
  'result',
  'state',
  'tenants',
  'parser',
  'output',
] as const

/** `rejected`: refused at the entry point, so that it never became a job. */
export type End = Status | 'rejected'

/** Large sources are generated on demand. */
export type Source = string | (() => string)

/** Bait for hostile code, passed as `input`. */
export interface Bait {
  readonly canaryFile: string
  readonly markFile: string
  readonly canaryUrl: string
  readonly list: readonly number[]
  readonly nested: { readonly deep: { readonly list: readonly string[] } }
}

export function sourceOf(source: Source): string {
  return typeof source === 'string' ? source : source()
}

/** The success word is concatenated at run time, so that an echoed source or stack never contains it. */
export const escapedWord = 'ESCAPED:'

/** Prepends the reporting functions, and reports at the end. */
export function hunting(body: string): string {
  return `${hunter}\n${body}\n;return hits.join(' ') || 'nothing'`
}

/**
 * `hunt` walks constructors and prototypes from a value, and calls every candidate as a host's Function. It
 * logs at once, since a result may never be delivered.
 */
const hunter = String.raw`
var hits = [];
var say = console.log;
function mark(how, what) {
  var line = 'ESC' + 'APED:' + how + ':' + what;
  if (hits.length < 20) hits.push(line);
  try { say(line) } catch {}
}
function hunt(how, value) {
  var seen = [], queue = [[value, 0]];
  while (queue.length && seen.length < 60) {
    var at = queue.shift(), x = at[0], d = at[1];
    if (x === null || (typeof x !== 'object' && typeof x !== 'function') || seen.includes(x)) continue;
    seen.push(x);
    if (typeof x === 'function') {
      try {
        var made = x('return typeof process === "object" && process');
        var p = typeof made === 'function' ? made() : 0;
        if (p && typeof p.pid === 'number') mark(how, p.pid);
      } catch {}
    }
    try { if (typeof x.applySyncPromise === 'function') mark(how, 'bridge') } catch {}
    if (d > 5) continue;
    try { queue.push([x.constructor, d + 1]) } catch {}
    try { queue.push([Object.getPrototypeOf(x), d + 1]) } catch {}
  }
}
`
