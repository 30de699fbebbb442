import type { SessionLanguage as AnyLanguage } from '../../../src/contract/session.ts'
import type { Box } from '../../../src/sdk/box.ts'

/** Languages of programs; those of isolates are tried in tests/walls/isolate-cells.test.ts. */
type SessionLanguage = Exclude<AnyLanguage, 'js' | 'ts'>

/**
 * A hostile program of several cells, which uses the time between execs. Its cells run in order in a session of their own;
 * honest cells and commands follow. For each exec the host's word must hold, whatever the program did: its id, times and
 * record are its own, and nothing is left after the end. `spares` says how much of the session the program leaves intact.
 */
export interface SessionCase {
  readonly name: string
  readonly family: SessionFamily
  /** The attack: its mechanism, and the later exec that it is after. */
  readonly because: string
  readonly language: SessionLanguage
  readonly cells: readonly HostileCell[]
  readonly spares: Spared
  /** Prints while later execs run, so that their streams contain additional output. */
  readonly prints?: true
  /** Ends its interpreter at a time of its own: a later exec may be that one, and says so. */
  readonly endsLater?: true
  /** Honest cell, if the usual one would need a resource that the program removed. */
  readonly honest?: string
  readonly limits?: Readonly<Record<string, string | number>>
  readonly schedule?: string
  /** Runs the later execs some 20 s late or ends the session: for the long run alone. */
  readonly slow?: true
  /** Walls without the mechanism that it attacks. */
  readonly without?: readonly SessionWall[]
}

/**
 * `interpreter`: a later cell has its own output and result, and variables last unless the outcome says `lost`.
 * `manager`: the interpreter is the author's, and may lie; a later command is right. `session`: it may be over, and says so.
 */
export type Spared = 'interpreter' | 'manager' | 'session'

/** A cell, a command, or an act of the owner between two execs. */
export type HostileCell =
  | string
  | { readonly command: string }
  | { readonly code: string; readonly timeout: string }
  | { readonly owner: (box: Box) => Promise<unknown> }

export const sessionWalls = ['bubblewrap', 'embedded', 'gvisor'] as const
export type SessionWall = (typeof sessionWalls)[number]

export type SessionFamily = (typeof sessionFamilies)[number]
export const sessionFamilies = [
  'after',
  'interpreter',
  'frames',
  'streams',
  'signals',
  'ground',
  'rights',
  'answers',
] as const

type Rest = Partial<Omit<SessionCase, 'name' | 'because' | 'cells' | 'family' | 'language'>>
export type SessionMaker = (
  name: string,
  because: string,
  cells: readonly HostileCell[],
  rest?: Rest,
) => SessionCase

/** Constructors for cases of a family, by language. */
export function sessionCasesOf(
  family: SessionFamily,
): Readonly<Record<SessionLanguage, SessionMaker>> {
  const maker =
    (language: SessionLanguage): SessionMaker =>
    (name, because, cells, rest = {}) => ({
      name,
      family,
      because,
      language,
      cells,
      spares: 'interpreter',
      ...rest,
    })
  return { python: maker('python'), node: maker('node'), bash: maker('bash'), sh: maker('sh') }
}

/** Runs before the program: a value that a later cell finds again, unless the interpreter was started anew. */
export const first: Readonly<Record<SessionLanguage, (token: string) => string>> = {
  python: (token) => `own_mark = "${token}"`,
  node: (token) => `globalThis.ownMark = "${token}"`,
  bash: (token) => `own_mark=${token}`,
  sh: (token) => `own_mark=${token}`,
}

const shellHonest =
  'echo "own $OWN"\nif [ "${own_mark+x}" ]; then echo "[\\"$own_mark\\", 42]" > $MAYFLY_RESULT; else echo "[null, 42]" > $MAYFLY_RESULT; fi'

/** Honest cells: each prints its token, and gives the mark with 42. */
export const honest: Readonly<Record<SessionLanguage, string>> = {
  python: 'print("own", input)\n[globals().get("own_mark"), 6 * 7]',
  node: 'console.log("own", input); [globalThis.ownMark ?? null, 6 * 7]',
  bash: shellHonest,
  sh: shellHonest,
}
