import { signalName } from '../../../lib/signal-name.ts'
import type { AgentMessageOf } from '../../../agent-wire/decode.ts'
import type { SeenReport } from '../../../contract/warden.ts'
import type { AgentLink } from '../../../agent-wire/agent-link.ts'

/**
 * Observations of a guest's agent, as reports to the server. All of them are untrusted claims of the guest.
 *
 * The agent sends reports against credit (a token bucket): a burst at the claim, then a limited rate. Further observations are only
 * counted in the guest, so a flood there costs this process nothing. A report without credit is a protocol error, which ends
 * the machine.
 */
export interface GuestWatchParts {
  readonly agent: Pick<AgentLink, 'send' | 'onSeen' | 'fault' | 'can'>
  readonly report: (seen: SeenReport) => void
  readonly now?: () => number
}

const CREDIT_MAX = 200
const CREDIT_A_SECOND = 50
/** Longest wait before spent credit is granted again. */
const REFILL_MS = 1_000

export class GuestWatch {
  readonly #parts: Required<GuestWatchParts>
  #credit = CREDIT_MAX
  #tokens = 0
  #filledAt: number
  #timer: NodeJS.Timeout | undefined

  constructor({ now = () => performance.now(), ...parts }: GuestWatchParts) {
    this.#parts = { ...parts, now }
    this.#filledAt = now()
  }

  /** Called once, after the claim. */
  begin(): void {
    const { agent } = this.#parts
    if (!agent.can('watches') && !agent.can('confines')) return
    this.#filledAt = this.#parts.now()
    agent.onSeen = (message) => this.#hear(message)
    agent.send({ kind: 'watch', credit: CREDIT_MAX })
  }

  end(): void {
    clearTimeout(this.#timer)
  }

  #hear(message: AgentMessageOf<'seen'>): void {
    this.#credit--
    this.#parts.report(reportOf(message))
    if (this.#credit < CREDIT_MAX / 2) this.#refill()
  }

  #refill(): void {
    const { agent, now } = this.#parts
    const at = now()
    const came = ((at - this.#filledAt) / 1_000) * CREDIT_A_SECOND
    this.#tokens = Math.min(CREDIT_MAX, this.#tokens + came)
    this.#filledAt = at
    const credit = Math.min(Math.floor(this.#tokens), CREDIT_MAX - this.#credit)
    if (agent.fault !== undefined) return
    if (credit > 0) {
      this.#tokens -= credit
      this.#credit += credit
      agent.send({ kind: 'watch', credit })
    }
    // A timer, because an agent without credit sends nothing that would trigger the next refill.
    clearTimeout(this.#timer)
    if (this.#credit < CREDIT_MAX / 2)
      this.#timer = setTimeout(() => this.#refill(), REFILL_MS).unref()
  }
}

function reportOf({ pid, timeMs, leftOut, seen }: AgentMessageOf<'seen'>): SeenReport {
  const about = { t: timeMs, pid, leftOut, trust: 'guest' } as const
  switch (seen.what) {
    case 'exit':
      return 'signal' in seen.end
        ? { ...about, signal: signalName(seen.end.signal) ?? `signal ${seen.end.signal}` }
        : { ...about, exitCode: seen.end.exitCode }
    case 'oom':
      return { ...about, outOfMemory: seen.times }
    case 'exec':
      return {
        ...about,
        monotonic: timeMs,
        call: 'execve',
        class: 'exec',
        denied: false,
        writes: false,
        path: seen.path,
        wrote: seen.changedMs,
      }
    case 'refusal': {
      const isFile = seen.class === 'exec' || seen.class === 'write' || seen.class === 'outside'
      const path = isFile && { path: seen.subject }
      const call = isFile ? seen.operation : `${seen.operation} ${seen.subject}`.trim()
      const writes = seen.class === 'write'
      return { ...about, monotonic: timeMs, call, class: seen.class, denied: true, writes, ...path }
    }
  }
}
