import { callArgsMax } from '../contract/capability.ts'
import { MayflyError } from '../contract/error.ts'
import { hostCall, type JobRequest } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { CallHandler, HostCalls } from '../contract/pipeline.ts'
import { decodeTagged } from '../lib/tagged.ts'
import { capabilityJob } from './capability-job.ts'
import { Catalogue } from './catalogue.ts'
import { callInProcess } from './in-process.ts'
import { parseJson } from '../lib/parse-json.ts'

/** Limits of isolated calls per job: in total and concurrently. Each is a job of its own. */
const isolatedMax = 100
const atOnceMax = 4
/** The same limits for functions of the caller, which run in the caller's process. */
const hostCallsMax = 1000
const hostCallsAtOnceMax = 16

/** Runs a call as a job, on behalf of the calling job's owner. */
export type RunCapability = (
  capability: string,
  asked: JobRequest,
  signal: AbortSignal,
) => Promise<Outcome>

const catalogue = new Catalogue()

/**
 * Answers the capability calls of one job. The wall has already checked the grant. An isolated capability runs as a
 * job with its own limits and no capabilities; when the calling job ends, its calls are cancelled.
 */
export function answerCalls(road: RunCapability, hostCalls?: HostCalls): CallHandler {
  const answerHost = boundedHost(hostCalls)
  let over: AbortController | undefined
  let isolated = 0
  let atOnce = 0
  let cpuTime = 0
  return {
    async call(name, argsText) {
      if (name === hostCall)
        return await answerHost(argsText, (over ??= new AbortController()).signal)
      const capability = catalogue.get(name)
      const args = listOf(parseJson(argsText))
      if (!capability.isolated) return textOf(callInProcess(capability, args), name)
      assertRoom(name, { all: isolated, atOnce }, { all: isolatedMax, atOnce: atOnceMax })
      over ??= new AbortController()
      isolated++
      atOnce++
      try {
        const outcome = await road(name, capabilityJob(capability, args), over.signal)
        cpuTime += outcome.metrics.cpuTime
        return valueTextOf(outcome, name)
      } finally {
        atOnce--
      }
    },
    get called() {
      return isolated > 0 ? { jobs: isolated, cpuTime } : undefined
    },
    [Symbol.dispose]: () => over?.abort(),
  }
}

/** Bounds the calls of functions of the caller. Throws FORBIDDEN if the caller registered none. */
function boundedHost(calls?: HostCalls): HostCalls {
  let [all, atOnce] = [0, 0]
  return async (argsText, signal) => {
    if (!calls)
      throw new MayflyError(
        'FORBIDDEN',
        `Cannot call "${hostCall}": this entry point has no functions`,
      )
    assertRoom(
      FUNCTION_NAME.exec(argsText)?.[1] ?? hostCall,
      { all, atOnce },
      { all: hostCallsMax, atOnce: hostCallsAtOnceMax },
    )
    all++
    atOnce++
    try {
      return await calls(argsText, signal)
    } finally {
      atOnce--
    }
  }
}

/** Name of the caller's function, without parsing arguments of 4 MiB for a call that is refused. */
const FUNCTION_NAME = /^\["([^"\\]{1,200})"/

interface CallCount {
  readonly all: number
  readonly atOnce: number
}

/** Throws RATE_LIMITED with the bound that is reached, which the caller can keep to. */
function assertRoom(name: string, { all, atOnce }: CallCount, most: CallCount): void {
  const why =
    all >= most.all
      ? `a job makes at most ${most.all} such calls; give it more data a call, or split the job`
      : atOnce >= most.atOnce
        ? `at most ${most.atOnce} such calls run at a time; await some of them first`
        : undefined
  if (why !== undefined) throw new MayflyError('RATE_LIMITED', `Cannot call "${name}": ${why}`)
}

/** Accepts a single argument without a list. */
function listOf(args: unknown): readonly unknown[] {
  if (!Array.isArray(args)) return args === null ? [] : [args]
  if (args.length <= callArgsMax) return args
  throw new MayflyError('INVALID', `Cannot accept more than ${callArgsMax} arguments`)
}

function valueTextOf({ status, result, encoding, error }: Outcome, name: string): string {
  if (status === 'ok') return textOf(encoding === 'tagged' ? decodeTagged(result) : result, name)
  throw new MayflyError('CONFLICT', error?.message ?? `The call ended as "${status}"`)
}

/** Throws INVALID for a number that JSON would turn into null. */
function textOf(value: unknown, name: string): string {
  if (typeof value !== 'number' || Number.isFinite(value)) return JSON.stringify(value) ?? 'null'
  throw new MayflyError('INVALID', `Cannot answer the call of "${name}": ${value} is not JSON`)
}
