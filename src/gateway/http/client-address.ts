import type { IncomingMessage, Server } from 'node:http'
import { BlockList, isIP } from 'node:net'
import type { ProxyHeader } from '../../contract/config.ts'
import { lastForwarded, type LastElement } from './forwarded.ts'
import { addressGroup } from './rate-limit.ts'

/**
 * Client address of a request, also behind reverse proxies.
 *
 * Problem: behind a proxy every connection has the proxy's address, so that all visitors share one quota. The header
 * `X-Forwarded-For`, or `Forwarded` of RFC 7239, names the client, but any client can send it.
 *
 * Mechanism: only the configured header is read, and only if the peer is a configured proxy: a proxy
 * that writes one of the headers may forward the other unchanged. Each proxy appends the address of its own peer, so the header is
 * read from the right, and the first address that is not a configured proxy is the client's. Entries further to the left are
 * claims of the client (untrusted).
 *
 * Not handled: proxies that pass the header on without appending to it.
 */
export function rememberClients(server: Server, proxies: readonly string[], by: ProxyHeader): void {
  if (proxies.length === 0) return
  const trusted = proxyList(proxies)
  const note = (incoming: IncomingMessage) => clients.set(incoming, clientOf(incoming, trusted, by))
  for (const event of ['request', 'checkContinue', 'upgrade']) server.prependListener(event, note)
}

/** Address of the client, as far as configured proxies name it. */
export function clientAddress(incoming: Pick<IncomingMessage, 'socket'>): string {
  return clients.get(incoming) ?? incoming.socket.remoteAddress ?? ''
}

/** Rate limit key of the client's address: see {@link addressGroup}. */
export function clientGroup(incoming: Pick<IncomingMessage, 'socket'>): string {
  return addressGroup(clientAddress(incoming) || undefined)
}

const clients = new WeakMap<object, string>()
/** Maximum length of a chain of proxies; further entries were written by the client. */
const HOPS_MAX = 16

function proxyList(proxies: readonly string[]): BlockList {
  const list = new BlockList()
  for (const proxy of proxies) {
    const [address = '', bits] = proxy.split('/')
    const family = isIP(address) === 4 ? 'ipv4' : 'ipv6'
    if (bits === undefined) list.addAddress(address, family)
    else list.addSubnet(address, Number(bits), family)
  }
  return list
}

/** Last verified address: at an unreadable entry, the address of the proxy that forwarded it. */
function clientOf(
  { socket, headers }: IncomingMessage,
  trusted: BlockList,
  by: ProxyHeader,
): string {
  let rest = String(headers[by] ?? '')
  let client = socket.remoteAddress ?? ''
  for (let hop = 0; hop < HOPS_MAX && isTrusted(client, trusted); hop++) {
    const last = by === 'forwarded' ? lastForwarded(rest) : lastListed(rest)
    const before = addressIn(last.from ?? '')
    if (before === undefined) break
    client = before
    rest = last.rest
  }
  return client
}

function lastListed(text: string): LastElement {
  const comma = text.lastIndexOf(',')
  return { rest: text.slice(0, Math.max(0, comma)), from: text.slice(comma + 1).trim() }
}

function isTrusted(address: string, trusted: BlockList): boolean {
  const family = isIP(address)
  return family !== 0 && trusted.check(address, family === 4 ? 'ipv4' : 'ipv6')
}

/** Address of an entry, to which some proxies append a port. */
function addressIn(entry: string): string | undefined {
  const written = /^\[([^\]]+)\](?::\d{1,5})?$/.exec(entry)?.[1] ?? entry
  const address = isIP(written) ? written : /^([\d.]+):\d{1,5}$/.exec(written)?.[1]
  return address !== undefined && isIP(address) ? address : undefined
}
