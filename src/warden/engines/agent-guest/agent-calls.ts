import { callClasses, type CallClass } from '../../../contract/calls.ts'
import type { CallControl } from '../../../contract/engine.ts'
import { MayflyError } from '../../../contract/error.ts'
import type { CallPhase, ClosedCallsState } from '../../../contract/warden.ts'
import { sentinelPolicy } from '../../../jail/sentinel-policy.ts'
import type { AgentLink } from '../../../agent-wire/agent-link.ts'
import { askPhase } from '../../../agent-wire/agent-questions.ts'
import type { PolicyCompiler } from './policy-compiler.ts'
import { profiledCalls } from './policy-text.ts'

/**
 * Closes classes of system calls in a guest's own kernel, by requests to its agent. The host cannot verify the result, so it is
 * reported with the trust of the guest: root outside of the AppArmor profile, or a hole in the guest's kernel, can undo it.
 *
 * `write`: all mounts of the guest are made read-only in one step. Programs with a file open or mapped for writing are killed
 * first, because the kernel refuses the remount while there is one.
 * `process`: the limits of processes and threads become 0, by RLIMIT_NPROC of each process and pids.max of their cgroup.
 * `exec`, `network`, `outside`: the AppArmor profile is replaced by one without their rules, and without those of `write` if it is closed.
 *
 * Throws MayflyError UNAVAILABLE if the guest could not close one; the warden then ends the wall.
 */
export class AgentCalls implements CallControl {
  readonly closable: readonly CallClass[]
  readonly #agent: AgentLink
  readonly #policies: PolicyCompiler
  readonly #hasProfile: boolean
  #open: readonly CallClass[]

  constructor(agent: AgentLink, { policies, hasProfile, open = callClasses }: AgentCallsParts) {
    this.#agent = agent
    this.#policies = policies
    this.#hasProfile = hasProfile
    this.#open = open
    const others = this.#hasProfile ? [] : profiledCalls
    this.closable = callClasses.filter((name) => !others.includes(name))
  }

  /** Classes that are open now. */
  get open(): readonly CallClass[] {
    return this.#open
  }

  async close(phases: readonly CallPhase[]): Promise<ClosedCallsState> {
    if (phases.some(({ afterMs, kills }) => afterMs > 0 || kills))
      throw new MayflyError('UNAVAILABLE', 'Cannot plan phases of calls in a guest')
    const closing = this.#open.filter(
      (name) => this.closable.includes(name) && phases.some(({ allow }) => !allow.includes(name)),
    )
    const killed = await this.#close(closing)
    const closed = this.closable.filter((name) => !this.#open.includes(name))
    const { classes } = sentinelPolicy()
    const answers = Object.fromEntries(closed.map((name) => [name, classes[name].errno]))
    const allowed = this.closable.filter(
      (name) => this.#open.includes(name) && phases.every(({ allow }) => allow.includes(name)),
    )
    return { allowed, planned: 0, answers, trust: 'guest', ...(killed > 0 && { killed }) }
  }

  /** Resolves with the number of killed processes. */
  async #close(closing: readonly CallClass[]): Promise<number> {
    if (closing.length === 0) return 0
    const open = this.#open.filter((name) => !closing.includes(name))
    // Compiled first, so that a failure leaves nothing closed halfway.
    const policy = this.#hasProfile ? await this.#policies.compile(open) : undefined
    if (closing.includes('process'))
      await this.#ask({ do: 'lower-limit', limit: 'processes', value: 0 })
    const killed = closing.includes('write') ? await this.#ask({ do: 'close-writing' }) : 0
    const closes = callClasses.filter((name) => !open.includes(name))
    if (policy) await this.#ask({ do: 'replace-policy', closes, policy })
    this.#open = open
    return killed
  }

  #ask(command: Parameters<typeof askPhase>[1]): Promise<number> {
    return askPhase(this.#agent, command, CLOSE_MS_MAX)
  }
}

export interface AgentCallsParts {
  readonly policies: PolicyCompiler
  readonly hasProfile: boolean
  /** Classes that are open already; all by default. */
  readonly open?: readonly CallClass[]
}

/** The agent waits for writers, then kills them, within a third of a second of guest time; an emulator is slower. */
const CLOSE_MS_MAX = 10_000
