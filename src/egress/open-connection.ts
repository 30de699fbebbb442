import { constants } from 'node:crypto'
import type { Socket } from 'node:net'
import {
  connect,
  createSecureContext,
  rootCertificates,
  type SecureContext,
  type TLSSocket,
} from 'node:tls'
import { budgetExceeded } from './byte-budget.ts'
import { dialHost } from './dial.ts'
import type { UpstreamForwarding } from './upstream.ts'
import { refused, type EgressRefusal } from './http-head.ts'
import { addressOf } from './host.ts'
import type { LedgerEntry } from './ledger-entry.ts'
import { addressDenied, decide, type EgressRequest, type EgressDecision } from './rules.ts'
import { mayResolve, plantedSecret, type EgressTerms } from './egress-terms.ts'

export const runOver = 'the run is over'
export const ledgerFull = 'the run has reached its limit of connection attempts'

/** Open connection to the outside, with its ledger entry. */
export interface EgressConnection {
  readonly kind: 'reached'
  /** TCP socket; its bytes are the ones charged. */
  readonly socket: Socket
  readonly entry: LedgerEntry
  /** Address of the host; absent behind an upstream proxy. */
  readonly address?: string | undefined
  /** Set if the peer is an upstream proxy. */
  readonly forwarding?: UpstreamForwarding | undefined
}

/**
 * Opens a connection if permitted: checks the rule, the name and the address, and then the rule again (race: it may have
 * been tightened). Each call is one line of the ledger, whatever its result. `opened` is called synchronously with the
 * connection, so that no tightening can happen in between.
 */
export async function openConnection(
  request: EgressRequest,
  terms: EgressTerms,
  opened: (connection: EgressConnection) => void,
): Promise<EgressConnection | EgressRefusal> {
  if (terms.ledger.isFull) return refused(ledgerFull, 403)
  const verdict = decide(terms.network(), request)
  if (verdict.verdict === 'denied') return deny(request, verdict.because, terms)
  if (!mayResolve(request.host, terms)) return deny(request, plantedSecret, terms)
  const attempt = terms.ledger.beginAttempt(request, terms.caller, terms.stop)
  if (!attempt) return refused(runOver, 403)
  const found = await dialHost(request, terms, attempt.stop.signal)
  const isWanted = terms.ledger.endAttempt(attempt)
  const address = found.kind === 'dialled' ? found.address : undefined
  const again = decideConnected(request, terms, address)
  const isOut = !isWanted || again.verdict === 'denied'
  if (isOut && found.kind === 'dialled') found.socket.destroy()
  if (!isWanted) return refused(runOver, 403)
  if (isOut) return deny(request, again.because, terms)
  if (found.kind === 'refused') return recordUnreachable(request, found, terms)
  const { socket, forwarding } = found
  const entry = terms.ledger.record(request, again, terms.caller)
  entry.countOn(socket)
  const connection = { kind: 'reached', socket, entry, address, forwarding } as const
  opened(connection)
  return connection
}

/** Cancels pending attempts that the network in force no longer permits. */
export function cancelForbidden({ ledger, network }: EgressTerms): void {
  ledger.cancelAttempts((request) => decide(network(), request).verdict === 'denied')
}

/** Decision about a connection to this address: the network in force may deny the address since it was dialled. */
function decideConnected(
  request: EgressRequest,
  { network }: EgressTerms,
  address: string | undefined,
): EgressDecision {
  const decision = decide(network(), request)
  if (decision.verdict === 'denied' || address === undefined) return decision
  if (addressDenied(network(), request, address) === undefined) return decision
  return { verdict: 'denied', because: `"${request.host}" resolves to a denied address` }
}

/** Connection that may have to be cut. */
export interface LiveConnection extends Pick<EgressConnection, 'entry' | 'socket' | 'address'> {
  readonly request: EgressRequest
}

/** Reason to cut an open connection under the network in force; undefined if it remains permitted. */
export function whyCut(
  { request, address }: Pick<LiveConnection, 'request' | 'address'>,
  terms: EgressTerms,
): string | undefined {
  const { verdict, because } = decideConnected(request, terms, address)
  if (verdict === 'denied') return because
  const { ledger } = terms
  return ledger.overdrawn && budgetExceeded(ledger.overdrawn)
}

/** Records a denied request. */
export function deny(
  request: EgressRequest,
  because: string,
  { ledger, caller }: EgressTerms,
): EgressRefusal {
  ledger.record(request, { verdict: 'denied', because }, caller)
  return refused(because, 403)
}

/** Records a request that its rule permitted but whose address is forbidden or unreachable. */
export function recordUnreachable(
  request: EgressRequest,
  why: EgressRefusal,
  { ledger, caller }: EgressTerms,
): EgressRefusal {
  const verdict: EgressDecision['verdict'] = why.status === 403 ? 'denied' : 'allowed'
  ledger.recordFinished(request, { verdict, because: why.because, detail: why.detail }, caller)
  return why
}

/** Opens TLS and verifies the server's certificate; the caller has reserved `handshakeBytesMax`. */
export function openTls(
  { socket, entry }: Pick<EgressConnection, 'socket' | 'entry'>,
  host: string,
  { trust = noneMore }: EgressTerms,
): Promise<TLSSocket | EgressRefusal> {
  const address = addressOf(host)
  return new Promise((resolve) => {
    const secure = connect({
      socket,
      // SNI carries no addresses (RFC 6066, section 3); the certificate is verified all the same.
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
    // The socket below was destroyed on this side, by a cut for example: that is no error.
    const closed = () => fail(new Error('it was closed'))
    secure.once('error', fail)
    secure.once('close', closed)
    secure.once('secureConnect', () => {
      clearTimeout(timer)
      entry.secureBy(secure)
      secure.off('error', fail)
      secure.off('close', closed)
      resolve(secure)
    })
  })
}

const handshakeMsMax = 10_000
/** ClientHello, a second one after HelloRetryRequest, and Finished: at most 2,251 bytes measured for a short name. */
export const handshakeBytesMax = 3 * 1024
const noneMore: readonly string[] = []
const contexts = new WeakMap<readonly string[], SecureContext>()

/** Cached, since loading the root certificates takes 15 ms. */
function contextFor(trust: readonly string[]): SecureContext {
  const known = contexts.get(trust)
  if (known) return known
  const ca = trust.length > 0 ? { ca: [...rootCertificates, ...trust] } : {}
  // A server of TLS 1.2 could ask for handshakes without end, whose cost and bytes no limit of the run has.
  const secureOptions = constants.SSL_OP_NO_RENEGOTIATION
  const context = createSecureContext({ ...ca, minVersion: 'TLSv1.2', secureOptions })
  contexts.set(trust, context)
  return context
}
