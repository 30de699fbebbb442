import { connect } from 'node:net'
import path from 'node:path'
import { readFileSync } from 'node:fs'
import * as z from 'zod'
import { wholeEnv } from '../../../jail/whole.ts'
import { parseJson, tryParseJson } from '../../../lib/parse-json.ts'

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

  constructor(stateFolder: string, id: string) {
    this.#socket = path.join(stateFolder, `runsc-${id}.sock`)
    this.#id = id
  }

  /** Resolves when every task of the program is paused. */
  async pause(): Promise<void> {
    await call(this.#socket, 'containerManager.Pause', null)
  }

  async resume(): Promise<void> {
    await call(this.#socket, 'containerManager.Resume', null)
  }

  /** Bytes of its scratch folders. */
  async scratchBytes(): Promise<number> {
    const { Tmpfs } = used.parse(await call(this.#socket, 'Usage.Collect', { Full: true }))
    return Tmpfs
  }

  /** Tasks of the program: processes and threads. */
  async tasks(): Promise<number> {
    return Number(await this.#readFile('pids.current'))
  }

  /** Starts another program inside, without capabilities and inherited descriptors. Resolves once it runs. */
  async start(command: readonly string[], uid: number): Promise<void> {
    const { PATH, HOME } = wholeEnv
    await call(this.#socket, 'containerManager.ExecuteAsync', {
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
      await call(this.#socket, 'Cgroups.ReadControlFiles', { Args: [{ File: this.#file(name) }] }),
    )
    const [{ value, is_error: isError } = { value: '', is_error: true }] = result.results
    if (isError) throw new Error(`"${name}": ${value.slice(0, 200)}`)
    return value.trim()
  }

  #file(name: string) {
    return { Controller: 'pids', Path: `/${this.#id}`, Name: name }
  }
}

/** Pids from runsc's state file, which was written before user code ran. */
export function statePids(stateFolder: string, id: string): { sandbox: number; gofer: number } {
  const file = path.join(stateFolder, `${id}_sandbox:${id}.state`)
  const { goferPid, sandbox } = state.parse(parseJson(readFileSync(file, 'utf8')))
  return { sandbox: sandbox.pid, gofer: goferPid }
}

async function call(socketPath: string, method: string, arg: unknown): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>()
  const socket = connect(socketPath)
  const timer = setTimeout(() => reject(new Error(`${method} is late`)), ANSWER_MS_MAX)
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
  try {
    return await promise
  } finally {
    clearTimeout(timer)
    socket.destroy()
  }
}

/** Parsed answer; undefined while it is incomplete. */
function wholeOf(text: string): z.infer<typeof answer> | undefined {
  return answer.safeParse(tryParseJson(text)).data
}
