import type { Socket } from 'node:net'
import {
  connect,
  createSecureContext,
  rootCertificates,
  type SecureContext,
  type TLSSocket,
} from 'node:tls'
import { dial } from './dns.ts'
import { refused, type Refused } from './head.ts'
import { addressOf } from './host.ts'
import type { Entry } from './ledger.ts'
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
}

/**
 * Opens the way to where a request goes, if it may go there: rule, then name, then address, then the rule again, which
 * may have become narrower meanwhile. Each call is one line of the ledger, whatever came of it.
 */
export async function reach(request: EgressRequest, terms: Terms): Promise<Reached | Refused> {
  if (terms.ledger.isFull) return refused(tooMuch, 403)
  const verdict = decide(terms.network(), request)
  if (verdict.verdict === 'denied') return deny(request, verdict.because, terms)
  const asked = terms.ledger.ask(request, terms.caller)
  if (!asked) return refused(over, 403)
  const socket = await dial(request, terms)
  if (!terms.ledger.settle(asked)) {
    if (!('kind' in socket)) socket.destroy()
    return refused(over, 403)
  }
  if ('kind' in socket) return unreached(request, socket, terms)
  const again = decide(terms.network(), request)
  if (again.verdict === 'denied') {
    socket.destroy()
    return deny(request, again.because, terms)
  }
  const entry = terms.ledger.enter(request, again, terms.caller)
  entry.countOn(socket)
  return { kind: 'reached', socket, entry }
}

/** Writes down that a request was not let out. */
export function deny(request: EgressRequest, because: string, { ledger, caller }: Terms): Refused {
  ledger.enter(request, { verdict: 'denied', because }, caller)
  return refused(because, 403)
}

/** TLS to a host, which has to prove that it is that host. */
export function secured(
  socket: Socket,
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
      secure.off('error', fail)
      resolve(secure)
    })
  })
}

const handshakeMsMax = 10_000
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

function unreached(request: EgressRequest, why: Refused, { ledger, caller }: Terms): Refused {
  const verdict: Verdict['verdict'] = why.status === 403 ? 'denied' : 'allowed'
  ledger.enterOver(request, { verdict, because: why.because }, caller)
  return why
}
