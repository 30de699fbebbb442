import type { IncomingMessage } from 'node:http'
import type { Clock } from '../../contract/clock.ts'
import { MayflyError } from '../../contract/error.ts'
import type { Emitter } from '../../contract/event.ts'
import { problemOf, type Problem } from './problem.ts'
import { noteRefusal } from './request-trace.ts'
import { RateLimit } from './rate-limit.ts'

/** Refusal events per minute; the rest is counted. */
const EVENTS_PER_MINUTE = 600

/** Maps exceptions to problems and emits rate-limited events, so that a client cannot flood the sinks. */
export class Refusals {
  readonly #emitter: Emitter
  readonly #rate: RateLimit
  #suppressed = 0

  constructor(emitter: Emitter, clock: Clock) {
    this.#emitter = emitter
    this.#rate = new RateLimit(EVENTS_PER_MINUTE, clock)
  }

  /** `incoming`: the request that is answered with the problem. */
  problem(thrown: unknown, incoming?: IncomingMessage): Problem {
    const problem = problemOf(thrown)
    if (incoming) noteRefusal(incoming, problem.code)
    if (this.#rate.take('all') > 0) this.#suppressed += 1
    else this.#emit(problem, detailOf(thrown, problem))
    return problem
  }

  #emit({ status, code }: Problem, detail: string | undefined): void {
    const unspoken = this.#suppressed
    this.#suppressed = 0
    this.#emitter.emit('door/refused', {
      status,
      code,
      ...(detail === undefined ? {} : { detail }),
      ...(unspoken === 0 ? {} : { unspoken }),
    })
  }
}

/** Text for the log: what the answer leaves out. */
function detailOf(thrown: unknown, { message }: Problem): string | undefined {
  if (!(thrown instanceof MayflyError)) return String(thrown)
  if (thrown.message === message) return thrown.detail
  return thrown.detail === undefined ? thrown.message : `${thrown.message}: ${thrown.detail}`
}
