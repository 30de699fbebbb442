import type { ServerResponse } from 'node:http'
import { MayflyError } from '../../contract/error.ts'
import type { Reading } from '../../telemetry/instrument.ts'
import { gauge } from '../../telemetry/meters.ts'
import type { ThreatRow } from '../../contract/answers.ts'
import type { Threats } from '../../telemetry/threats.ts'
import { eventStream } from './event-stream.ts'

const readersMax = 64
const readersOfKeyMax = 8
/** Output buffer of one reader; a slower reader is disconnected. */
const waitingBytesMax = 256 * 2 ** 10
const keepAliveMsUsual = 15_000

export interface ThreatSubscription {
  readonly key: string
  /** Checked at every keep-alive, so that a revoked key stops receiving threats. */
  readonly isStillAllowed: () => boolean
  /** Undefined: every tenant. */
  readonly tenant: string | undefined
  /** Sequence number of the last threat read; undefined: new ones only. */
  readonly after: number | undefined
}

/** Subscribers of the threat stream: limits their number, and ends them when the server drains. */
export class ThreatReaders {
  readonly #threats: Threats
  readonly #keepAliveMs: number
  readonly #live = new Map<ServerResponse, string>()
  #dropped = 0

  constructor(threats: Threats, keepAliveMs = keepAliveMsUsual) {
    this.#threats = threats
    this.#keepAliveMs = keepAliveMs
  }

  /** Throws MayflyError OVERLOADED or RATE_LIMITED. */
  add(outgoing: ServerResponse, { key, isStillAllowed, tenant, after }: ThreatSubscription): void {
    this.#refuseTooMany(key)
    this.#live.set(outgoing, key)
    outgoing.writeHead(200, eventStream)
    outgoing.write(': threats\n\n')
    const send = (threat: ThreatRow): void => {
      if (tenant === undefined || threat.tenant === tenant) this.#send(outgoing, frameOf(threat))
    }
    if (after !== undefined) for (const one of this.#threats.after(after)) send(one)
    const leave = this.#threats.listen(send)
    const timer = setInterval(() => {
      if (isStillAllowed()) this.#send(outgoing, ': quiet\n\n')
      else outgoing.end()
    }, this.#keepAliveMs)
    outgoing.once('close', () => {
      clearInterval(timer)
      leave()
      this.#live.delete(outgoing)
    })
  }

  /** Ends every stream; a drain would otherwise wait for them forever. */
  end(): void {
    for (const outgoing of this.#live.keys()) outgoing.end()
  }

  readings(): readonly Reading[] {
    return [
      gauge(
        'mayfly.threat.readers',
        'Readers of the stream of threats',
        '{reader}',
        this.#live.size,
      ),
      {
        name: 'mayfly.threat.readers.dropped',
        description: 'Readers of the stream of threats that were too slow',
        unit: '{reader}',
        kind: 'counter',
        series: [{ labels: {}, value: this.#dropped }],
      },
    ]
  }

  #refuseTooMany(key: string): void {
    const own = [...this.#live.values()].filter((one) => one === key).length
    if (own >= readersOfKeyMax)
      throw new MayflyError(
        'RATE_LIMITED',
        'Cannot open another threat stream: this key has too many',
        {
          retryAfterMs: 5000,
        },
      )
    if (this.#live.size >= readersMax)
      throw new MayflyError('OVERLOADED', 'Cannot open another threat stream now: all are in use', {
        retryAfterMs: 5000,
      })
  }

  #send(outgoing: ServerResponse, text: string): void {
    if (outgoing.destroyed || outgoing.writableEnded) return
    if (outgoing.writableLength + text.length > waitingBytesMax) {
      this.#dropped += 1
      outgoing.destroy()
      return
    }
    outgoing.write(text)
  }
}

/** JSON escapes line breaks, so no field can inject an SSE frame. */
function frameOf(threat: ThreatRow): string {
  return `id: ${threat.seq}\nevent: threat\ndata: ${JSON.stringify(threat)}\n\n`
}
