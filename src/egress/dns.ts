import { promises as dns } from 'node:dns'
import { connect, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { closedAddress, closedName } from './address.ts'
import { addressOf } from './host.ts'
import { refused, type Refused } from './head.ts'

/** The addresses of a name; rejects, or answers none, where there is none. */
export type Resolver = (name: string) => Promise<readonly string[]>

export interface DialOptions {
  readonly resolver?: Resolver
  /**
   * `address:port` that may be dialled though they are not public, exactly as written (`10.0.0.5:5432`,
   * `[fd00::5]:443`): given by whoever runs the server, never by a job.
   */
  readonly exceptions?: readonly string[]
  readonly timeoutMs?: number
}

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
): Promise<Socket | Refused> {
  const found = await addressesFor(to, options)
  if ('kind' in found) return found
  for (const address of found.slice(0, triesMax)) {
    const socket = await connected(address, to.port, options.timeoutMs ?? dialMsMax)
    if (socket) return socket
  }
  return refused(`"${to.host}" does not answer on port ${to.port}`, 502)
}

/** The addresses of a host that may all be dialled on this port. */
export async function addressesFor(
  { host, port }: { readonly host: string; readonly port: number },
  { resolver = systemResolver, exceptions = [], timeoutMs = resolveMsMax }: DialOptions,
): Promise<readonly string[] | Refused> {
  const literal = addressOf(host)
  const name = literal === undefined ? closedName(host) : undefined
  if (name !== undefined) return refused(`"${host}" is ${name}`, 403)
  const all = literal === undefined ? await resolved(host, resolver, timeoutMs) : [literal]
  if (all.length === 0) return refused(`the name "${host}" has no address`, 502)
  if (all.length > addressesMax) return refused(`the name "${host}" has too many addresses`, 502)
  for (const address of all) {
    const written = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
    const why = exceptions.includes(written)
      ? undefined
      : (closedAddress(address) ?? ownAddress(address))
    if (why !== undefined) return refused(`"${host}" is at "${address}", which is ${why}`, 403)
  }
  return all
}

async function resolved(
  host: string,
  resolver: Resolver,
  timeoutMs: number,
): Promise<readonly string[]> {
  const late = Promise.withResolvers<readonly string[]>()
  const timer = setTimeout(() => late.resolve([]), timeoutMs)
  try {
    return await Promise.race([resolver(host), late.promise])
  } catch {
    return []
  } finally {
    clearTimeout(timer)
  }
}

/** Asks the configured servers themselves, not this machine's list of hosts. */
const systemResolver: Resolver = async (name) => {
  const resolver = new dns.Resolver({ timeout: 2_000, tries: 2 })
  const answers = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)])
  return answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
}

/** Its services trust what comes from itself, also where its address is a public one. */
function ownAddress(address: string): string | undefined {
  const own = Object.values(networkInterfaces()).flatMap((all) => all ?? [])
  return own.some((one) => one.address === address) ? 'an address of this machine' : undefined
}

function connected(address: string, port: number, timeoutMs: number): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port, autoSelectFamily: false, noDelay: true })
    const timer = setTimeout(() => done(undefined), timeoutMs)
    const fail = () => done(undefined)
    const done = (open: Socket | undefined) => {
      clearTimeout(timer)
      if (!open) socket.destroy()
      else socket.off('error', fail)
      resolve(open)
    }
    socket.once('error', fail)
    socket.once('connect', () => done(socket))
  })
}
