import { release } from 'node:os'
import * as z from 'zod'
import { tryParseJson } from '../../lib/parse-json.ts'
import type { WallTrial } from './wall-trial.ts'

/**
 * Source of each attack attempt, which returns the list of its successes. Bounded even without a wall: an escaping
 * attempt costs a second of CPU, a gigabyte and forty sleeping processes.
 */
export interface Attempts {
  readonly network: string
  readonly files: string
  readonly memory: string
  /** Returns the milliseconds of processor that it counts for itself. */
  readonly cpu: string
  /** Returns the number of processes started. */
  readonly processes: string
  readonly time: string
  /** Returns the release of the kernel it sees, and its successes. */
  readonly kernel: string
  readonly artifacts: string
  readonly secrets: string
  /** `leaves` creates leftovers, `looks` searches for them. */
  readonly leaves: string
  readonly looks: string
}

const MiB = 2 ** 20
const TIMEOUT_MS = 250
/** Time for a loop of 600 ms and its four forks. */
const SHARE_MS_MAX = 5_000
/** Node collects garbage many times before an allocation fails, which takes seconds on an emulated processor. */
const FILL_MS_MAX = 30_000
const nothing = '[]'
/** Limit of forty; some are the interpreter's own threads. */
const startedMax = 20

/** Trials of a wall that runs programs. */
export function programTrials(language: string, attempts: Attempts): readonly WallTrial[] {
  const trials = [reachTrials(attempts), limitTrials(attempts), kernelTrials(attempts)].flat()
  return trials.map(([wall, how, holds]) => [`${language}: ${wall}`, how, holds])
}

/** Trials of network and files: what a program reaches outside its wall. */
function reachTrials(attempts: Attempts): readonly WallTrial[] {
  return [
    [
      'network',
      'connecting to a listener on this machine, raw sockets and sockets of the kernel',
      async (run, bait) =>
        (await run(attempts.network)).resultText === nothing && bait.connections() === 0,
    ],
    [
      'files',
      'reading a file of this machine and what only root may, writing beside it and below /usr',
      async (run, bait) => {
        const { resultText, text } = await run(attempts.files)
        return resultText === nothing && !bait.isSeen(text) && !bait.isMarked()
      },
    ],
  ]
}

/** Trials of resource limits. */
function limitTrials(attempts: Attempts): readonly WallTrial[] {
  return [
    [
      'memory',
      'filling a gigabyte, with 32 MiB allowed',
      async (run) => {
        const { status, error } = await run(attempts.memory, {
          memory: 32 * MiB,
          timeout: FILL_MS_MAX,
        })
        return status === 'limit' && error?.code === 'MEMORY'
      },
    ],
    [
      'cpu',
      'a busy loop, with a fifth of a core allowed, has less than half of one',
      async (run) => {
        const limits = { cpu: 0.2, timeout: SHARE_MS_MAX }
        // A machine uses processor time for its claim, before the quota holds; an idle job measures it.
        const idle = (await run(attempts.secrets, limits)).cpuTime
        const end = await run(attempts.cpu, limits)
        const usedMs = Math.max(0, end.cpuTime - idle)
        // Forks of a kernel in user space take seconds at a fifth of a core.
        if (end.status === 'timeout') return usedMs > 0 && usedMs < SHARE_MS_MAX / 2
        const [own = 0] = end.status === 'ok' ? numbersIn(end.resultText) : []
        // Such a kernel counts a task that the quota holds up as running: the wall's count decides there. The clock of a machine
        // stands still while pauses hold it up: the host's counts.
        return own > 0 && Math.min(own, usedMs) < end.ranMs / 2
      },
    ],
    [
      'processes',
      'starting forty processes, with eight allowed',
      async (run) => {
        const { status, resultText } = await run(attempts.processes, { processes: 8 })
        return status === 'limit' || (status === 'ok' && Number(resultText) <= startedMax)
      },
    ],
    [
      'time',
      `ignoring signals, with a child that does too, ended after ${TIMEOUT_MS} ms`,
      async (run) => (await run(attempts.time, { timeout: TIMEOUT_MS })).status === 'timeout',
    ],
  ]
}

/** Trials of the kernel's interface, and of traces of other jobs. */
function kernelTrials(attempts: Attempts): readonly WallTrial[] {
  return [
    [
      'kernel',
      'tracing, mounting, new namespaces, io_uring and other calls: refused, or answered by a kernel of its own',
      async (run) => {
        const [kernel, ...found] = textsIn((await run(attempts.kernel)).resultText)
        return kernel !== undefined && (found.length === 0 || kernel !== release())
      },
    ],
    [
      'artifacts',
      'handing out links to a file of this machine, and a pipe, in place of files',
      async (run, bait) => {
        const { status, artifacts } = await run(attempts.artifacts)
        const isClean = artifacts.every(({ bytes }) => !bait.isSeen(Buffer.from(bytes).toString()))
        return status === 'ok' && isClean && artifacts.map(({ path }) => path).join() === 'plain'
      },
    ],
    [
      'secrets',
      'looking for an environment and for processes that are not its own',
      async (run) => (await run(attempts.secrets)).resultText === nothing,
    ],
    [
      'leftovers',
      'looking for files and processes that the guest before had left',
      async (run) => {
        const { status } = await run(attempts.leaves)
        return status === 'ok' && (await run(attempts.looks)).resultText === nothing
      },
    ],
  ]
}

/** Answers come from behind a wall: anything else than such a list is an empty one. */
function numbersIn(text: string): readonly number[] {
  return z.array(z.number()).catch([]).parse(tryParseJson(text))
}

function textsIn(text: string): readonly string[] {
  return z.array(z.string()).catch([]).parse(tryParseJson(text))
}
