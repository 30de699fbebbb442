import { promises as dns } from 'node:dns'
import { connect, isIPv6, type Socket } from 'node:net'
import { translatedAddress } from '../contract/address.ts'
import { addressOf } from './host.ts'
import { refused, type EgressRefusal } from './http-head.ts'
import { translatorName, translatorPrefixes } from './network-translator.ts'
import {
  addressesOfMachine,
  privateReach,
  whyNotDialled,
  whyNotNamed,
} from './private-addresses.ts'
import type { NetworkControl } from '../contract/controls.ts'
import { addressDenied, type EgressRequest } from './rules.ts'
import { bypassesUpstream, openTunnel, type UpstreamForwarding, type Upstream } from './upstream.ts'

/**
 * Resolves a name to addresses; rejects or returns an empty list if there are none. After abort it sends no further
 * query.
 */
export type Resolver = (name: string, stop: AbortSignal) => Promise<readonly string[]>

export interface DialOptions {
  readonly resolver?: Resolver
  /**
   * `address:port` pairs that may be dialled although not public, exactly as written (`10.0.0.5:5432`,
   * `[fd00::5]:443`). Set by the operator, never by a job.
   */
  readonly exceptions?: readonly string[]
  /** Host patterns that may resolve to private addresses: rules of the operator, never of a job. */
  readonly privateHosts?: readonly string[]
  /** Network in force: its deny rules for addresses count for names that resolve to them. */
  readonly network?: () => NetworkControl
  /** Listening ports of this Mayfly, never dialled. */
  readonly ownPorts?: () => ReadonlySet<number>
  readonly timeoutMs?: number
  /** Without it connections are direct. */
  readonly upstream?: Upstream | undefined
}

export interface DialedSocket {
  readonly kind: 'dialled'
  readonly socket: Socket
  /** Absent behind an upstream proxy. */
  readonly address?: string
  /** Set if the peer is a proxy that expects absolute-form requests. */
  readonly forwarding?: UpstreamForwarding
}

/** Abort signal that cancels the attempt and all retries. */
type Stop = AbortSignal | undefined

/** A registry of packages has 24, in two families. All are checked, so the limit is for a hostile zone. */
const addressesMax = 64
const triesMax = 8
/** Limit of all tries together, in times of one. */
const tryTimesMax = 4
const resolveMsMax = 5_000
const dialMsMax = 10_000

/**
 * Resolves and connects to a host, safe against DNS rebinding.
 *
 * Problem: a public name can resolve to a private address, or change its address between check and connect (TOCTOU).
 *
 * Mechanism: a name is resolved once, by the configured DNS servers and not by /etc/hosts; all its addresses must be
 * permitted, and the connection is made to one of the checked addresses. Both families are tried in turn, so that a host
 * without one of them reaches the other (RFC 8305, section 4). Bounds: addresses, tries, resolve time and connect time.
 *
 * Not handled: behind an upstream proxy names are resolved there, so only names and literal addresses can be checked
 * here.
 */
export async function dialHost(
  to: EgressRequest,
  options: DialOptions = {},
  stop?: Stop,
): Promise<DialedSocket | EgressRefusal> {
  const { upstream } = options
  if (upstream && !bypassesUpstream(to, upstream)) return dialBy(upstream, to, options, stop)
  const found = await addressesFor(to, options, stop)
  if ('kind' in found) return found
  const { timeoutMs = dialMsMax } = options
  const until = performance.now() + tryTimesMax * timeoutMs
  for (const address of familiesInTurn(found).slice(0, triesMax)) {
    const leftMs = Math.min(timeoutMs, until - performance.now())
    if (stop?.aborted || leftMs <= 0) break
    const socket = await connected(address, to.port, leftMs, stop)
    if (socket) return { kind: 'dialled', socket, address }
  }
  if (stop?.aborted) return refused(cancelled, 502)
  return refused(`"${to.host}" does not answer on port ${to.port}`, 502)
}

/** Addresses in their order, IPv4 and IPv6 in turn. */
function familiesInTurn(all: readonly string[]): readonly string[] {
  const six = all.filter((address) => isIPv6(address))
  const four = all.filter((address) => !isIPv6(address))
  const pairs = four.flatMap((address, at) => [address, ...six.slice(at, at + 1)])
  return [...pairs, ...six.slice(four.length)]
}

/** Connects through the upstream proxy. */
async function dialBy(
  upstream: Upstream,
  to: EgressRequest,
  options: DialOptions,
  stop: Stop,
): Promise<DialedSocket | EgressRefusal> {
  const why = whyNotBy(to, options)
  if (why) return why
  const { timeoutMs = dialMsMax } = options
  const socket = await connected(upstream.host, upstream.port, timeoutMs, stop)
  if (!socket)
    return refused(stop?.aborted ? cancelled : 'the upstream proxy does not respond', 502)
  socket.on('error', () => socket.destroy())
  const { credentials } = upstream
  if (to.scheme === 'http') return { kind: 'dialled', socket, forwarding: { credentials } }
  const end = () => void socket.destroy()
  const timer = setTimeout(end, timeoutMs)
  stop?.addEventListener('abort', end)
  const refusal = await openTunnel(socket, to, upstream)
  clearTimeout(timer)
  stop?.removeEventListener('abort', end)
  if (!refusal) return { kind: 'dialled', socket }
  socket.destroy()
  return stop?.aborted ? refused(cancelled, 502) : refusal
}

function whyNotBy(to: EgressRequest, options: DialOptions): EgressRefusal | undefined {
  const { host, port } = to
  const name = whyNotNamed(host)
  if (name !== undefined) return refused(name, 403)
  const address = addressOf(host)
  if (address === undefined) return undefined
  const reach = privateReach(to, options.privateHosts ?? [])
  const why = whyNotDialled(address, reach, { port, ...options })
  return why === undefined ? undefined : refuseNotPublic(host, address, why)
}

/** Addresses of a host, if all of them may be dialled on this port. */
export async function addressesFor(
  to: EgressRequest,
  options: DialOptions,
  stop?: Stop,
): Promise<readonly string[] | EgressRefusal> {
  const { host } = to
  const { resolver = systemResolver, timeoutMs = resolveMsMax } = options
  const name = whyNotNamed(host)
  if (name !== undefined) return refused(name, 403)
  const literal = addressOf(host)
  const all = literal === undefined ? await resolved(host, resolver, timeoutMs, stop) : [literal]
  if (stop?.aborted) return refused(cancelled, 502)
  if (all.length === 0) return refused(`the name "${host}" has no address`, 502)
  if (all.length > addressesMax)
    return refused(`the name "${host}" has more than ${addressesMax} addresses`, 502)
  const why = firstRefusal(to, all, options)
  if (why || !all.some((address) => isIPv6(address))) return why ?? all
  // Without the signal of this connection: others share the look-up, and would be told that it had no answer.
  const lookUp = (own: string) => resolved(own, resolver, timeoutMs, undefined)
  const prefixes = await untilAborted(translatorPrefixes(lookUp, resolver), stop)
  if (!prefixes) return refused(cancelled, 502)
  const forms = all.flatMap((address) => translatedAddress(address, prefixes) ?? [])
  return firstRefusal(to, forms, options) ?? all
}

function firstRefusal(
  to: EgressRequest,
  addresses: readonly string[],
  options: DialOptions,
): EgressRefusal | undefined {
  const { host, port } = to
  const reach = privateReach(to, options.privateHosts ?? [])
  const ownAddresses = addressesOfMachine()
  for (const address of addresses) {
    const written = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
    const denied = options.network && addressDenied(options.network(), to, address)
    if (denied !== undefined) return refuseDenied(host, address, denied)
    if (options.exceptions?.includes(written)) continue
    const why = whyNotDialled(address, reach, { port, ownAddresses, ...options })
    if (why !== undefined) return refuseNotPublic(host, address, why)
  }
  return undefined
}

/** Same text for every refused name: the guest must not learn which kind of address it has. */
const namedOn = ", which takes a rule of the operator's configuration"

/** The address of a name is reported to the operator only. */
function refuseDenied(host: string, address: string, why: string): EgressRefusal {
  const detail = `"${host}" is at "${address}", which is ${why}`
  return { ...refused(`"${host}" resolves to a denied address`, 403), detail }
}

/** Internal addresses of names are reported to the operator only; a literal address is already known to the guest. */
function refuseNotPublic(host: string, address: string, why: string): EgressRefusal {
  if (addressOf(host) !== undefined) return refused(`"${host}" is ${why}`, 403)
  const detail = `"${host}" is at "${address}", which is ${why}`
  return { ...refused(`"${host}" is not public${namedOn}`, 403), detail }
}

const cancelled = 'the request was cancelled'

/** Result of some work, or undefined at the abort. */
async function untilAborted<T>(work: Promise<T>, stop: Stop): Promise<T | undefined> {
  const { promise, resolve } = Promise.withResolvers<undefined>()
  const end = () => resolve(undefined)
  stop?.addEventListener('abort', end)
  try {
    return await Promise.race([work, promise])
  } finally {
    stop?.removeEventListener('abort', end)
  }
}

async function resolved(
  host: string,
  resolver: Resolver,
  timeoutMs: number,
  stop: Stop,
): Promise<readonly string[]> {
  const late = new AbortController()
  const none = Promise.withResolvers<readonly string[]>()
  const end = () => (late.abort(), none.resolve([]))
  const timer = setTimeout(end, timeoutMs)
  stop?.addEventListener('abort', end)
  try {
    if (stop?.aborted) return []
    return await Promise.race([resolver(host, late.signal), none.promise])
  } catch {
    return []
  } finally {
    clearTimeout(timer)
    stop?.removeEventListener('abort', end)
  }
}

/** Queries the configured DNS servers, not the hosts file. */
const systemResolver: Resolver = async (name, stop) => {
  const resolver = new dns.Resolver({ timeout: 2_000, tries: 2 })
  stop.addEventListener('abort', () => resolver.cancel())
  const halves = [resolver.resolve4(name), resolver.resolve6(name)]
  return addressesIn(name, await Promise.allSettled(halves))
}

/** Codes of c-ares for a name without addresses of that kind; others tell that the servers did not answer. */
const noneCodes = ['ENODATA', 'ENOTFOUND']

/**
 * Addresses of both kinds, or of the one that was answered. Throws for half an answer about the prefix of the network's
 * NAT64: it would be taken to mean that there is none.
 */
export function addressesIn(
  name: string,
  halves: readonly PromiseSettledResult<readonly string[]>[],
): readonly string[] {
  for (const half of halves)
    if (
      name === translatorName &&
      half.status === 'rejected' &&
      !noneCodes.includes(half.reason?.code)
    )
      throw half.reason
  return halves.flatMap((half) => (half.status === 'fulfilled' ? half.value : []))
}

function connected(
  address: string,
  port: number,
  timeoutMs: number,
  stop: Stop,
): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port, autoSelectFamily: false, noDelay: true })
    const fail = () => done(undefined)
    const timer = setTimeout(fail, timeoutMs)
    stop?.addEventListener('abort', fail)
    const done = (open: Socket | undefined) => {
      clearTimeout(timer)
      stop?.removeEventListener('abort', fail)
      if (!open) socket.destroy()
      else socket.off('error', fail)
      resolve(open)
    }
    socket.once('error', fail)
    socket.once('connect', () => done(socket))
  })
}
