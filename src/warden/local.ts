import { Client, facade, type WardenClient } from './client.ts'
import { Warden, type WardenOptions } from './warden.ts'

/** A warden in this process: for a single run by an ordinary user, and for tests. */
export function holdWarden(options: WardenOptions): WardenClient {
  const client: Client = new Client((request) => {
    void warden.answer(request).then(({ reply, socket }) => client.hear(reply, socket))
  })
  const warden = new Warden(options, (reply) => client.hear(reply))
  return facade(client, () => warden.close())
}
