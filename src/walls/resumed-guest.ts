import { AgentLink } from '../agent-wire/agent-link.ts'
import { holdJob } from '../agent-wire/agent-questions.ts'
import { claimAgent } from '../agent-wire/make-unique.ts'
import type { ConversationState } from '../agent-wire/conversation.ts'
import type { HostMessageOf } from '../agent-wire/encode.ts'
import type { AgentMessageOf } from '../agent-wire/decode.ts'
import { MayflyError } from '../contract/error.ts'
import type { MachineSave } from '../contract/machine-save.ts'
import type { WallEnd } from '../contract/warden.ts'
import { resolvesWithin } from '../lib/within.ts'
import type { WardenClient } from './client.ts'
import { sendSave, type SaveBytes } from './send-save.ts'

/**
 * A machine that was resumed from a save, in quarantine, as an analyst uses it: commands run as root of the guest, by its agent, with the
 * programs of the job frozen.
 *
 * Order: the warden restores the machine, and leaves it stopped; its deadline is set; the conversation with the agent goes on where the
 * save has it; the machine runs; the agent makes the guest another one (generator, boot id, machine id, host name, clock). No program of the
 * job runs before `thaw`.
 *
 * Everything that the guest sends is hostile: frames are bounded by the conversation, output by its credit, time by the deadline. A guest
 * that took over its agent can show whatever it likes.
 */
export interface ResumedGuestParts extends SaveBytes {
  readonly warden: Pick<WardenClient, 'resume' | 'resumed' | 'claim' | 'thaw' | 'kill' | 'onEnded'>
  readonly save: MachineSave
  readonly position: ConversationState
  /** Milliseconds from the restore until the machine is killed. */
  readonly lifeMs: number
  readonly cores?: number
}

export interface GuestCommandEnd {
  /** Null for a command that a signal ended, or that did not end in time. */
  readonly exitCode: number | null
  readonly signal: number | null
  readonly stdout: Buffer
  readonly stderr: Buffer
  /** Killed for more output than its bound. */
  readonly isCut: boolean
  /** Killed at its time limit. */
  readonly isLate: boolean
}

/** Bytes of each output of a command. */
export const commandOutputMax = 2 ** 20
export const commandBytesMax = 16_384

const CLAIM_MS_MAX = 60_000
const HOLD_MS_MAX = 30_000
const KILLED_MS_MAX = 10_000
/** A process that a command left behind may hold its outputs open. */
const STREAMS_MS_MAX = 1_000
const SIGKILL = 9
/** Two pipes of the guest's kernel. */
const PIPE_BYTES = 2 ** 17
/** Streams of all programs that an agent has at once. */
const STREAMS_HELD_MAX = 48
/** Above the programs of the job's own agent conversation. */
const FIRST_PROGRAM = 1_000

/** Throws MayflyError UNAVAILABLE, STATE where bytes of the save do not match, and PROTOCOL where the guest does not answer. */
export async function resumeGuest(parts: ResumedGuestParts): Promise<ResumedGuest> {
  const { warden, save, position, lifeMs, cores } = parts
  const { wall, socket } = await restore(parts)
  // Until the agent link listens: a machine that ends before that is an error of the claim.
  socket.on('error', () => undefined)
  try {
    const cpu = cores === undefined ? {} : { cpu: cores }
    await warden.claim(wall.id, { tenant: '', memory: 0, deadline: lifeMs, ...cpu })
    const guest = new ResumedGuest(wall.id, AgentLink.goOn(socket, position), warden)
    await warden.thaw(wall.id)
    await guest.makeUnique()
    return guest
  } catch (error) {
    socket.destroy()
    await warden.kill(wall.id)
    throw error
  }

  async function restore({ memory, devices }: SaveBytes) {
    const { resumption, socket: to } = await warden.resume(save)
    to.on('error', () => undefined)
    const restored = warden.resumed(resumption)
    restored.catch(() => undefined)
    const sent = await sendSave(to, { memory, devices }).then(nothing, (error: unknown) => error)
    if (sent !== undefined) to.destroy()
    // A digest that does not match is the cause; a receiver that is gone has one of its own.
    if (sent instanceof MayflyError) throw sent
    return await restored.finally(() => to.destroy())
  }
}

const nothing = (): unknown => undefined

export class ResumedGuest implements AsyncDisposable {
  readonly wall: string
  /** Resolves with the cause of its end. */
  readonly ended: Promise<WallEnd>
  readonly #agent: AgentLink
  readonly #warden: Pick<WardenClient, 'kill' | 'onEnded'>
  #program = FIRST_PROGRAM

  constructor(wall: string, agent: AgentLink, warden: Pick<WardenClient, 'kill' | 'onEnded'>) {
    const { promise, resolve } = Promise.withResolvers<WallEnd>()
    this.wall = wall
    this.ended = promise
    this.#agent = agent
    this.#warden = warden
    warden.onEnded(wall, resolve)
  }

  /** Before anything runs in it. Throws MayflyError PROTOCOL. */
  async makeUnique(): Promise<void> {
    const own = { id: this.wall, hostname: this.wall, limits: {}, labels: {} }
    await claimAgent(this.#agent, own, CLAIM_MS_MAX)
  }

  /** Lets the programs of the job go on, for good. */
  async thaw(): Promise<void> {
    await holdJob(this.#agent, false, HOLD_MS_MAX)
  }

  /**
   * Runs a command of the guest's shell as its root, to its end or `msMax`. Throws MayflyError INVALID, PROTOCOL, and OVERLOADED where
   * processes that earlier commands left behind hold all of the agent's programs.
   */
  async run(
    command: string,
    msMax: number,
    bytesMax: number = commandOutputMax,
  ): Promise<GuestCommandEnd> {
    if (command.includes('\0') || Buffer.byteLength(command) > commandBytesMax)
      throw new MayflyError('INVALID', `Cannot run a command of more than ${commandBytesMax} bytes`)
    const program = this.#program++
    const output = new CommandOutput(program, bytesMax, () => this.#cut(program))
    await this.#forgetEnds(program)
    this.#agent.onOutput = (message) => output.add(message)
    this.#start(program, { command, bytesMax })
    const { exited, isLate } = await this.#exit(program, msMax)
    await this.#streamsEnd(program)
    const { end } = exited
    return {
      exitCode: 'exitCode' in end && !isLate ? end.exitCode : null,
      signal: 'signal' in end ? end.signal : null,
      stdout: output.bytesOf('stdout'),
      stderr: output.bytesOf('stderr'),
      isCut: output.isCut,
      isLate,
    }
  }

  /** Kills the machine; resolves when no process of it is left. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#agent.close()
    await this.#warden.kill(this.wall)
  }

  #start(program: number, of: { readonly command: string; readonly bytesMax: number }): void {
    try {
      this.#agent.send(shellOf(program, of))
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause
      const why = 'processes of earlier commands hold their outputs open'
      throw new MayflyError('OVERLOADED', `Cannot run a command in a machine: ${why}`, {
        hint: 'End them: "kill" is in the shell of the guest',
        cause,
      })
    }
  }

  /** Ends of streams that came after their command was given up. */
  async #forgetEnds(program: number): Promise<void> {
    const isEarlier = (one: { readonly program: number }) => one.program < program
    const next = () => this.#agent.take('ended', 0, isEarlier).then(Boolean, () => false)
    for (let left = STREAMS_HELD_MAX; left > 0 && (await next()); left--) continue
  }

  async #exit(program: number, msMax: number) {
    const exit = this.#exited(program, msMax + KILLED_MS_MAX)
    const isLate = !(await resolvesWithin(exit, msMax))
    if (isLate) this.#kill(program)
    return { exited: await exit, isLate }
  }

  async #exited(program: number, msMax: number): Promise<AgentMessageOf<'exited'>> {
    const answer = await this.#agent.take(['exited', 'refused'], msMax, (one) =>
      one.kind === 'exited' ? one.program === program : one.what === 'run' && one.about === program,
    )
    if (answer.kind === 'exited') return answer
    const why = `its guest refuses the shell (${answer.stage}, errno ${answer.errno})`
    throw new MayflyError('UNAVAILABLE', `Cannot run a command in a machine: ${why}`)
  }

  /** Output that was written before the exit may come behind it. */
  async #streamsEnd(program: number): Promise<void> {
    const isOwn = (one: { readonly program: number }) => one.program === program
    for (let left = 2; left > 0; left--) {
      const ended = this.#agent.take('ended', STREAMS_MS_MAX, isOwn)
      if (!(await ended.catch(() => undefined))) return
    }
  }

  /** Bytes that are in a pipe would keep the end of its stream untold. */
  #cut(program: number): void {
    this.#kill(program)
    for (const stream of ['stdout', 'stderr'] as const)
      this.#agent.send({ kind: 'credit', program, stream, bytes: PIPE_BYTES })
  }

  #kill(program: number): void {
    this.#agent.send({ kind: 'signal', program, signal: SIGKILL, toGroup: true })
  }
}

function shellOf(
  program: number,
  { command, bytesMax }: { readonly command: string; readonly bytesMax: number },
): HostMessageOf<'run'> {
  return {
    kind: 'run',
    program,
    streams: ['stdout', 'stderr'],
    uid: 0,
    gid: 0,
    stdoutCredit: bytesMax,
    stderrCredit: bytesMax,
    file: '/bin/sh',
    folder: '/',
    args: ['sh', '-c', command],
    variables: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root', 'TERM=dumb'],
    descriptors: [],
  }
}

/** Outputs of one command, each bounded by the credit of its start. */
class CommandOutput {
  isCut = false
  readonly #program: number
  readonly #bytesMax: number
  readonly #over: () => void
  readonly #parts: Record<AgentMessageOf<'output'>['stream'], Buffer[]> = { stdout: [], stderr: [] }
  readonly #sizes: Record<AgentMessageOf<'output'>['stream'], number> = { stdout: 0, stderr: 0 }

  constructor(program: number, bytesMax: number, over: () => void) {
    this.#program = program
    this.#bytesMax = bytesMax
    this.#over = over
  }

  add({ program, stream, bytes }: AgentMessageOf<'output'>): void {
    // Sent behind the bound, or by a process of an earlier command.
    if (program !== this.#program || this.isCut) return
    this.#parts[stream].push(bytes)
    this.#sizes[stream] += bytes.length
    if (this.#sizes[stream] < this.#bytesMax) return
    this.isCut = true
    this.#over()
  }

  bytesOf(stream: AgentMessageOf<'output'>['stream']): Buffer {
    return Buffer.concat(this.#parts[stream])
  }
}
