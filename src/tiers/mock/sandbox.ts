import type { Clock, Timer } from '../../contract/clock.ts'
import {
  canonicalControls,
  controlsBeyond,
  meet,
  type Control,
  type Controls,
} from '../../contract/controls.ts'
import { MayflyError, messageOf } from '../../contract/error.ts'
import type { Encoding } from '../../contract/outcome.ts'
import type { Profile } from '../../contract/profile.ts'
import type {
  CallAnswer,
  Capture,
  Enforced,
  KillCause,
  LimitCode,
  Receipt,
  Sandbox,
  Task,
  TaskEnd,
  TaskIo,
} from '../../contract/provider.ts'
import { encodeTagged } from '../../lib/tagged.ts'
import { newId } from '../../lib/id.ts'
import type { Faults, Script, ScriptStep } from './script.ts'
import { parseJson } from '../../lib/parse-json.ts'

/** Largest chunk of one write. */
const chunkBytesMax = 64 * 1024

interface Parts {
  readonly profile: Profile
  readonly clock: Clock
  readonly script: Script
  readonly faults: Faults
}

/** Mock life: plays its script once against a given clock. */
export class MockSandbox implements Sandbox {
  readonly id: string
  readonly provider = 'mock'
  readonly image: string
  readonly pool = 'none'
  receipt: Receipt | undefined
  readonly #parts: Parts
  readonly #end = Promise.withResolvers<TaskEnd>()
  readonly #timers = new Set<Timer>()
  readonly #artifacts: TaskEnd['artifacts'][number][] = []
  #controls: Controls
  /** Controls of each zone that has its own. */
  readonly #zones = new Map<string, Controls>()
  #cpuTime = 0
  #state: 'ready' | 'running' | 'ended' = 'ready'
  #cause: KillCause | undefined
  #peak = 0

  constructor(parts: Parts) {
    this.id = newId('mock', parts.clock.date())
    this.image = parts.profile.image
    this.#parts = parts
    this.#controls = canonicalControls(parts.profile.controls)
  }

  async run(task: Task, io: TaskIo): Promise<TaskEnd> {
    if (this.#state !== 'ready' || this.receipt) {
      throw new MayflyError('CONFLICT', 'Cannot run a second task: a sandbox is used once')
    }
    this.#state = 'running'
    if (this.#cause) this.#answerKill(this.#cause)
    else void this.#play(task, io).catch((thrown: unknown) => this.#crash(messageOf(thrown)))
    return await this.#end.promise
  }

  async tighten(to: Controls, zone?: string): Promise<Enforced> {
    const looser = controlsBeyond(to, this.#held(zone))
    if (looser.length > 0) {
      throw new MayflyError('CONFLICT', `Cannot loosen a live sandbox: ${looser.join(', ')}`)
    }
    const { tighten: fault = 0 } = this.#parts.faults
    if (fault === 'throws') throw new MayflyError('INTERNAL', 'Cannot tighten: the script says so')
    if (fault === 'never') return await Promise.withResolvers<Enforced>().promise
    if (typeof fault === 'object') return this.#tightenAllBut(fault, to)
    await this.#sleep(fault)
    if (zone === undefined) this.#controls = meet(this.#controls, to)
    else this.#zones.set(zone, meet(this.#held(zone), to))
    return { controls: this.#held(zone), took: fault, unenforced: [] }
  }

  #held(zone: string | undefined): Controls {
    const own = zone === undefined ? undefined : this.#zones.get(zone)
    return own ? meet(own, this.#controls) : this.#controls
  }

  async endZone(zone: string): Promise<void> {
    const { endZone: fault } = this.#parts.faults
    if (fault === 'throws') throw new MayflyError('INTERNAL', 'Cannot end it: the script says so')
    if (fault === 'never') await Promise.withResolvers<void>().promise
    this.#zones.delete(zone)
  }

  cpuTime(): number {
    return this.#cpuTime
  }

  freeze(): Promise<void> {
    if (this.#parts.faults.freeze === 'works') return Promise.resolve()
    return Promise.reject(new MayflyError('UNAVAILABLE', 'Cannot freeze: provider "mock" does not'))
  }

  thaw(): Promise<void> {
    return Promise.reject(new MayflyError('UNAVAILABLE', 'Cannot thaw: provider "mock" does not'))
  }

  /** No events: a mock has no wall. */
  watch(): void {}

  capture(): Promise<Capture> {
    return Promise.resolve({ kind: 'none', parts: [] })
  }

  kill(cause: KillCause): void {
    if (this.#cause || this.#hasEnded) return
    this.#cause = cause
    if (this.#state === 'running') this.#answerKill(cause)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.receipt) return
    const forced = this.#state === 'running' ? ['kill'] : []
    this.receipt = { id: this.id, took: 0, freedBytes: this.#peak, forced }
    this.#finish({
      status: 'terminated',
      error: { code: 'TERMINATED', message: 'The sandbox was destroyed' },
    })
    for (const timer of this.#timers) timer.cancel()
  }

  async #play(task: Task, io: TaskIo): Promise<void> {
    const { script, faults, clock } = this.#parts
    const steps = task.calls === undefined ? script(task) : []
    if (faults.release === 'never') return
    await this.#sleep(faults.release ?? 0)
    if (this.#hasEnded) return
    const released = clock.now()
    io.released()
    for (const step of steps) await this.#at(step, released, io)
    for (let call = 0; call < (task.calls ?? 0); call++) await this.#playCall(task, call, io)
    if (task.calls !== undefined) this.#answer('null', 'json')
  }

  async #at(step: ScriptStep, began: number, io: TaskIo): Promise<void> {
    if (this.#hasEnded) return
    await this.#sleep((step.at ?? 0) - (this.#parts.clock.now() - began))
    if (!this.#hasEnded) await this.#do(step, io)
  }

  /** Plays the script for one call of a batch; its last step answers that call. */
  async #playCall(task: Task, call: number, io: TaskIo): Promise<void> {
    const { script, clock } = this.#parts
    const inputs = parseJson(task.inputText) as readonly unknown[]
    const began = clock.now()
    for (const step of script({ ...task, inputText: JSON.stringify(inputs[call]) })) {
      const end = answerOf(step)
      if (!end) await this.#at(step, began, io)
      else if (!this.#hasEnded) io.answered?.({ ...end, executionTime: clock.now() - began })
    }
  }

  async #do(step: ScriptStep, io: TaskIo): Promise<void> {
    if ('stdout' in step) return await this.#send(step.stdout, (chunk) => io.stdout(chunk))
    if ('stderr' in step) return await this.#send(step.stderr, (chunk) => io.stderr(chunk))
    if ('spam' in step)
      return await this.#send(new Uint8Array(step.spam), (chunk) => io.stdout(chunk))
    if ('artifact' in step) return void this.#artifacts.push(step.artifact)
    if ('memory' in step) return this.#use(step.memory)
    if ('cpu' in step) return void (this.#cpuTime = step.cpu)
    if ('call' in step) return void (await io.call?.(step.call.name, step.call.argsText))
    if ('limit' in step) return this.#hit(step.limit)
    if ('crash' in step) return this.#crash(step.crash)
    if ('error' in step) return this.#finish({ status: 'error', error: step.error })
    if ('resultText' in step) return this.#answer(step.resultText, step.encoding)
    const { text: resultText, encoding } = encodeTagged(step.result)
    this.#answer(resultText, encoding)
  }

  /** Sends in chunks, each after the one before was taken. */
  async #send(data: string | Uint8Array, to: (chunk: Uint8Array) => void | Promise<void>) {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data
    for (let at = 0; at < bytes.length && !this.#hasEnded; at += chunkBytesMax) {
      await to(bytes.subarray(at, at + chunkBytesMax))
    }
  }

  get #hasEnded(): boolean {
    return this.#state === 'ended'
  }

  #use(bytes: number): void {
    this.#peak = Math.max(this.#peak, bytes)
    if (bytes > this.#parts.profile.limits.memory) this.#hit('MEMORY')
  }

  #hit(code: LimitCode): void {
    const message = `The limit on ${code.toLowerCase()} was hit`
    this.#finish({ status: 'limit', error: { code, message } })
  }

  #crash(message: string): void {
    this.#finish({ status: 'failed', error: { code: 'WALL_LOST', message } })
  }

  #answer(resultText: string, encoding: Encoding): void {
    this.#finish({ status: 'ok', resultText, encoding })
  }

  #answerKill(cause: KillCause): void {
    const { kill: fault = 0 } = this.#parts.faults
    if (fault === 'never') return
    if (fault === 'ok') return this.#answer('"late"', 'json')
    if (fault === 0) return this.#finish(killedBy(cause))
    this.#after(fault, () => this.#finish(killedBy(cause)))
  }

  /** Ends the life; later ends are dropped. */
  #finish(end: Pick<TaskEnd, 'status'> & Partial<TaskEnd>): void {
    if (this.#hasEnded) return
    this.#state = 'ended'
    const memory = { used: this.#peak, peak: this.#peak }
    const artifacts = this.#artifacts
    this.#end.resolve({
      resultText: 'null',
      encoding: 'json',
      cpuTime: this.#cpuTime,
      memory,
      artifacts,
      ...end,
    })
  }

  #tightenAllBut(open: readonly Control[], to: Controls): Enforced {
    const left = Object.fromEntries(open.map((name) => [name, this.#controls[name]]))
    this.#controls = { ...meet(this.#controls, to), ...left }
    return { controls: this.#controls, took: 0, unenforced: open }
  }

  /** Waits unless `ms` has passed, so that a script without waits is played in one turn of the event loop. */
  async #sleep(ms: number): Promise<void> {
    if (ms > 0) await new Promise<void>((resolve) => this.#after(ms, resolve))
  }

  #after(ms: number, then: () => void): void {
    const timer = this.#parts.clock.after(ms, () => {
      this.#timers.delete(timer)
      then()
    })
    this.#timers.add(timer)
  }
}

/** Answer of a step to one call of a batch; undefined for any other step. */
function answerOf(step: ScriptStep): Omit<CallAnswer, 'executionTime'> | undefined {
  const failed = { status: 'error', resultText: 'null', encoding: 'json' } as const
  if ('error' in step) return { ...failed, error: step.error }
  if ('resultText' in step) {
    return { status: 'ok', resultText: step.resultText, encoding: step.encoding }
  }
  if (!('result' in step)) return undefined
  const { text: resultText, encoding } = encodeTagged(step.result)
  return { status: 'ok', resultText, encoding }
}

function killedBy(cause: KillCause): Pick<TaskEnd, 'status'> & Partial<TaskEnd> {
  const { status } = cause
  if (status !== 'limit') return { status }
  return { status, error: { code: cause.code, message: `It was ended at its ${cause.code} limit` } }
}
