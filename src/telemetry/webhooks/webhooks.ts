import { type AnomalySeverity, isAtLeast } from '../../contract/anomaly.ts'
import type { Clock, Timer } from '../../contract/clock.ts'
import type { Emitter } from '../../contract/event.ts'
import { newId } from '../../lib/id.ts'
import { cloudEventOf, type Told } from './cloud-event.ts'
import { type Addresses, post, type Posted } from './post.ts'
import type { Claimed, Queue } from './queue.ts'
import type { Signer } from './sign.ts'
import { parseJson } from '../../lib/parse-json.ts'

export interface Receiver {
  readonly url: string
  readonly from: AnomalySeverity
  readonly signer: Signer
  readonly addresses: Addresses
}

export interface WebhookOptions {
  readonly receivers: readonly Receiver[]
  readonly queue: Queue
  readonly clock: Clock
  readonly voice: Emitter
  /** From 0 up to 1. */
  readonly chance?: () => number
  /** Milliseconds for one try. */
  readonly timeoutMs?: number
}

/** Tells receivers of anomalies: written to disk first, signed and tried until it arrives or it has been too often. */
export interface Webhooks {
  /** Never waits, and never throws: what there is no room for is lost, and said to be. */
  tell(told: Told): void
  /** Stops trying; what is left is tried after the next start. */
  close(): Promise<void>
}

export const triesMax = 10
const firstWaitMs = 1000
export const waitMsMax = 15 * 60_000
const tryMsMax = 10_000
const closeMsMax = 2000
/** How often a receiver's letters are looked for when none is known of: another process may have died over one. */
const idleMs = 60_000

export function createWebhooks(options: WebhookOptions): Webhooks {
  const posts = options.receivers.map((receiver) => new Postman(receiver, options))
  return {
    tell: (told) => posts.forEach((one) => one.tell(told)),
    async close() {
      await Promise.all(posts.map((one) => one.close()))
    },
  }
}

/** How long to wait before the next try: twice as long each time, and by chance up to half less. */
export function waitBefore(tries: number, retryAfterMs: number, chance: number): number {
  const doubled = Math.min(waitMsMax, firstWaitMs * 2 ** Math.min(tries - 1, 20))
  return Math.max(Math.min(retryAfterMs, waitMsMax), doubled * (1 - chance / 2))
}

/** One receiver: one letter at a time, so that one that hangs holds back none but its own. */
class Postman {
  readonly #receiver: Receiver
  readonly #options: WebhookOptions
  readonly #stop = new AbortController()
  #timer: Timer | undefined
  #working: Promise<void> | undefined
  #isClosing = false

  constructor(receiver: Receiver, options: WebhookOptions) {
    this.#receiver = receiver
    this.#options = options
    this.#wait(0)
  }

  tell(told: Told): void {
    if (!isAtLeast(told.anomaly.severity, this.#receiver.from)) return
    const { queue, clock } = this.#options
    const date = clock.date()
    const id = newId('msg', date)
    const body = cloudEventOf(told, id, date)
    try {
      const { url } = this.#receiver
      const isPut = queue.put({ id, url, tenant: told.tenant, body, due: date })
      if (!isPut) this.#lose(told.run, 'there is no room for it')
    } catch {
      this.#lose(told.run, 'it cannot be written down')
    }
    this.#wait(0)
  }

  /** What is being tried may end; what is due but was not tried yet waits for the next start. */
  async close(): Promise<void> {
    this.#isClosing = true
    this.#timer?.cancel()
    const late = this.#options.clock.after(closeMsMax, () => this.#stop.abort())
    await this.#working
    late.cancel()
    this.#stop.abort()
  }

  #wait(ms: number): void {
    if (this.#isClosing) return
    this.#timer?.cancel()
    this.#timer = this.#options.clock.after(ms, () => {
      this.#working ??= this.#work().finally(() => (this.#working = undefined))
    })
    this.#timer.unref?.()
  }

  /** All that is due, and then waits for what comes next. Letters told meanwhile wait in the queue. */
  async #work(): Promise<void> {
    const { queue, clock } = this.#options
    const { url } = this.#receiver
    let wait = idleMs
    try {
      while (!this.#stop.signal.aborted && !this.#isClosing) {
        const letter = queue.claim(url, clock.date())
        if (!letter) break
        await this.#deliver(letter)
      }
      wait = (queue.nextDue(url) ?? Infinity) - clock.date()
    } catch {
      // The disk is full or gone: what is there is still there when it is back.
    }
    this.#wait(Math.min(idleMs, Math.max(0, wait)))
  }

  async #deliver(letter: Claimed): Promise<void> {
    const { queue, clock, chance = Math.random } = this.#options
    const answer = await this.#post(letter)
    if (isTaken(answer)) return queue.remove(letter.id)
    if (this.#stop.signal.aborted) return queue.later(letter.id, clock.date())
    const isGone = answer.kind === 'answered' && answer.status === 410
    if (isGone || letter.tries >= triesMax) {
      this.#lose(runOf(letter), whyNot(answer))
      return queue.remove(letter.id)
    }
    const after = answer.kind === 'answered' ? answer.retryAfterMs : 0
    queue.later(letter.id, clock.date() + waitBefore(letter.tries, after, chance()))
  }

  #post({ id, body }: Claimed): Promise<Posted> {
    const { url, signer, addresses } = this.#receiver
    const { timeoutMs = tryMsMax } = this.#options
    const seconds = Math.floor(this.#options.clock.date() / 1000)
    const headers = {
      'content-type': 'application/cloudevents+json; charset=utf-8',
      'user-agent': 'mayfly',
      'webhook-id': id,
      'webhook-timestamp': String(seconds),
      'webhook-signature': signer.sign(id, seconds, body),
    }
    return post(body, { url, headers, addresses, timeoutMs, signal: this.#stop.signal })
  }

  #lose(run: string | null, because: string): void {
    const { host } = new URL(this.#receiver.url)
    this.#options.voice.say('webhook/lost', { host, because }, { run, actor: 'telemetry' })
  }
}

function isTaken(answer: Posted): boolean {
  return answer.kind === 'answered' && answer.status >= 200 && answer.status < 300
}

function whyNot(answer: Posted): string {
  return answer.kind === 'failed' ? answer.because : `it answered ${answer.status}`
}

function runOf({ body }: Claimed): string | null {
  const { subject } = parseJson(body) as { readonly subject?: string }
  return subject ?? null
}
