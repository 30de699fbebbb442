import type { Socket } from 'node:net'
import { isDeepStrictEqual } from 'node:util'
import { AgentConversation, answerOf, type ConversationState } from './conversation.ts'
import { AgentReader, type AgentMessage, type AgentMessageOf } from './decode.ts'
import type { AgentAbility } from './numbers.ts'
import { encodeHostMessage, type HostMessage } from './encode.ts'
import { MayflyError, messageOf } from '../contract/error.ts'

/**
 * The host's end of the connection to a guest's agent.
 *
 * Each message in both directions is checked by the conversation (`conversation.ts`), which refuses unexpected messages; the
 * first violation closes the connection, and the caller kills the machine. Answers are queued until they are taken: there is one
 * per request, so their number is bounded. Each wait has a deadline.
 *
 * Until its claim the link records the messages. The agent of a clone has already exchanged the messages of its template:
 * `AgentLink.resume` continues after them, on another socket. A guest that was saved after its claim has a position instead: `AgentLink.goOn`
 * continues there.
 *
 * Messages of an agent are untrusted, and are used only for sequencing and display; see `decode.ts`.
 */
export interface AgentHistory {
  readonly turns: readonly AgentTurn[]
}

type AgentTurn = { readonly sent: HostMessage } | { readonly received: AgentMessage }

/** A request without its nonce. */
export type AgentQuestion = Unnumbered<Extract<HostMessage, { kind: keyof typeof answerOf }>>
type Unnumbered<Question> = Question extends unknown ? Omit<Question, 'nonce'> : never
export type AgentAnswer<Kind extends keyof typeof answerOf> = AgentMessageOf<
  (typeof answerOf)[Kind]
>

const TURNS_MAX = 256
const HELD_MAX = 1_024

export class AgentLink {
  /** Resolves with the cause once the connection has ended; never rejects. */
  readonly ended: Promise<string>
  /** Called for each observation; their number is limited by the credit that was sent. */
  onSeen: (message: AgentMessageOf<'seen'>) => void = () => undefined
  /** Called for each report of a zone of programs; the conversation limits their number. */
  onZone: (message: AgentMessageOf<'zone'>) => void = () => undefined
  /** Called for each output of a program, as much as credit was sent for. Without it `take` gives them. */
  onOutput: ((message: AgentMessageOf<'output'>) => void) | undefined
  readonly #socket: Socket
  readonly #conversation: AgentConversation
  readonly #reader = new AgentReader()
  readonly #held: AgentMessage[] = []
  readonly #waiting = new Set<() => void>()
  readonly #end = Promise.withResolvers<string>()
  readonly #turns: AgentTurn[] = []
  #isRecorded = true
  /** Expected first message of an agent that greets each connection. */
  #greeting: AgentMessage | undefined
  #over: string | undefined
  #nonce = 0
  /** Numbers of requests that timed out, whose late answers are dropped. Bounded by the open requests of a conversation. */
  readonly #givenUp = new Set<number>()

  constructor(socket: Socket, conversation = new AgentConversation()) {
    this.#conversation = conversation
    this.#socket = socket
    this.ended = this.#end.promise
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('error', (error) => this.#fail(error.message))
    socket.on('end', () => this.#fail('the agent closed its channel'))
    socket.on('close', () => this.#fail('the channel is closed'))
  }

  /** Continues a conversation that the agent had on another socket. */
  static resume(socket: Socket, { turns }: AgentHistory): AgentLink {
    const link = new AgentLink(socket)
    for (const turn of turns) {
      if ('sent' in turn) link.#conversation.sent(turn.sent)
      else link.#conversation.received(turn.received)
      link.#turns.push(turn)
    }
    return link
  }

  /** A link to a copy of a guest whose conversation stood here. The copy can be claimed once more. */
  static goOn(socket: Socket, position: ConversationState): AgentLink {
    const link = new AgentLink(socket, AgentConversation.resume(position))
    link.#isRecorded = false
    return link
  }

  /** Like `resume`, for an agent that greets each connection: its first message must equal the `hello` of the history. */
  static reconnect(socket: Socket, history: AgentHistory): AgentLink {
    const link = AgentLink.resume(socket, history)
    const [first] = history.turns
    if (!first || !('received' in first))
      throw new RangeError('a history must begin with a greeting')
    link.#greeting = first.received
    return link
  }

  /** Messages so far, for `resume`. Throws RangeError after a claim, because a claimed guest is no template. */
  get history(): AgentHistory {
    if (!this.#isRecorded) throw new RangeError('a claimed guest has no history')
    return { turns: [...this.#turns] }
  }

  /**
   * Position of the conversation, for `goOn`. Throws RangeError while an answer is awaited, or half of a message was received: a copy of
   * the guest would send the other half to a host that never had the first.
   */
  get position(): ConversationState {
    if (this.#over !== undefined || this.#reader.isWithinFrame)
      throw new RangeError('a conversation has ended, or half a message was received')
    return this.#conversation.state
  }

  /** True while `position` has a value. */
  get isAtRest(): boolean {
    return this.#conversation.isAtRest && !this.#reader.isWithinFrame
  }

  /** Resolves once it is at rest or has ended, and at the deadline; never rejects. */
  async rest(msMax: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const check = () => {
      if (this.isAtRest || this.#over !== undefined) resolve()
    }
    const late = setTimeout(resolve, msMax)
    this.#waiting.add(check)
    check()
    await promise
    clearTimeout(late)
    this.#waiting.delete(check)
  }

  /** Cause of its end; undefined while it is open. */
  get fault(): string | undefined {
    return this.#over
  }

  /** Ability reported in `hello`, when the guest has not run code of a job. */
  can(ability: AgentAbility): boolean {
    return this.#conversation.can(ability)
  }

  /** True once a rule for zones of programs was sent, by this host or that of the guest of which this is a copy. */
  get hasZones(): boolean {
    return this.#conversation.hasZones
  }

  nonce(): number {
    this.#nonce = (this.#nonce + 1) % 2 ** 32
    return this.#nonce
  }

  /** Throws MayflyError PROTOCOL if the link has ended, RangeError for an unexpected message. */
  send(message: HostMessage): void {
    if (this.#over !== undefined) throw broken(this.#over)
    if (message.kind === 'claim') {
      this.#isRecorded = false
      this.#turns.length = 0
    }
    this.#conversation.sent(message)
    this.#record({ sent: message })
    this.#socket.write(encodeHostMessage(message))
  }

  /**
   * Takes the first queued or later message of these kinds. Rejects with MayflyError PROTOCOL if the link ends, or at the
   * deadline.
   */
  async take<Kind extends AgentMessage['kind']>(
    kinds: Kind | readonly Kind[],
    msMax: number,
    fits: (message: AgentMessageOf<Kind>) => boolean = () => true,
  ): Promise<AgentMessageOf<Kind>> {
    const { promise, resolve, reject } = Promise.withResolvers<never>()
    const wanted = new Set<string>([kinds].flat())
    const check = () => {
      const at = this.#held.findIndex((one) => wanted.has(one.kind) && fits(one as never))
      // Unsubscribed first: a second message of the same chunk belongs to the next caller.
      if (at >= 0) this.#waiting.delete(check)
      if (at >= 0) return resolve(this.#held.splice(at, 1)[0] as never)
      if (this.#over !== undefined) reject(broken(this.#over))
    }
    const late = setTimeout(
      () => reject(broken(`no "${[kinds].flat().join('" or "')}" in ${msMax} ms`)),
      msMax,
    )
    this.#waiting.add(check)
    check()
    try {
      return await promise
    } finally {
      clearTimeout(late)
      this.#waiting.delete(check)
    }
  }

  /**
   * Sends a request, and resolves with its answer. Rejects as `take` does; the answer to a request that timed out is dropped, so that
   * late answers fill no buffer.
   */
  async ask<Asked extends AgentQuestion>(
    question: Asked,
    msMax: number,
  ): Promise<AgentAnswer<Asked['kind']>> {
    const nonce = this.nonce()
    const { kind } = question
    this.send({ ...question, nonce })
    const kinds: readonly AgentMessage['kind'][] = [answerOf[kind], 'refused']
    const given = this.take(kinds, msMax, (one) => questionOf(one) === nonce)
    const answer = await given.catch((error: unknown) => {
      this.#givenUp.add(nonce)
      throw error
    })
    if (answer.kind !== 'refused') return answer as AgentAnswer<Asked['kind']>
    throw broken(`it refuses "${kind}" (errno ${answer.errno})`)
  }

  /** Ends the link, and with it the agent. Idempotent. */
  close(): void {
    this.#fail('it was closed here')
  }

  #read(chunk: Buffer): void {
    if (this.#over !== undefined) return
    try {
      for (const message of this.#reader.push(chunk)) this.#hear(message)
      for (const check of this.#waiting) check()
    } catch (error) {
      this.#fail(messageOf(error))
    }
  }

  #hear(message: AgentMessage): void {
    if (this.#greeting) return this.#greeted(message, this.#greeting)
    this.#conversation.received(message)
    if (message.kind === 'seen') return this.onSeen(message)
    if (message.kind === 'zone') return this.onZone(message)
    if (message.kind === 'output' && this.onOutput) return this.onOutput(message)
    this.#record({ received: message })
    if (this.#givenUp.delete(questionOf(message) ?? NaN)) return
    if (this.#held.length >= HELD_MAX)
      throw new RangeError('it sent more messages than were requested')
    this.#held.push(message)
    for (const check of this.#waiting) check()
    if (message.kind === 'lost') this.#fail(`the agent ended with an error (${message.code})`)
  }

  #greeted(message: AgentMessage, expected: AgentMessage): void {
    if (!isDeepStrictEqual(message, expected))
      throw new RangeError('its greeting differs from that of the template')
    this.#greeting = undefined
    this.#held.push(message)
    for (const check of this.#waiting) check()
  }

  #record(turn: AgentTurn): void {
    if (this.#isRecorded && this.#turns.length < TURNS_MAX) this.#turns.push(turn)
  }

  #fail(why: string): void {
    if (this.#over !== undefined) return
    this.#over = why
    this.#socket.destroy()
    this.#end.resolve(why)
    for (const check of this.#waiting) check()
  }
}

/** Nonce of the request that a message answers. */
function questionOf(message: AgentMessage): number | undefined {
  if (message.kind !== 'refused') return 'nonce' in message ? message.nonce : undefined
  return message.what in answerOf ? message.about : undefined
}

function broken(why: string): MayflyError {
  return new MayflyError('PROTOCOL', `Cannot communicate with a guest's agent: ${why}`)
}
