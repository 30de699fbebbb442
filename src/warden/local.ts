import { Client, facade, type WardenClient } from './client.ts'
import { openEarly, type EarlyWarden } from './early.ts'
import type { WardenOptions } from './warden.ts'

/** A warden in this process: for a single run by an ordinary user, and for tests. */
export function holdWarden(options: WardenOptions): WardenClient {
  return holdEarly(openEarly(options))
}

export function holdEarly({ warden, listen }: EarlyWarden): WardenClient {
  const client: Client = new Client((request) => {
    void warden.answer(request).then(({ reply, socket }) => client.hear(reply, socket))
  })
  listen((reply) => client.hear(reply))
  return facade(client, () => warden.close())
}
