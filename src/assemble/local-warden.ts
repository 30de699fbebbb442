import { Client, type WardenClient } from '../walls/client.ts'
import { openEarly, type EarlyWarden } from '../warden/early.ts'
import type { Request } from '../contract/warden-request.ts'
import type { WardenOptions } from '../contract/warden-options.ts'

/** A warden in this process: for a single run by an ordinary user, and for tests. */
export function holdWarden(options: WardenOptions): WardenClient {
  return holdEarly(openEarly(options))
}

export function holdEarly({ warden, listen }: EarlyWarden): WardenClient {
  const client = new Client(
    (request) => void answer(request),
    () => warden.close(),
  )
  listen((reply) => client.receive(reply))
  return client

  /** Delivers sockets and answer in the order of an IPC channel. */
  async function answer(request: Request): Promise<void> {
    const { reply, handover } = await warden.answer(request)
    for (const part of ['stdout', 'stderr'] as const)
      if (handover?.streams) client.receive({ of: request.id, part }, handover.streams[part])
    client.receive(reply, handover?.handle)
  }
}
