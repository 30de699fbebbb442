import { argsMax } from '../contract/capability.ts'
import { MayflyError } from '../contract/error.ts'
import type { JobRequest } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { CallHandler } from '../contract/pipeline.ts'
import { decodeTagged } from '../lib/tagged.ts'
import { askedFor } from './asked.ts'
import { Catalogue } from './catalogue.ts'
import { callInProcess } from './in-process.ts'
import { parseJson } from '../lib/parse-json.ts'

/** Isolated calls of one job, each a job of its own: together, and at once. */
const isolatedMax = 100
const atOnceMax = 4

/** Takes a call down the road, as a job of whoever's job calls. */
export type CallRoad = (
  capability: string,
  asked: JobRequest,
  signal: AbortSignal,
) => Promise<Outcome>

const catalogue = new Catalogue()

/**
 * Answers what one job calls by name. Whether it was granted is for its wall to say; an isolated capability is a job
 * with its own limits, and is granted none itself. When the job that called is over, so are its calls.
 */
export function answerCalls(road: CallRoad): CallHandler {
  let over: AbortController | undefined
  let isolated = 0
  let atOnce = 0
  let cpuTime = 0
  return {
    async call(name, argsText) {
      const capability = catalogue.get(name)
      const args = listOf(parseJson(argsText))
      if (!capability.isolated) return textOf(callInProcess(capability, args))
      if (isolated >= isolatedMax || atOnce >= atOnceMax)
        throw new MayflyError('RATE_LIMITED', `Cannot call "${name}": too many calls`)
      over ??= new AbortController()
      isolated++
      atOnce++
      try {
        const outcome = await road(name, askedFor(capability, args), over.signal)
        cpuTime += outcome.metrics.cpuTime
        return valueTextOf(outcome)
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

/** Arguments may stand alone. */
function listOf(args: unknown): readonly unknown[] {
  if (!Array.isArray(args)) return args === null ? [] : [args]
  if (args.length <= argsMax) return args
  throw new MayflyError('INVALID', `Cannot take more than ${argsMax} arguments`)
}

function valueTextOf({ status, result, encoding, error }: Outcome): string {
  if (status === 'ok') return textOf(encoding === 'tagged' ? decodeTagged(result) : result)
  throw new MayflyError('CONFLICT', error?.message ?? `The call ended as "${status}"`)
}

function textOf(value: unknown): string {
  return JSON.stringify(value) ?? 'null'
}
