import { promises as dns } from 'node:dns'
import { connect, type Socket } from 'node:net'
import { closedName } from '../contract/address.ts'
import { addressOf } from './host.ts'
import { refused, type Refused } from './head.ts'
import { privateReach, whyNotDialled } from './private.ts'
import type { EgressRequest } from './rules.ts'
import { isDirect, openTunnel, type Forwarding, type Upstream } from './upstream.ts'

/** The addresses of a name; rejects, or answers none, where there is none. Once told to stop it asks nobody again. */
export type Resolver = (name: string, stop: AbortSignal) => Promise<readonly string[]>

export interface DialOptions {
  readonly resolver?: Resolver
  /**
   * `address:port` that may be dialled though they are not public, exactly as written (`10.0.0.5:5432`,
   * `[fd00::5]:443`): given by whoever runs the server, never by a job.
   */
  readonly exceptions?: readonly string[]
  /** Places that may be private, as patterns: rules of whoever runs the server, never of a job. */
  readonly privateHosts?: readonly string[]
  /** Ports of this Mayfly, which nothing lets out to. */
  readonly ownPorts?: () => ReadonlySet<number>
  readonly timeoutMs?: number
  /** Left out, what is dialled is the host itself. */
  readonly upstream?: Upstream | undefined
}

export interface Dialled {
  readonly kind: 'dialled'
  readonly socket: Socket
  /** A proxy is at the other end, which reads requests. */
  readonly forwarding?: Forwarding
}

/** Aborted, it ends what is under way, and nothing more is tried. */
type Stop = AbortSignal | undefined

const addressesMax = 16
const triesMax = 4
const resolveMsMax = 5_000
const dialMsMax = 10_000

/**
 * Connects to a host. Every address that its name has must be one that may be dialled, and what is dialled is one of
 * the addresses that were looked at: nobody asks for the name a second time, so what it means cannot change between.
 */
export async function dial(
  to: EgressRequest,
  options: DialOptions = {},
  stop?: Stop,
): Promise<Dialled | Refused> {
  const { upstream } = options
  if (upstream && !isDirect(to, upstream)) return dialBy(upstream, to, options, stop)
  const found = await addressesFor(to, options, stop)
  if ('kind' in found) return found
  for (const address of found.slice(0, triesMax)) {
    if (stop?.aborted) break
    const socket = await connected(address, to.port, options.timeoutMs ?? dialMsMax, stop)
    if (socket) return { kind: 'dialled', socket }
  }
  if (stop?.aborted) return refused(givenUp, 502)
  return refused(`"${to.host}" does not answer on port ${to.port}`, 502)
}

/** The same by a proxy, which resolves names itself: of those only what they are called can be judged here. */
async function dialBy(
  upstream: Upstream,
  to: EgressRequest,
  options: DialOptions,
  stop: Stop,
): Promise<Dialled | Refused> {
  const why = whyNotBy(to, options)
  if (why) return why
  const { timeoutMs = dialMsMax } = options
  const socket = await connected(upstream.host, upstream.port, timeoutMs, stop)
  if (!socket)
    return refused(stop?.aborted ? givenUp : 'the proxy of this server does not answer', 502)
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
  return stop?.aborted ? refused(givenUp, 502) : refusal
}

function whyNotBy(to: EgressRequest, options: DialOptions): Refused | undefined {
  const { host, port } = to
  const address = addressOf(host)
  const name = address === undefined ? closedName(host) : undefined
  if (name !== undefined) return refused(`"${host}" is ${name}`, 403)
  const reach = privateReach(to, options.privateHosts ?? [])
  const why =
    address === undefined ? undefined : whyNotDialled(address, reach, { port, ...options })
  return address === undefined || why === undefined ? undefined : notPublic(host, address, why)
}

/** The addresses of a host that may all be dialled on this port. */
export async function addressesFor(
  to: EgressRequest,
  options: DialOptions,
  stop?: Stop,
): Promise<readonly string[] | Refused> {
  const { host, port } = to
  const { resolver = systemResolver, exceptions = [], timeoutMs = resolveMsMax } = options
  const literal = addressOf(host)
  const name = literal === undefined ? closedName(host) : undefined
  if (name !== undefined) return refused(`"${host}" is ${name}`, 403)
  const all = literal === undefined ? await resolved(host, resolver, timeoutMs, stop) : [literal]
  if (stop?.aborted) return refused(givenUp, 502)
  if (all.length === 0) return refused(`the name "${host}" has no address`, 502)
  if (all.length > addressesMax) return refused(`the name "${host}" has too many addresses`, 502)
  for (const address of all) {
    const written = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
    if (exceptions.includes(written)) continue
    const why = whyNotDialled(address, privateReach(to, options.privateHosts ?? []), {
      port,
      ...options,
    })
    if (why !== undefined) return notPublic(host, address, why)
  }
  return all
}

/** The same for each name that is refused: which of the reasons it was is not for the guest. */
const namedOn = ", which takes a rule of the operator's configuration"

/** Which address a name has inside is for whoever runs the server; a guest knows what it wrote itself. */
function notPublic(host: string, address: string, why: string): Refused {
  if (addressOf(host) !== undefined) return refused(`"${host}" is ${why}`, 403)
  const detail = `"${host}" is at "${address}", which is ${why}`
  return { ...refused(`"${host}" is not public${namedOn}`, 403), detail }
}

const givenUp = 'nobody waits for it any more'

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

/** Asks the configured servers themselves, not this machine's list of hosts. */
const systemResolver: Resolver = async (name, stop) => {
  const resolver = new dns.Resolver({ timeout: 2_000, tries: 2 })
  stop.addEventListener('abort', () => resolver.cancel())
  const answers = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)])
  return answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
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
