import type { IncomingMessage, Server } from 'node:http'
import { BlockList, isIP } from 'node:net'
import { addressGroup } from './rate-limit.ts'

/**
 * The address a request comes from, also behind reverse proxies.
 *
 * Problem: behind a proxy every client has the proxy's address, so that all visitors share the quotas of one. The header
 * `X-Forwarded-For` names the client, but anybody can send it.
 *
 * Mechanism: the header counts only where the peer is a proxy that the configuration names. Each proxy appends the address of
 * its own peer, so the header is read from the right, and the first address that is no such proxy is the client's: what
 * stands further to the left is the client's own word.
 *
 * Not handled: the header `Forwarded` of RFC 7239, and proxies that pass the header on without appending to it.
 */
export function rememberClients(server: Server, proxies: readonly string[]): void {
  if (proxies.length === 0) return
  const trusted = proxyList(proxies)
  const note = (incoming: IncomingMessage) => clients.set(incoming, clientOf(incoming, trusted))
  for (const event of ['request', 'checkContinue', 'upgrade']) server.prependListener(event, note)
}

/** Rate limit key of the client's address: see {@link addressGroup}. */
export function clientGroup(incoming: Pick<IncomingMessage, 'socket'>): string {
  return addressGroup(clients.get(incoming) ?? incoming.socket.remoteAddress)
}

const clients = new WeakMap<object, string>()
/** A chain of proxies is short; a longer list is its client's own doing. */
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

/** The last address that is known for certain: an unreadable entry leaves that of the proxy which passed it on. */
function clientOf({ socket, headers }: IncomingMessage, trusted: BlockList): string {
  const hops = String(headers['x-forwarded-for'] ?? '').split(',')
  let client = socket.remoteAddress ?? ''
  for (let hop = 0; hop < HOPS_MAX && isTrusted(client, trusted); hop++) {
    const before = addressIn(hops.pop()?.trim() ?? '')
    if (before === undefined) break
    client = before
  }
  return client
}

function isTrusted(address: string, trusted: BlockList): boolean {
  const family = isIP(address)
  return family !== 0 && trusted.check(address, family === 4 ? 'ipv4' : 'ipv6')
}

/** Some proxies write a port behind the address. */
function addressIn(entry: string): string | undefined {
  const written = /^\[([^\]]+)\](?::\d{1,5})?$/.exec(entry)?.[1] ?? entry
  const address = isIP(written) ? written : /^([\d.]+):\d{1,5}$/.exec(written)?.[1]
  return address !== undefined && isIP(address) ? address : undefined
}
