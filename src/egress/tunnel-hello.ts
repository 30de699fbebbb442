import type { Duplex } from 'node:stream'
import { isHelloRetry, readClientHello, readSecondHello, type ClientHello } from './client-hello.ts'
import { addressOf, readHost } from './host.ts'
import { refused } from './http-head.ts'
import { readUntilParsed } from './streams.ts'

type ReadHello = typeof readClientHello

/** Reads the ClientHello of a tunnel to a host, and puts it back; a text is the reason to refuse it. */
export async function checkedHello(
  client: Duplex,
  host: string,
  read: ReadHello = readClientHello,
): Promise<ClientHello | string> {
  const parsed = await readUntilParsed(client, (bytes) => {
    const hello = read(bytes)
    return hello.kind === 'refused' ? refused(hello.because) : hello
  })
  if (!parsed) return 'its ClientHello is incomplete'
  if ('kind' in parsed) return parsed.because
  client.unshift(parsed.bytes)
  const { serverName } = parsed.value
  if (serverName === undefined ? addressOf(host) !== undefined : readHost(serverName) === host)
    return parsed.value
  return serverName === undefined
    ? 'its ClientHello names no server'
    : `its ClientHello names "${serverName}", its tunnel "${host}"`
}

/**
 * Forwards the ClientHello of an opaque tunnel, and a second one if its server asks for that, each once it is checked.
 * Other bytes of the guest wait for the first ones of the server: a second hello could be among them.
 */
export async function relayHellos(
  client: Duplex,
  host: string,
  reply: ServerReply,
  forward: (bytes: Buffer) => Promise<boolean>,
): Promise<string | undefined> {
  const first = await checkedHello(client, host)
  if (typeof first === 'string') return first
  if (!(await forward(client.read(first.size) as Buffer))) return undefined
  if (!(await reply.asksAgain)) return undefined
  const second = await checkedHello(client, host, readSecondHello)
  return typeof second === 'string' ? second : undefined
}

/** First bytes of a server, which tell whether its client sends a second hello. */
export class ServerReply {
  readonly #answer = Promise.withResolvers<boolean>()
  #bytes: Buffer | undefined = Buffer.alloc(0)

  /** True once the server has asked for a second hello; false once it has said anything else, or has ended. */
  get asksAgain(): Promise<boolean> {
    return this.#answer.promise
  }

  push(chunk: Buffer): void {
    if (!this.#bytes) return
    this.#bytes = Buffer.concat([this.#bytes, chunk])
    const asksAgain = isHelloRetry(this.#bytes)
    if (asksAgain === undefined) return
    this.#bytes = undefined
    this.#answer.resolve(asksAgain)
  }

  end(): void {
    this.#answer.resolve(false)
  }
}
