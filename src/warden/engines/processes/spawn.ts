import { closeSync, existsSync, openSync } from 'node:fs'
import type { Socket } from 'node:net'
import type { EnclosureSockets } from '../../../contract/engine.ts'
import { wallMark } from '../../../jail/bubblewrap.ts'
import type { JailCommand } from '../../../jail/embedded.ts'
import { step } from '../../../jail/launch-steps.ts'
import { reopen, type CProgram } from '../../../jail/c-program.ts'
import {
  captureFdOfKeeper,
  controlFdOfKeeper,
  handOverFd,
  sentinelDataFd,
} from '../../../jail/whole.ts'
import { identify } from '../../../os/proc.ts'
import type { ForkedJail } from '../../../jail/forked.ts'
import { adoptChild, type SpawnedChild } from '../../../os/spawned-child.ts'
import { listenTo } from '../../readiness.ts'
import { outOfDescriptors } from '../../refusals.ts'
import { entering, feedFilter, shell, startChild } from '../spawned.ts'
import type { WallResources } from './resources.ts'
import { justForked } from './resources.ts'
import { makeScratch } from '../wall-folder.ts'
import { takeSockets } from '../wall-sockets.ts'
import { launcherMarkOf } from './orphans.ts'
import { liftArguments, Sentinel, sentinelName, startSentinel } from './sentinel.ts'
import type { Zygotes } from './zygotes.ts'

/** File descriptors of a wall's sockets. A worker has one socket; a whole program also has both outputs. */
const WORKER = { socket: 3, ready: 4 } as const
const WHOLE = { socket: 5, ready: 4 } as const
const FILTER_FD = 5
/** First descriptor of a forked wall's cgroup files, which it closes after it has entered the cgroups. */
const GROUP_FDS = 20

/**
 * Forks and execs the launcher of a wall. A failure after the fork is returned as `broken`, not thrown: the caller
 * releases the wall.
 */
export function spawnWall(
  id: string,
  command: JailCommand,
  to: Pick<WallResources, 'slot' | 'isWhole' | 'scratch' | 'cgroup'>,
  program?: CProgram,
  launcher?: CProgram,
): WallResources {
  if (to.scratch) makeScratch(id, to.slot?.uid)
  const data = command.asks === 'data' && program ? reopen(program) : undefined
  const entryFiles = to.cgroup?.entryFiles() ?? []
  const { file, args } = startOf(command, entryFiles, to)
  // A child of bubblewrap has no parent-death signal in its first moments: see orphans.ts.
  const marked = args.map((word) => (word === wallMark ? launcherMarkOf(id) : word))
  // A keeper is started in place of the launcher, and performs its steps.
  const started = command.keeper ? program : launcher
  const stdio = stdioOf(command, to.isWhole, data, started?.fd)
  const named = command.keeper ? { argv0: sentinelName } : {}
  const child = startedWith(data, () => startChild(file, marked, { ...named, stdio }))
  return resourcesOf(id, child, command, to, program)
}

/** Starts a wall by a fork of a template, instead of an exec. Throws if the fork fails, after releasing everything. */
export async function forkTemplate(
  id: string,
  { command, jail }: { readonly command: JailCommand; readonly jail: ForkedJail },
  to: Pick<WallResources, 'slot' | 'isWhole' | 'scratch' | 'cgroup'>,
  program: CProgram | undefined,
  zygotes: Pick<Zygotes, 'fork'>,
): Promise<WallResources> {
  const { filter: _, ...unfiltered } = command
  const groups = to.cgroup?.entryFiles().map((file) => openSync(file, 'w')) ?? []
  try {
    const stdio = stdioOf(
      { ...unfiltered, launcherFd: undefined },
      to.isWhole,
      undefined,
      undefined,
    )
    while (stdio.length < GROUP_FDS) stdio.push('ignore')
    const numbers = groups.map((fd) => stdio.push(fd) - 1)
    const steps = [...step('open-group', ...numbers), ...jail.steps]
    let forkedFrom: readonly string[] = []
    const child = await adoptChild(stdio, async (given) => {
      const request = { given, steps, filter: jail.filter }
      const { pid, from } = await zygotes.fork(jail.template, request)
      forkedFrom = from
      return pid
    })
    return resourcesOf(id, child, { ...unfiltered, forkedFrom }, to, program)
  } finally {
    for (const fd of groups) closeSync(fd)
  }
}

function resourcesOf(
  id: string,
  child: SpawnedChild,
  command: JailCommand & Partial<Pick<WallResources, 'forkedFrom'>>,
  to: Pick<WallResources, 'slot' | 'isWhole' | 'scratch' | 'cgroup'>,
  program: CProgram | undefined,
): WallResources {
  const processes = child.pid === undefined ? [] : [identify(child.pid)]
  const complaint = listenTo(child)
  const set = setUp(child, command, to, program)
  const { forkedFrom, keeper } = command
  const jail = { forkedFrom, mark: keeper?.mark }
  return { id, ...to, child, ...set, complaint, processes, ...jail, ...justForked }
}

function startOf(
  command: JailCommand,
  entryFiles: readonly string[],
  { cgroup }: Pick<WallResources, 'cgroup'>,
) {
  const { file, args, keeper, launcherFd } = command
  if (launcherFd === undefined) return viaShell(entryFiles, command)
  const steps = [...enteredBy(entryFiles), ...args]
  if (!keeper) return { file, args: steps }
  return {
    file,
    args: [...keeper.options, ...liftArguments(cgroup?.quotaLifts() ?? []), '--', ...steps],
  }
}

/** Closes the descriptor of the sentinel's program once the child has its copy. */
function startedWith(data: number | undefined, start: () => SpawnedChild): SpawnedChild {
  try {
    return start()
  } finally {
    if (data !== undefined) closeSync(data)
  }
}

function setUp(
  child: SpawnedChild,
  command: JailCommand,
  to: Pick<WallResources, 'slot' | 'cgroup'>,
  program?: CProgram,
): Pick<WallResources, 'sentinel' | 'broken'> {
  try {
    // At EMFILE Node creates none of the streams.
    if (!Array.isArray(child.stdio)) throw outOfDescriptors()
    if (command.filter) feedFilter(child, command.filterFd ?? FILTER_FD, command.filter)
    const sentinel = program && sentinelOf(child, command, to, program)
    return { sentinel, broken: undefined }
  } catch (error) {
    return { sentinel: undefined, broken: error }
  }
}

function sentinelOf(
  child: SpawnedChild,
  { asks, keeper }: JailCommand,
  to: Pick<WallResources, 'slot' | 'cgroup'>,
  program: CProgram,
): Sentinel | undefined {
  if (keeper) {
    const [control, memory] = [controlFdOfKeeper, captureFdOfKeeper]
    return new Sentinel({ child, control, memory, isKeeper: true })
  }
  return asks && spawnSentinel(child, to, program)
}

function spawnSentinel(
  child: SpawnedChild,
  { slot, cgroup }: Pick<WallResources, 'slot' | 'cgroup'>,
  program: CProgram,
): Sentinel | undefined {
  if (child.pid === undefined) return undefined
  const handed = (child.stdio as unknown as Socket[])[handOverFd]!
  const [lifts, pidsFile] = [cgroup?.quotaLifts() ?? [], cgroup?.pidsFile()]
  return startSentinel({ program, handed, uid: slot?.uid, lifts, pidsFile })
}

/** Entry into the cgroup (see `entering`), as steps of the launcher. */
function enteredBy(entryFiles: readonly string[]): readonly string[] {
  return [...step('ignore-signals'), ...step('group', ...entryFiles)]
}

/** Entry by a shell. Without one the warden moves the started launcher, which waits for every fork on the machine. */
function viaShell(entryFiles: readonly string[], { file, args }: JailCommand) {
  if (!existsSync(shell)) return { file, args }
  return { file: shell, args: entering(entryFiles, [file, ...args]) }
}

/** The warden's end of a wall's sockets; a worker's stays open here. */
export function handOver({
  child,
  isWhole,
}: Pick<WallResources, 'child' | 'isWhole'>): EnclosureSockets {
  if (isWhole) return takeSockets(child, WHOLE.socket)
  return { handle: child.stdio[WORKER.socket] as Socket }
}

type Stdio = 'ignore' | 'pipe' | 'output' | number

function stdioOf(
  {
    filter,
    filterFd = FILTER_FD,
    asks,
    keeper,
    launcherFd,
  }: Pick<JailCommand, 'filter' | 'filterFd' | 'asks' | 'keeper'> & {
    launcherFd?: number | undefined
  },
  isWhole: boolean,
  data: number | undefined,
  launcher: number | undefined,
): Stdio[] {
  const stdio: Stdio[] = isWhole
    ? ['ignore', 'output', 'output', 'ignore', 'pipe', 'pipe']
    : ['ignore', 'ignore', 'pipe', 'pipe', 'pipe']
  if (filter) stdio[filterFd] = 'pipe'
  if (asks) stdio[handOverFd] = 'pipe'
  if (keeper) stdio[controlFdOfKeeper] = stdio[captureFdOfKeeper] = 'pipe'
  if (data !== undefined) stdio[sentinelDataFd] = data
  if (launcherFd !== undefined && launcher !== undefined) stdio[launcherFd] = launcher
  return Array.from(stdio, (one) => one ?? 'ignore')
}
