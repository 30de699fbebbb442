import { connect } from 'node:net'
import path from 'node:path'
import { readFileSync } from 'node:fs'
import * as z from 'zod'
import { wholeEnv } from '../../../jail/whole.ts'
import { parseJson, tryParseJson } from '../../../lib/parse-json.ts'
import { within } from '../../../lib/within.ts'
import type { Pausable } from '../cpu-pauses.ts'

/**
 * The sentry's control socket, which runsc's own command line uses too (gvisor `pkg/urpc`): one JSON object as request,
 * one as answer, without a length prefix. Measured here: pause 0.3 ms, a control file 0.8 ms. User code may have
 * compromised the sentry, so the answer is bounded and read as hostile input: in pieces too, since each piece costs a parse of all of it.
 */
/** Enough for eight sandboxes that start at once on two cores; an idle sentry answers within a millisecond. */
const ANSWER_MS_MAX = 10_000
const ANSWER_BYTES_MAX = 2 ** 16
/** A sentry writes its answer at once, and answers are short. */
const PIECES_MAX = 16

const answer = z.object({ success: z.boolean(), err: z.string(), result: z.unknown() })
const files = z.object({
  results: z.array(z.object({ value: z.string().max(4096), is_error: z.boolean() })).length(1),
})
const used = z.object({ Tmpfs: z.number() })
const state = z.object({
  goferPid: z.number().int().min(1),
  sandbox: z.object({ pid: z.number().int().min(1), controlSocketPath: z.string() }),
})

export class SentryControl {
  readonly #socket: string
  readonly #id: string
  readonly #answerMsMax: number

  /** `answerMsMax`: for tests. */
  constructor(stateFolder: string, id: string, answerMsMax = ANSWER_MS_MAX) {
    this.#socket = path.join(stateFolder, `runsc-${id}.sock`)
    this.#id = id
    this.#answerMsMax = answerMsMax
  }

  /** Pauses for one reason, which nest with those for others. */
  pauses(): Pausable {
    return new SentryPauses((method, late) => this.#call(method, null, late))
  }

  /** Bytes of its scratch folders. */
  async scratchBytes(): Promise<number> {
    const { Tmpfs } = used.parse(await this.#call('Usage.Collect', { Full: true }))
    return Tmpfs
  }

  /** Tasks of the program: processes and threads. */
  async tasks(): Promise<number> {
    return Number(await this.#readFile('pids.current'))
  }

  /** Starts another program inside, without capabilities and inherited descriptors. Resolves once it runs. */
  async start(command: readonly string[], uid: number): Promise<void> {
    const { PATH, HOME } = wholeEnv
    await this.#call('containerManager.ExecuteAsync', {
      filename: command[0],
      argv: command,
      envv: [`PATH=${PATH}`, `HOME=${HOME}`],
      wd: '/',
      KUID: uid,
      KGID: uid,
      ContainerID: this.#id,
    })
  }

  async #readFile(name: string): Promise<string> {
    const result = files.parse(
      await this.#call('Cgroups.ReadControlFiles', { Args: [{ File: this.#file(name) }] }),
    )
    const [{ value, is_error: isError } = { value: '', is_error: true }] = result.results
    if (isError) throw new Error(`"${name}": ${value.slice(0, 200)}`)
    return value.trim()
  }

  #file(name: string) {
    return { Controller: 'pids', Path: `/${this.#id}`, Name: name }
  }

  #call(method: string, arg: unknown, late?: LateAnswer): Promise<unknown> {
    return call(this.#socket, { method, arg, msMax: this.#answerMsMax }, late)
  }
}

/**
 * Pauses of a sentry for one reason, which asks for one after another.
 *
 * Problem: a sentry counts pauses, and panics at a resume without a pause. Whoever asked for one that is late was told
 * that it failed, and resumes nothing. A sentry that answers none must not cost a socket for each that is tried.
 *
 * Mechanism: one pause for a reason at most. A late one is undone as soon as it is confirmed, and not before: until then
 * the sentry may not have begun it, and is asked for no other. A late resume is not sent again: the sentry has it.
 */
class SentryPauses implements Pausable {
  readonly #ask: (method: string, late: LateAnswer) => Promise<unknown>
  #last: Promise<unknown> = Promise.resolve()
  #isPaused = false
  /** True while a late pause is neither confirmed and undone, nor refused. */
  #isUnconfirmed = false

  constructor(ask: (method: string, late: LateAnswer) => Promise<unknown>) {
    this.#ask = ask
  }

  /** Resolves when every task of the program is paused. */
  pause(): Promise<void> {
    return this.#next(async () => {
      if (this.#isPaused) return
      if (this.#isUnconfirmed) throw new Error('an earlier pause is not confirmed')
      await this.#ask('containerManager.Pause', (confirmed) => this.#undoOnce(confirmed))
      this.#isPaused = true
    })
  }

  resume(): Promise<void> {
    return this.#next(async () => {
      if (!this.#isPaused) return
      await this.#ask('containerManager.Resume', (_answer, drop) => {
        this.#isPaused = false
        drop()
      })
      this.#isPaused = false
    })
  }

  #undoOnce(confirmed: Promise<unknown>): void {
    this.#isUnconfirmed = true
    const undo = () => this.#ask('containerManager.Resume', (_answer, drop) => drop()).catch(ignore)
    const settle = () => void (this.#isUnconfirmed = false)
    void confirmed.then(undo, ignore).then(settle)
  }

  #next(act: () => Promise<void>): Promise<void> {
    const done = this.#last.then(act)
    this.#last = done.catch(ignore)
    return done
  }
}

const ignore = () => undefined

/** Pids from runsc's state file, which was written before user code ran. */
export function statePids(stateFolder: string, id: string): { sandbox: number; gofer: number } {
  const file = path.join(stateFolder, `${id}_sandbox:${id}.state`)
  const { goferPid, sandbox } = state.parse(parseJson(readFileSync(file, 'utf8')))
  return { sandbox: sandbox.pid, gofer: goferPid }
}

interface Asked {
  readonly method: string
  readonly arg: unknown
  readonly msMax: number
}

/** Called at the deadline of a request with the answer that may come later, and what ends the wait for it. */
type LateAnswer = (later: Promise<unknown>, drop: () => void) => void

/** With `late` the socket stays open after the deadline, until the wait is dropped or the sentry ends. */
async function call(
  socketPath: string,
  { method, arg, msMax }: Asked,
  late?: LateAnswer,
): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>()
  const socket = connect(socketPath)
  let said = ''
  let pieces = 0
  socket.on('error', reject)
  socket.on('close', () => reject(new Error(`${method} was not answered`)))
  socket.on('data', (chunk: Buffer) => {
    said += chunk.toString('latin1')
    if (said.length > ANSWER_BYTES_MAX || ++pieces > PIECES_MAX) {
      socket.destroy()
      return reject(new Error(`the answer to ${method} is too large, or in too many pieces`))
    }
    const whole = wholeOf(said)
    if (whole === undefined) return
    const { success, err, result } = whole
    if (success) resolve(result)
    else reject(new Error(`${method}: ${err.slice(0, 200)}`))
  })
  socket.write(JSON.stringify({ method, arg }))
  const answered = promise.finally(() => socket.destroy())
  const isLate = Symbol('late')
  const first = await within(answered, msMax, isLate)
  if (first !== isLate) return first
  // The answer may be a rejection, which nobody awaits.
  answered.catch(ignore)
  const drop = () => void socket.destroy()
  if (late) late(answered, drop)
  else drop()
  throw new Error(`${method} is late`)
}

/** Parsed answer; undefined while it is incomplete. */
function wholeOf(text: string): z.infer<typeof answer> | undefined {
  return answer.safeParse(tryParseJson(text)).data
}
