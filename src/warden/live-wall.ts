import type { Enclosure, EnclosureEnd, KillReceipt } from '../contract/engine.ts'
import type { LimitHit, LimitUse, Reply, WallEnd, WallCost } from '../contract/warden.ts'
import { EnclosureLife } from './enclosure-life.ts'
import type { SampledWall, Sampler } from './sampler.ts'

/** A live enclosure with its state, samples and end. */
export class LiveWall {
  readonly enclosure: Enclosure
  readonly life: EnclosureLife
  /** Resolves when all its resources are released. */
  readonly gone: Promise<void>
  readonly #sampler: Sampler
  #peakBytes = 0

  constructor(
    enclosure: Enclosure,
    sampler: Sampler,
    report: (reply: Reply, used: WallCost) => void,
  ) {
    this.enclosure = enclosure
    this.#sampler = sampler
    this.life = new EnclosureLife(enclosure.id, enclosure.isSingleUse)
    this.life.park()
    void enclosure.lost.then(() => this.end('killed'))
    this.gone = this.#untilGone(report)
  }

  get id(): string {
    return this.enclosure.id
  }

  /** True if its job hit its memory limit, by the sampler or by the kernel's OOM count since. */
  get isOutOfMemory(): boolean {
    return this.life.how === 'memory' || this.enclosure.isOutOfMemory()
  }

  /** Limit besides memory that its job has used up, by the counts of the kernel; or an exec of it, of which each is counted anew. */
  limitUse(isOfExec = false): LimitUse | Promise<LimitUse> {
    const hit = this.enclosure.limitHit?.(isOfExec)
    return hit instanceof Promise ? hit.then((limit) => this.#useOf(limit)) : this.#useOf(hit)
  }

  #useOf(limit: LimitHit | undefined): LimitUse {
    const { limitTrust } = this.enclosure
    if (limit !== undefined) return { limit, ...(limitTrust && { limitTrust }) }
    return this.enclosure.isNearTasks?.() ? { nearTasks: true } : {}
  }

  /** Ends it without waiting; an enclosure that cannot be killed keeps its lease. Idempotent. */
  end(how: WallEnd, sampled = this.#sampler.forget(this.id)): void {
    this.#kill(how, sampled).catch(() => undefined)
  }

  /** Ends it; resolves when all its resources are released, or after `killMsMax`. Idempotent. */
  async kill(how: WallEnd): Promise<KillReceipt> {
    const receipt = await this.#kill(how, this.#sampler.forget(this.id))
    if (receipt.isGone) await this.gone
    return receipt
  }

  async #kill(how: WallEnd, sampled: SampledWall | undefined): Promise<KillReceipt> {
    this.life.end(how)
    this.#peakBytes = Math.max(this.#peakBytes, sampled?.peakBytes ?? 0)
    return await this.enclosure.kill()
  }

  /** Waits for the end of its last process, reports it to the server, then releases the resources. */
  async #untilGone(report: (reply: Reply, used: WallCost) => void): Promise<void> {
    const end = await this.enclosure.ended
    const reply = this.#reportOf(end)
    const { how, peakBytes, exit } = reply
    const isOutOfMemory = how === 'memory'
    report(reply, {
      peakBytes,
      // Start-up continues in the background: before a claim its CPU time is of no job.
      cpuMs: this.life.bounds ? (exit.cpuMs ?? 0) : 0,
      ...(isOutOfMemory && { isOutOfMemory }),
      ...this.#useOf(end.limit),
    })
    try {
      await this.enclosure[Symbol.asyncDispose]()
    } catch {
      // The lease stays, so that the next sweep removes the remains.
    }
  }

  #reportOf(end: EnclosureEnd): Extract<Reply, { readonly ended: string }> {
    const sampled = this.#sampler.forget(this.id)
    if (this.life.how === undefined) this.life.end('exit')
    return {
      ended: this.id,
      how: this.life.reported(end.isOutOfMemory),
      peakBytes: Math.max(sampled?.peakBytes ?? 0, this.#peakBytes),
      detail: end.detail,
      exit: end.exit,
      ...(end.limit && { limit: end.limit }),
    }
  }
}
