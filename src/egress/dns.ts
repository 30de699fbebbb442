import { promises as dns } from 'node:dns'
import { connect, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { closedAddress, closedName } from './address.ts'
import { addressOf } from './host.ts'
import { refused, type Refused } from './head.ts'

/** The addresses of a name; rejects, or answers none, where there is none. Once told to stop it asks nobody again. */
export type Resolver = (name: string, stop: AbortSignal) => Promise<readonly string[]>

export interface DialOptions {
  readonly resolver?: Resolver
  /**
   * `address:port` that may be dialled though they are not public, exactly as written (`10.0.0.5:5432`,
   * `[fd00::5]:443`): given by whoever runs the server, never by a job.
   */
  readonly exceptions?: readonly string[]
  readonly timeoutMs?: number
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
  to: { readonly host: string; readonly port: number },
  options: DialOptions = {},
  stop?: Stop,
): Promise<Socket | Refused> {
  const found = await addressesFor(to, options, stop)
  if ('kind' in found) return found
  for (const address of found.slice(0, triesMax)) {
    if (stop?.aborted) break
    const socket = await connected(address, to.port, options.timeoutMs ?? dialMsMax, stop)
    if (socket) return socket
  }
  if (stop?.aborted) return refused(givenUp, 502)
  return refused(`"${to.host}" does not answer on port ${to.port}`, 502)
}

/** The addresses of a host that may all be dialled on this port. */
export async function addressesFor(
  { host, port }: { readonly host: string; readonly port: number },
  { resolver = systemResolver, exceptions = [], timeoutMs = resolveMsMax }: DialOptions,
  stop?: Stop,
): Promise<readonly string[] | Refused> {
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
    const why = closedAddress(address) ?? ownAddress(address)
    if (why !== undefined) return notPublic(host, address, why)
  }
  return all
}

/** Which address a name has inside is for whoever runs the server; a guest knows what it wrote itself. */
function notPublic(host: string, address: string, why: string): Refused {
  if (addressOf(host) !== undefined) return refused(`"${host}" is ${why}`, 403)
  const detail = `"${host}" is at "${address}", which is ${why}`
  return { ...refused(`"${host}" is not public`, 403), detail }
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

/** Its services trust what comes from itself, also where its address is a public one. */
function ownAddress(address: string): string | undefined {
  const own = Object.values(networkInterfaces()).flatMap((all) => all ?? [])
  return own.some((one) => one.address === address) ? 'an address of this machine' : undefined
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
