import { type AnomalySeverity, isAtLeast } from '../../contract/anomaly.ts'
import type { Clock, Timer } from '../../contract/clock.ts'
import type { Emitter } from '../../contract/event.ts'
import { newId } from '../../lib/id.ts'
import { cloudEventOf, type AnomalyNotice } from './cloud-event.ts'
import { type ResolveAddresses, post, type PostResult } from './post.ts'
import { type DeliveryQueue, type LeasedDelivery, waitMsMax } from './queue.ts'
import type { WebhookSigner } from './sign.ts'
import { parseJson } from '../../lib/parse-json.ts'

export interface WebhookReceiver {
  readonly url: string
  readonly from: AnomalySeverity
  readonly signer: WebhookSigner
  readonly addresses: ResolveAddresses
}

export interface WebhookOptions {
  readonly receivers: readonly WebhookReceiver[]
  readonly queue: DeliveryQueue
  readonly clock: Clock
  readonly emitter: Emitter
  /** Random number in [0, 1). */
  readonly chance?: () => number
  /** Milliseconds per attempt. */
  readonly timeoutMs?: number
}

/** Notifies receivers of anomalies: queued on disk, signed, retried with back-off up to `triesMax`. */
export interface Webhooks {
  /** Never blocks and never throws; a notification that cannot be queued is dropped with an event. */
  enqueue(notice: AnomalyNotice): void
  /** Stops sending, within seconds; queued deliveries continue after the next start. */
  close(): Promise<void>
}

export const triesMax = 10
const firstWaitMs = 1000
const tryMsMax = 10_000
const closeMsMax = 2000
/** Poll interval of an empty queue: another process may have died with a lease. */
const idleMs = 60_000

export function createWebhooks(options: WebhookOptions): Webhooks {
  const senders = options.receivers.map((receiver) => new ReceiverSender(receiver, options))
  return {
    enqueue: (notice) => senders.forEach((sender) => sender.enqueue(notice)),
    async close() {
      await Promise.all(senders.map((sender) => sender.close()))
    },
  }
}

/** Exponential back-off with up to 50 % jitter; a longer Retry-After wins, up to `waitMsMax`. */
export function backoffMs(tries: number, retryAfterMs: number, chance: number): number {
  const doubled = Math.min(waitMsMax, firstWaitMs * 2 ** Math.min(tries - 1, 20))
  return Math.max(Math.min(retryAfterMs, waitMsMax), doubled * (1 - chance / 2))
}

/** Sends to one receiver, one delivery at a time: a slow receiver delays its own deliveries only. */
class ReceiverSender {
  readonly #receiver: WebhookReceiver
  readonly #options: WebhookOptions
  readonly #stop = new AbortController()
  #timer: Timer | undefined
  /** Tenant of the last delivery. */
  #last = ''
  #working: Promise<void> | undefined
  #isClosing = false
  /** True if a delivery was queued after the queue was last seen without a due one. */
  #hasNew = false
  /** True from the first failed attempt to the next accepted one. */
  #isFailing = false

  constructor(receiver: WebhookReceiver, options: WebhookOptions) {
    this.#receiver = receiver
    this.#options = options
    this.#wait(0)
  }

  enqueue(notice: AnomalyNotice): void {
    if (!isAtLeast(notice.anomaly.severity, this.#receiver.from)) return
    const { queue, clock } = this.#options
    const date = clock.date()
    const id = newId('msg', date)
    const body = cloudEventOf(notice, id, date)
    try {
      const { url } = this.#receiver
      const isPut = queue.put({ id, url, tenant: notice.tenant, body, due: date })
      if (isPut) this.#hasNew = true
      else this.#lose(notice.run, 'the queue is full')
    } catch {
      this.#lose(notice.run, 'the queue cannot be written')
    }
    this.#wait(0)
  }

  /** Sends new deliveries: there may be no next start, as of a single command. Old ones wait for it, and so do failed ones. */
  async close(): Promise<void> {
    this.#isClosing = true
    this.#timer?.cancel()
    const late = this.#options.clock.after(closeMsMax, () => this.#stop.abort())
    if (this.#hasNew) this.#startWork()
    await this.#working
    late.cancel()
    this.#stop.abort()
  }

  #wait(ms: number): void {
    if (this.#isClosing) return
    this.#timer?.cancel()
    this.#timer = this.#options.clock.after(ms, () => this.#startWork())
    this.#timer.unref?.()
  }

  #startWork(): void {
    this.#working ??= this.#work().finally(() => (this.#working = undefined))
  }

  /** Sends everything due, then sleeps until the next due time. */
  async #work(): Promise<void> {
    const { queue, clock } = this.#options
    const { url } = this.#receiver
    let wait = idleMs
    try {
      while (!this.#stop.signal.aborted && (!this.#isClosing || this.#hasNew)) {
        const delivery = queue.claim(url, clock.date(), this.#last)
        if (!delivery) {
          this.#hasNew = false
          break
        }
        this.#last = delivery.tenant
        await this.#deliver(delivery)
      }
      wait = (queue.nextDue(url) ?? Infinity) - clock.date()
    } catch {
      // Disk error: the queue is read again later.
    }
    this.#wait(Math.min(idleMs, Math.max(0, wait)))
  }

  async #deliver(delivery: LeasedDelivery): Promise<void> {
    const { queue, clock, chance = Math.random } = this.#options
    const answer = await this.#post(delivery)
    if (isAccepted(answer)) {
      this.#isFailing = false
      return queue.remove(delivery.id)
    }
    if (this.#stop.signal.aborted) return queue.postpone(delivery.id, clock.date())
    const isGone = answer.kind === 'answered' && answer.status === 410
    if (isGone || delivery.tries >= triesMax) {
      this.#lose(runOf(delivery), failureOf(answer))
      return queue.remove(delivery.id)
    }
    if (!this.#isFailing) this.#tell('webhook/failed', runOf(delivery), failureOf(answer))
    this.#isFailing = true
    const after = answer.kind === 'answered' ? answer.retryAfterMs : 0
    queue.postpone(delivery.id, clock.date() + backoffMs(delivery.tries, after, chance()))
  }

  #post({ id, body }: LeasedDelivery): Promise<PostResult> {
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
    this.#tell('webhook/lost', run, because)
  }

  #tell(point: 'webhook/failed' | 'webhook/lost', run: string | null, because: string): void {
    const { host } = new URL(this.#receiver.url)
    this.#options.emitter.emit(point, { host, because }, { run, actor: 'telemetry' })
  }
}

function isAccepted(answer: PostResult): boolean {
  return answer.kind === 'answered' && answer.status >= 200 && answer.status < 300
}

function failureOf(answer: PostResult): string {
  return answer.kind === 'failed' ? answer.because : `it answered ${answer.status}`
}

function runOf({ body }: LeasedDelivery): string | null {
  const { subject } = parseJson(body) as { readonly subject?: string }
  return subject ?? null
}
