import { randomInt } from 'node:crypto'
import { wallSteps } from './embedded-steps.ts'
import type { CallClass } from '../contract/calls.ts'
import type { CProgramLookup } from './c-program.ts'
import type { JailFacts, JailLayer } from './facts.ts'
import type { JailSpec } from './jail-spec.ts'
import { filtersFor, secretPaths, watchedCalls, type KeeperDuties } from './sentinel-policy.ts'
import { launcherPath, step } from './launch-steps.ts'
import { launcherFdOfWhole, programFds, wholeFilter, type WholeProgram } from './whole.ts'

/**
 * The wall of a whole program on a machine that forbids namespaces: Landlock, two filters, and a keeper, which is its
 * sentinel, the parent of its first program and the subreaper of all others (`guest/sentinel/keep.c`). Without one of
 * these, a program may create neither children nor sockets, and may change modes of files only if its user has no other
 * files.
 */
export interface KeeperJail {
  /** Options of `sentinel keep`, which end before the steps. */
  readonly options: readonly string[]
  readonly args: readonly string[]
  readonly file: string
  readonly launcherFd: number
  readonly filter: Buffer
  /** Hard RLIMIT_LOCKS that marks each process of the wall. */
  readonly mark: number
}

interface KeeperOptions {
  readonly uid: number | undefined
  readonly without: readonly JailLayer[]
  readonly sentinel?: CProgramLookup | undefined
  readonly calls?: readonly CallClass[] | undefined
  readonly scratch?: string | undefined
}

/**
 * First Landlock ABI that restricts truncation (Linux 6.2): without it a wall with a shared user can truncate each file
 * of that user.
 */
const LANDLOCK_WITH_TRUNCATE = 3
/** First Landlock ABI that restricts signals and abstract sockets (Linux 6.12). */
const LANDLOCK_WITH_SCOPES = 6
/** Values of RLIMIT_LOCKS, which is infinite by default and has no effect since Linux 2.4.25. */
const MARKS = { first: 2 ** 40, last: 2 ** 41 } as const
const RESULT_FD = 3

/** Reason why a whole program without namespaces has no keeper; undefined if it can have one. */
export function whyNoKeeper(
  whole: WholeProgram | undefined,
  facts: Pick<JailFacts, 'landlock'>,
  { uid, without, sentinel, scratch }: KeeperOptions,
): string | undefined {
  if (!whole || !scratch) return 'it is no program with a place to write to'
  const off = (['seccomp', 'landlock'] as const).find((layer) => without.includes(layer))
  if (off) return `${off} is off`
  if (!judgesFiles(facts, uid))
    return 'Landlock of this kernel does not restrict files sufficiently'
  if (!sentinel) return 'it has no sentinel'
  return 'missing' in sentinel ? sentinel.missing : undefined
}

/** True if Landlock can restrict the files of a wall that has no root of its own. */
export function judgesFiles({ landlock }: Pick<JailFacts, 'landlock'>, uid: number | undefined) {
  return landlock >= (uid === undefined ? LANDLOCK_WITH_TRUNCATE : 1)
}

/** `spec` is that of a wall without mounts. */
export function composeKeeper(
  spec: JailSpec,
  facts: JailFacts,
  { uid, scratch, calls }: KeeperOptions,
): KeeperJail {
  const duties: KeeperDuties = {
    isShared: uid === undefined,
    isUnscoped: facts.landlock < LANDLOCK_WITH_SCOPES,
  }
  const mark = randomInt(MARKS.first, MARKS.last)
  const { path, args, env } = spec.exec
  const { nofile, ...limits } = spec.limits
  return {
    file: launcherPath(launcherFdOfWhole),
    launcherFd: launcherFdOfWhole,
    options: [
      'keep',
      `parent=${process.pid}`,
      `scratch=${scratch!}`,
      ...(uid === undefined ? ['shared'] : [`uid=${uid}`]),
      ...(duties.isUnscoped ? ['unscoped'] : []),
      `nofile=${nofile}`,
      ...watchedCalls(duties),
      ...secretPaths().map((part) => `secret=${part}`),
    ],
    args: [
      ...[
        step('limit', 'locks', mark),
        step('landlock-most', facts.landlock),
        ...wallSteps({ ...spec, limits }, facts.root),
        step('reserve', RESULT_FD),
        step('keep', ...programFds),
        step('variables', ...Object.entries(env).map((pair) => pair.join('='))),
      ].flat(),
      '--',
      path,
      ...args,
    ],
    filter: filtersFor(wholeFilter(uid === undefined ? 'kept' : 'kept, own uid'), calls, duties),
    mark,
  }
}
