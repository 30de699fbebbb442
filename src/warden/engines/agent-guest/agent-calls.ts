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
 * Classes of calls that the kernel of a guest closes, by its agent. Nothing that this machine sees shows it: it is the word of the
 * guest, and is told as that. Root outside of the profile, or a hole in the guest's kernel, undoes it.
 *
 * `write`: every mount of the guest becomes read-only, in one step. Programs that hold a file open for writing, or mapped so, are
 * killed first: the kernel refuses the step while there is one.
 * `process`: limits of processes and threads become 0, that of each process and that of their control group.
 * `exec`, `network`, `outside`: the profile of AppArmor is replaced by one without their rules, and without that of `write` where it is closed.
 *
 * Throws MayflyError UNAVAILABLE where the guest could not close one; the warden then ends the wall.
 */
export class AgentCalls implements CallControl {
  readonly closable: readonly CallClass[]
  readonly #agent: AgentLink
  readonly #policies: PolicyCompiler
  readonly #hasProfile: boolean
  #open: readonly CallClass[] = callClasses

  constructor(
    agent: AgentLink,
    { policies, hasProfile }: { readonly policies: PolicyCompiler; readonly hasProfile: boolean },
  ) {
    this.#agent = agent
    this.#policies = policies
    this.#hasProfile = hasProfile
    const others = this.#hasProfile ? [] : profiledCalls
    this.closable = callClasses.filter((name) => !others.includes(name))
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

  /** Resolves with the number of processes that were killed. */
  async #close(closing: readonly CallClass[]): Promise<number> {
    if (closing.length === 0) return 0
    const open = this.#open.filter((name) => !closing.includes(name))
    // First: a profile that cannot be made closes nothing halfway.
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

/** The agent waits for writers and kills holders in a third of a second of its own time; an emulator takes more. */
const CLOSE_MS_MAX = 10_000
