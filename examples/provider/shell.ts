import { spawn, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { isWithin, MayflyError } from 'mayfly'
import type { Controls, KillCause, Profile, Provider, Sandbox, Task, TaskEnd, TaskIo } from 'mayfly'

/** Runs shell scripts as plain child processes: no wall, declared as tier `none` without enforced controls. */
export const shell: Provider = {
  name: 'shell',
  tier: 'none',
  languages: ['sh'],
  enforces: [],
  tightens: [],
  can: [],
  detect: async () => ({ available: true, strength: 0, layers: [], missing: ['a wall'] }),
  launch: async (profile) => new Shell(profile),
}

class Shell implements Sandbox {
  readonly id = `shell_${randomUUID()}`
  readonly provider = 'shell'
  readonly image = 'host'
  readonly pool = 'none'
  receipt: Sandbox['receipt']
  readonly #profile: Profile
  #child: ChildProcess | undefined
  #cause: KillCause | undefined
  #isUsed = false

  constructor(profile: Profile) {
    this.#profile = profile
  }

  async run({ code, inputText }: Task, io: TaskIo): Promise<TaskEnd> {
    if (this.#isUsed || this.receipt) throw new MayflyError('CONFLICT', 'Cannot run: it was used')
    this.#isUsed = true
    if (this.#cause) return this.#end(null, '')
    const { timeout } = this.#profile.limits
    const late = setTimeout(() => this.kill({ status: 'timeout' }), timeout)
    const child = spawn('/bin/sh', ['-c', code], { detached: true, stdio: Array(4).fill('pipe') })
    this.#child = child
    io.released()
    child.stdin?.on('error', () => {}).end(inputText)
    const [result] = await Promise.all([
      buffer(child.stdio[3] as Readable),
      pass(child.stdout, (chunk) => io.stdout(chunk)),
      pass(child.stderr, (chunk) => io.stderr(chunk)),
      once(child, 'close'),
    ])
    clearTimeout(late)
    return this.#end(child.exitCode, String(result))
  }

  async tighten(to: Controls) {
    const { controls } = this.#profile
    if (!isWithin(to, controls)) throw new MayflyError('CONFLICT', 'Cannot loosen a sandbox')
    const names = Object.keys(controls) as (keyof Controls)[]
    const unenforced = names.filter(
      (name) => !isWithin(controls, { ...controls, [name]: to[name] }),
    )
    return { controls, took: 0, unenforced }
  }

  async freeze() {
    throw new MayflyError('UNAVAILABLE', 'Cannot freeze or thaw a shell')
  }

  thaw = this.freeze
  watch() {}
  capture = async () => ({ kind: 'none', parts: [] }) as const

  kill(cause: KillCause) {
    this.#cause ??= cause
    if (this.#child && this.#child.exitCode === null && this.#child.signalCode === null)
      process.kill(-this.#child.pid!, 'SIGKILL')
  }

  async [Symbol.asyncDispose]() {
    this.receipt ??= { id: this.id, took: 0, freedBytes: 0, forced: [] }
    this.kill({ status: 'terminated', reason: 'It was destroyed' })
  }

  #end(exitCode: number | null, result: string): TaskEnd {
    const status = this.#cause?.status ?? statusOf(exitCode)
    const resultText = status === 'ok' && result ? result : 'null'
    const code = this.#cause?.status === 'limit' ? this.#cause.code : status.toUpperCase()
    const error = { code, message: `The script ended: ${exitCode ?? 'killed'}` }
    const told = status === 'ok' ? {} : { error }
    return { status, resultText, encoding: 'json', cpuTime: 0, artifacts: [], ...told }
  }
}

function statusOf(exitCode: number | null): TaskEnd['status'] {
  if (exitCode === null) return 'failed'
  return exitCode === 0 ? 'ok' : 'error'
}

/** Forwards chunks with back-pressure. Errors of the sink are ignored. */
async function pass(from: Readable, take: TaskIo['stdout']): Promise<void> {
  for await (const chunk of from) await Promise.try(take, chunk as Uint8Array).catch(() => {})
}
