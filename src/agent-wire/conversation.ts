import * as z from 'zod'
import type { AgentMessage, AgentMessageOf, AgentStream } from './decode.ts'
import type { HostMessage } from './encode.ts'
import {
  agentAbilities,
  type AgentAbility,
  agentKinds,
  creditMax,
  seenCreditMax,
  zoneRefusalsMax,
  zoneRulesMax,
  zonesMadeMax,
  guestZonesMax,
} from './numbers.ts'

/** Limits of pending requests, and of concurrent programs. */
export const openQuestionsMax = 64
export const programsMax = 16

/** Kind of the answer to each request. */
export const answerOf = {
  kill: 'killed',
  phase: 'phased',
  list: 'listed',
  status: 'statused',
  renew: 'renewed',
  hold: 'held',
  look: 'listed',
  read: 'chunk',
  rule: 'zoned',
  bound: 'zoned',
  finish: 'zoned',
} as const
type Question = keyof typeof answerOf

const count = (max: number) => z.number().int().min(0).max(max)

/** State of a conversation without pending requests. */
export const conversationState = z.strictObject({
  inputBytes: count(2 ** 32 - 1).min(1),
  abilities: z.array(z.enum(agentAbilities)).max(agentAbilities.length),
  seenCredit: count(seenCreditMax),
  /** Zones of programs; absent without rules for them. */
  zones: z
    .strictObject({
      rules: count(zoneRulesMax),
      made: count(zonesMadeMax),
      refused: count(zoneRefusalsMax),
      alive: z.array(count(zonesMadeMax)).max(guestZonesMax),
    })
    .exactOptional(),
  programs: z
    .array(
      z.strictObject({
        id: count(2 ** 32 - 1),
        credit: z.strictObject({ stdout: count(creditMax), stderr: count(creditMax) }),
        open: z.array(z.enum(['stdin', 'stdout', 'stderr'])).max(3),
        inputCredit: count(2 ** 32 - 1),
        isStarted: z.boolean(),
        hasExited: z.boolean(),
      }),
    )
    .max(programsMax),
})
export type ConversationState = z.infer<typeof conversationState>

type ZonesState = NonNullable<ConversationState['zones']>

interface ProgramState {
  readonly credit: Record<'stdout' | 'stderr', number>
  readonly open: Set<AgentStream>
  inputCredit: number
  isStarted: boolean
  hasExited: boolean
}

/**
 * State machine of both directions of a connection to a guest agent. A compromised agent may send well-formed but unexpected
 * messages: an answer without a request, output beyond its credit, a second end. `received` throws RangeError for each of them,
 * and the host kills the machine. `sent` throws for messages that the agent would treat as a protocol error of the host.
 *
 * The number of requests and programs is bounded. Not handled: timeouts of requests; the caller sets deadlines.
 */
export class AgentConversation {
  #inputBytes = 0
  #abilities: readonly AgentAbility[] = []
  /** Credit of observations that the agent has left. */
  #seenCredit = 0
  #isOver = false
  #claim: 'none' | 'asked' | 'answered' = 'none'
  readonly #questions = new Map<number, Question>()
  readonly #programs = new Map<number, ProgramState>()
  #zones: ZonesState = { rules: 0, made: 0, refused: 0, alive: [] }

  /** Continues with a copy of a guest that was in this state. It can be claimed again. */
  static resume({
    inputBytes,
    abilities,
    seenCredit,
    zones,
    programs,
  }: ConversationState): AgentConversation {
    const made = new AgentConversation()
    made.#inputBytes = inputBytes
    made.#abilities = abilities
    made.#seenCredit = seenCredit
    if (zones) made.#zones = zones
    for (const { id, credit, open, ...rest } of programs)
      made.#programs.set(id, { ...rest, credit: { ...credit }, open: new Set(open) })
    return made
  }

  /** False while a request is pending. */
  get isAtRest(): boolean {
    return this.#questions.size === 0 && this.#claim !== 'asked' && !this.#isOver
  }

  /** Throws RangeError while a request is pending, and before `hello`. */
  get state(): ConversationState {
    if (!this.isAtRest || this.#inputBytes === 0)
      throw new RangeError('a conversation has pending requests')
    const programs = [...this.#programs].map(([id, { credit, open, ...rest }]) => ({
      id,
      ...rest,
      credit: { ...credit },
      open: [...open],
    }))
    const abilities = [...this.#abilities]
    return {
      inputBytes: this.#inputBytes,
      abilities,
      seenCredit: this.#seenCredit,
      ...(this.#zones.rules > 0 && { zones: this.#zones }),
      programs,
    }
  }

  /** Ability reported in `hello`, when the guest has not run code of a job. */
  can(ability: AgentAbility): boolean {
    return this.#abilities.includes(ability)
  }

  /** True once a rule for zones of programs was sent, by this host or that of the guest of which this is a copy. */
  get hasZones(): boolean {
    return this.#zones.rules > 0
  }

  /** Bytes of standard input that may be sent to a program now. */
  inputCredit(program: number): number {
    return this.#programs.get(program)?.inputCredit ?? 0
  }

  sent(message: HostMessage): void {
    must(this.#inputBytes > 0 && !this.#isOver, message.kind)
    if (message.kind === 'claim') {
      must(this.#claim === 'none', 'claim')
      this.#claim = 'asked'
    } else if (message.kind === 'watch') {
      must(this.#seenCredit + message.credit <= seenCreditMax, 'watch')
      this.#seenCredit += message.credit
    } else if ('nonce' in message) {
      must(!this.#questions.has(message.nonce), message.kind)
      must(this.#questions.size < openQuestionsMax, message.kind)
      if (message.kind === 'rule') this.#addRule()
      this.#questions.set(message.nonce, message.kind)
    } else {
      this.#sentToProgram(message)
    }
  }

  received(message: AgentMessage): void {
    must(!this.#isOver, message.kind)
    if (message.kind === 'lost') {
      // A failed boot is reported without a preceding hello.
      this.#isOver = true
      return
    }
    must((message.kind === 'hello') === (this.#inputBytes === 0), message.kind)
    if (message.kind === 'hello') {
      this.#inputBytes = message.inputBytes
      this.#abilities = message.abilities
    } else if (message.kind === 'seen') {
      must(this.#seenCredit > 0, 'seen')
      this.#seenCredit--
    } else if (message.kind === 'zone') {
      this.#zones = zonesAfter(this.#zones, message)
    } else if (message.kind === 'claimed') {
      must(this.#claim === 'asked', 'claimed')
      this.#claim = 'answered'
      // A copy forgets the credit that the host of its parent granted, before it answers.
      this.#seenCredit = 0
    } else if (message.kind === 'refused') {
      this.#refused(message)
    } else if ('nonce' in message) {
      this.#answered(message.nonce, message.kind)
    } else {
      this.#receivedOf(this.#known(message.program, message.kind), message)
      this.#forgetEnded(message.program)
    }
  }

  /** Counted when it is sent: the first zone may begin before the answer. */
  #addRule(): void {
    must(this.#zones.rules < zoneRulesMax, 'rule')
    this.#zones = { ...this.#zones, rules: this.#zones.rules + 1 }
  }

  #sentToProgram(
    message: Exclude<HostMessage, { nonce: number } | { kind: 'claim' | 'watch' }>,
  ): void {
    if (message.kind === 'run') {
      must(!this.#programs.has(message.program) && this.#programs.size < programsMax, 'run')
      this.#programs.set(message.program, {
        credit: { stdout: message.stdoutCredit, stderr: message.stderrCredit },
        open: new Set(message.streams),
        inputCredit: message.streams.includes('stdin') ? this.#inputBytes : 0,
        isStarted: false,
        hasExited: false,
      })
      return
    }
    // Race: a program may end while a message to it is in flight; the agent refuses that message.
    const program = this.#programs.get(message.program)
    if (!program) return
    if (message.kind === 'input') {
      must(message.bytes.length <= program.inputCredit, 'input')
      program.inputCredit -= message.bytes.length
    } else if (message.kind === 'close') {
      program.inputCredit = 0
      program.open.delete('stdin')
    } else if (message.kind === 'credit') {
      must(program.credit[message.stream] + message.bytes <= creditMax, 'credit')
      program.credit[message.stream] += message.bytes
    }
  }

  #receivedOf(program: ProgramState, message: ProgramMessage): void {
    switch (message.kind) {
      case 'started':
        must(!program.isStarted, 'started')
        program.isStarted = true
        return
      case 'output':
        must(program.isStarted && program.open.has(message.stream), 'output')
        must(message.bytes.length <= program.credit[message.stream], 'output')
        program.credit[message.stream] -= message.bytes.length
        return
      case 'ended':
        // Race: the host may have closed standard input already.
        must(program.isStarted, 'ended')
        must(program.open.delete(message.stream) || message.stream === 'stdin', 'ended')
        if (message.stream === 'stdin') program.inputCredit = 0
        return
      case 'credit':
        must(program.isStarted && program.inputCredit + message.bytes <= this.#inputBytes, 'credit')
        if (program.open.has('stdin')) program.inputCredit += message.bytes
        return
      case 'exited':
        must(program.isStarted && !program.hasExited, 'exited')
        program.hasExited = true
        program.inputCredit = 0
        program.open.delete('stdin')
    }
  }

  #forgetEnded(id: number): void {
    const program = this.#programs.get(id)
    if (program?.hasExited && program.open.size === 0) this.#programs.delete(id)
  }

  #answered(nonce: number, kind: (typeof answerOf)[Question]): void {
    const question = this.#questions.get(nonce)
    must(question !== undefined && answerOf[question] === kind, kind)
    this.#questions.delete(nonce)
  }

  #refused({ what, about }: AgentMessageOf<'refused'>): void {
    if (what === 'claim') {
      must(this.#claim === 'asked', 'refused')
      this.#claim = 'answered'
    } else if (what === 'run') {
      must(!this.#known(about, 'refused').isStarted, 'refused')
      this.#programs.delete(about)
    } else if (what in answerOf) {
      this.#answered(about, answerOf[what as Question])
    }
  }

  #known(id: number, kind: string): ProgramState {
    const program = this.#programs.get(id)
    if (!program) throw outOfPlace(kind)
    return program
  }
}

/** Throws RangeError for a report of a zone that was not possible. */
function zonesAfter(zones: ZonesState, report: AgentMessageOf<'zone'>): ZonesState {
  const { rules, made, refused, alive } = zones
  if (report.what === 'gone') {
    must(alive.includes(report.zone), 'zone')
    return { ...zones, alive: alive.filter((zone) => zone !== report.zone) }
  }
  must(report.rule < rules && (report.outer === 0 || alive.includes(report.outer)), 'zone')
  if (report.what === 'refused') {
    must(refused < zoneRefusalsMax, 'zone')
    return { ...zones, refused: refused + 1 }
  }
  must(report.zone > made && alive.length < guestZonesMax, 'zone')
  return { ...zones, made: report.zone, alive: [...alive, report.zone] }
}

type ProgramMessage = AgentMessageOf<'started' | 'output' | 'ended' | 'credit' | 'exited'>

function must(isGood: boolean, kind: string): void {
  if (!isGood) throw outOfPlace(kind)
}

const outOfPlace = (kind: string) =>
  new RangeError(
    `Cannot accept "${kind}" ${kind in agentKinds ? 'from' : 'for'} a guest agent: it is unexpected`,
  )
