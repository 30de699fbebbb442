import type { Socket } from 'node:net'
import {
  connect,
  createSecureContext,
  rootCertificates,
  type SecureContext,
  type TLSSocket,
} from 'node:tls'
import { usedUp } from './budget.ts'
import { dial } from './dns.ts'
import type { Forwarding } from './upstream.ts'
import { refused, type Refused } from './head.ts'
import { addressOf } from './host.ts'
import type { Entry } from './entry.ts'
import { decide, type EgressRequest, type Verdict } from './rules.ts'
import type { Terms } from './terms.ts'

/** Why nothing goes out any more. */
export const over = 'the run is over'
export const tooMuch = 'this run has asked for too much already'

/** A way out that is open. */
export interface Reached {
  readonly kind: 'reached'
  /** As the outside sees it; its bytes are those that count. */
  readonly socket: Socket
  readonly entry: Entry
  /** A proxy reads what is said over it, and passes it on. */
  readonly forwarding?: Forwarding | undefined
}

/**
 * Opens the way to where a request goes, if it may go there: rule, then name, then address, then the rule again, which
 * may have become narrower meanwhile. Each call is one line of the ledger, whatever came of it. `opened` is told in the
 * moment in which the way is: nobody can tighten the network before there is something to cut.
 */
export async function reach(
  request: EgressRequest,
  terms: Terms,
  opened: (way: Reached) => void,
): Promise<Reached | Refused> {
  if (terms.ledger.isFull) return refused(tooMuch, 403)
  const verdict = decide(terms.network(), request)
  if (verdict.verdict === 'denied') return deny(request, verdict.because, terms)
  const asked = terms.ledger.ask(request, terms.caller, terms.stop)
  if (!asked) return refused(over, 403)
  const found = await dial(request, terms, asked.stop.signal)
  const isWanted = terms.ledger.settle(asked)
  const again = decide(terms.network(), request)
  const isOut = !isWanted || again.verdict === 'denied'
  if (isOut && found.kind === 'dialled') found.socket.destroy()
  if (!isWanted) return refused(over, 403)
  if (isOut) return deny(request, again.because, terms)
  if (found.kind === 'refused') return unreached(request, found, terms)
  const { socket, forwarding } = found
  const entry = terms.ledger.enter(request, again, terms.caller)
  entry.countOn(socket)
  const way = { kind: 'reached', socket, entry, forwarding } as const
  opened(way)
  return way
}

/** Gives up what is being opened and the network in force no longer lets out. */
export function withdraw({ ledger, network }: Terms): void {
  ledger.withdraw((request) => decide(network(), request).verdict === 'denied')
}

/** Why what is open may not go on, by what is in force now; undefined where it may. */
export function whyCut(request: EgressRequest, { ledger, network }: Terms): string | undefined {
  const { verdict, because } = decide(network(), request)
  if (verdict === 'denied') return because
  return ledger.overdrawn && usedUp(ledger.overdrawn)
}

/** Writes down that a request was not let out. */
export function deny(request: EgressRequest, because: string, { ledger, caller }: Terms): Refused {
  ledger.enter(request, { verdict: 'denied', because }, caller)
  return refused(because, 403)
}

/** Writes down that a request was let out by its rule and reached nobody: what its name has is forbidden, or failed. */
export function unreached(
  request: EgressRequest,
  why: Refused,
  { ledger, caller }: Terms,
): Refused {
  const verdict: Verdict['verdict'] = why.status === 403 ? 'denied' : 'allowed'
  ledger.enterOver(request, { verdict, because: why.because, detail: why.detail }, caller)
  return why
}

/** TLS to a host, which has to prove that it is that host; `handshakeBytesMax` have to be reserved for it. */
export function secured(
  { socket, entry }: Pick<Reached, 'socket' | 'entry'>,
  host: string,
  { trust = noneMore }: Terms,
): Promise<TLSSocket | Refused> {
  const address = addressOf(host)
  return new Promise((resolve) => {
    const secure = connect({
      socket,
      // Of an address the certificate is checked all the same, but it cannot be asked for by name.
      ...(address === undefined ? { servername: host } : { host: address }),
      secureContext: contextFor(trust),
      ALPNProtocols: ['http/1.1'],
    })
    const timer = setTimeout(() => secure.destroy(new Error('it took too long')), handshakeMsMax)
    const fail = (error: NodeJS.ErrnoException) => {
      clearTimeout(timer)
      secure.destroy()
      resolve(refused(`"${host}" cannot be trusted: ${error.code ?? error.message}`, 502))
    }
    secure.once('error', fail)
    secure.once('secureConnect', () => {
      clearTimeout(timer)
      entry.secureBy(secure)
      secure.off('error', fail)
      resolve(secure)
    })
  })
}

const handshakeMsMax = 10_000
/** A hello, a second one where the server wants another curve, and the end: 2,251 bytes were the most for a short name. */
export const handshakeBytesMax = 3 * 1024
const noneMore: readonly string[] = []
const contexts = new WeakMap<readonly string[], SecureContext>()

/** Reading the well-known authorities takes 15 ms, so it is done once. */
function contextFor(trust: readonly string[]): SecureContext {
  const known = contexts.get(trust)
  if (known) return known
  const ca = trust.length > 0 ? { ca: [...rootCertificates, ...trust] } : {}
  const context = createSecureContext({ ...ca, minVersion: 'TLSv1.2' })
  contexts.set(trust, context)
  return context
}
