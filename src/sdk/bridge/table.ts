/**
 * Public API as a table of calls: each member of the classes whose instances live in the host process, and how it is called.
 * The other classes of the library run in the application, on top of these. Derived facts are omitted:
 * arguments and results are passed as data, and whether a call is synchronous is in its type, which the compiler compares
 * with the kind of its row.
 */
import type { Box } from '../box.ts'
import type { BoxTerminal } from '../box-terminal.ts'
import type { AddedCustom, MayflyInternals } from '../internals.ts'
import type { Mayfly } from '../mayfly.ts'

/** Callback of the application in a call: `asked` has a response, within `msMax`, `json` one as JSON; `told` is one-way. */
export interface FunctionRow {
  readonly kind: 'asked' | 'json' | 'told'
  readonly msMax?: number
}

export interface ArgumentRules {
  /** Paths of arguments that are functions, such as `1.tap`. Other functions are dropped, as by JSON.stringify. */
  readonly functions?: Readonly<Record<string, FunctionRow>>
  /** Functions stay callable after the call, until the process ends. */
  readonly keepsFunctions?: boolean
  /** Signals abort the work that the call began, also after its result. */
  readonly keepsSignals?: boolean
  /** Paths of arguments that the pipeline writes as JSON text. */
  readonly json?: readonly string[]
  /** Class of the result, which then stays in the host process. */
  readonly returns?: ClassName
  /** The same for each item of the result. */
  readonly returnsItems?: ClassName
  /** The result, or each item of it, can be an argument of later calls. */
  readonly remembers?: 'result' | 'items'
}

/** Method that returns a promise. */
interface CallRow extends ArgumentRules {
  readonly kind: 'call'
  /** Promise that the call has as its result after the close of Mayfly. */
  readonly settles?: 'ended' | 'exited'
}

/** Synchronous method: this thread blocks until the other process responds. */
interface SyncRow extends ArgumentRules {
  readonly kind: 'sync'
}

/** Property: `fact` never changes, `look` is read each time, `later` is a promise, the others are streams. */
interface PropertyRow {
  readonly kind: 'fact' | 'look' | 'later' | 'readable' | 'writable'
}

export type MemberRow = CallRow | SyncRow | PropertyRow

export interface MemberRows {
  readonly [member: string]: MemberRow | MemberRows
}

export type ClassName = 'Mayfly' | 'Box' | 'BoxTerminal' | 'AddedCustom'

type RowFor<Member> = Member extends (...args: never[]) => infer Result
  ? Result extends Promise<unknown>
    ? CallRow
    : SyncRow
  : Member extends Promise<unknown>
    ? { readonly kind: 'later' }
    : Member extends ReadableStream
      ? { readonly kind: 'readable' }
      : Member extends WritableStream
        ? { readonly kind: 'writable' }
        : { readonly kind: 'fact' | 'look' } | RowsFor<Member>

/** A row for each public member: the compiler refuses a table that lacks one, or that has another. */
type RowsFor<Instance> = {
  readonly [Member in keyof Instance as Member extends symbol ? never : Member]-?: RowFor<
    Instance[Member]
  >
}

const call = { kind: 'call' } as const
const sync = { kind: 'sync' } as const
const fact = { kind: 'fact' } as const
const look = { kind: 'look' } as const
const asked = { kind: 'asked' } as const
const json = { kind: 'json' } as const
const told = { kind: 'told' } as const
/** Timeout of a custom provider's callbacks that have no deadline of their own. */
const ANSWER_MS_MAX = 30_000
const answered = { kind: 'asked', msMax: ANSWER_MS_MAX } as const

const internals = {
  runCapability: { ...call, json: ['0.input'] },
  addCustom: {
    ...call,
    functions: {
      '0.isAvailable': answered,
      '0.initialize': answered,
      // Bounded by the deadline of its job, through the signal.
      '0.execute': asked,
      '0.cleanup': answered,
    },
    keepsFunctions: true,
    returns: 'AddedCustom',
  },
  reportMisdeclared: call,
} as const satisfies RowsFor<MayflyInternals>

export const classes = {
  Mayfly: {
    run: {
      ...call,
      functions: { '1.tap': asked, '1.functions.*': json },
      json: ['0.input', '0.calls'],
    },
    batch: {
      ...call,
      functions: { '2.tap': asked, '2.functions.*': json },
      json: ['0.input', '1'],
    },
    open: { ...call, returns: 'Box', keepsSignals: true },
    analyze: { ...call, json: ['0.input', '0.calls'] },
    initializeExecution: {
      ...call,
      json: ['1.input'],
      remembers: 'items',
      keepsSignals: true,
    },
    analyzeCode: { ...call, json: ['1.input'], remembers: 'result' },
    createTemporalZones: {
      ...call,
      json: ['1.input'],
      remembers: 'items',
      keepsSignals: true,
    },
    assignCodeToZones: sync,
    monitorZones: { ...call, functions: { '1.on': told } },
    detectAnomaly: sync,
    tightenPolicy: call,
    terminateZone: call,
    statistics: sync,
    providers: call,
    addProvider: call,
    override: sync,
    close: call,
    internals,
  },
  Box: {
    id: fact,
    files: { put: call, get: call, list: call },
    row: look,
    ended: { kind: 'later' },
    run: {
      ...call,
      functions: { '1.tap': asked, '1.on': told, '1.files': told },
      json: ['0.input'],
    },
    pty: { ...call, returns: 'BoxTerminal' },
    fork: { ...call, returnsItems: 'Box' },
    tighten: call,
    freeze: call,
    thaw: call,
    capture: call,
    renew: sync,
    close: { ...call, settles: 'ended' },
  },
  BoxTerminal: {
    id: fact,
    readable: { kind: 'readable' },
    writable: { kind: 'writable' },
    exited: { kind: 'later' },
    write: call,
    resize: sync,
    kill: sync,
    close: { ...call, settles: 'exited' },
  },
  AddedCustom: { availability: fact, close: call },
} as const satisfies {
  readonly Mayfly: RowsFor<Mayfly> & { readonly internals: RowsFor<MayflyInternals> }
  readonly Box: RowsFor<Box>
  readonly BoxTerminal: RowsFor<BoxTerminal>
  readonly AddedCustom: RowsFor<AddedCustom>
}

/** Call without an object: `Mayfly.open`. */
export const openRow = {
  ...call,
  functions: { '1.sinks.*': told },
  keepsFunctions: true,
  returns: 'Mayfly',
} as const satisfies MemberRow

/** Row of a member by its path, such as `files.put`; undefined if the table lacks it. */
export function rowAt(className: ClassName, path: string): MemberRow | undefined {
  let rows: MemberRows = classes[className]
  const names = path.split('.')
  for (const [at, name] of names.entries()) {
    const found = Object.hasOwn(rows, name) ? rows[name] : undefined
    if (found === undefined) return undefined
    if (isRow(found)) return at === names.length - 1 ? found : undefined
    rows = found
  }
  return undefined
}

export function isRow(one: MemberRow | MemberRows): one is MemberRow {
  return typeof one.kind === 'string'
}
