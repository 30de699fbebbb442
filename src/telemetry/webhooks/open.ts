import { promises as dns } from 'node:dns'
import type { Clock } from '../../contract/clock.ts'
import type { Config } from '../../contract/config.ts'
import type { Emitter } from '../../contract/event.ts'
import { attempt } from '../../lib/attempt.ts'
import type { ResolveAddresses } from './post.ts'
import { openQueue } from './queue.ts'
import { signerIn } from './secret-file.ts'
import { createWebhooks, type Webhooks } from './webhooks.ts'

export interface OpenWebhooksOptions {
  readonly config: Pick<Config, 'webhooks'>
  /** `webhooks.db` */
  readonly path: string
  readonly clock: Clock
  readonly emitter: Emitter
  /** Resolver that returns public addresses only. */
  readonly publicAddresses: ResolveAddresses
}

/** Opens the configured webhooks; undefined without any. Throws MayflyError CONFIG or STATE. */
export function openWebhooks(options: OpenWebhooksOptions): Webhooks | undefined {
  const { config, clock, emitter, publicAddresses } = options
  if (config.webhooks.length === 0) return undefined
  const receivers = config.webhooks.map((one) => ({
    url: one.url,
    from: one.from,
    signer: signerIn(one.secret_file),
    addresses: one.private ? anyAddress : publicAddresses,
  }))
  const queue = openQueue(options.path)
  const urls = receivers.map(({ url }) => url)
  // On a full disk the next start tries again.
  for (const url of attempt(() => queue.forgetBut(urls, clock.date())) ?? [])
    emitter.emit('webhook/lost', { host: hostOf(url), because: 'it is no longer configured' })
  const webhooks = createWebhooks({ receivers, queue, clock, emitter })
  return {
    enqueue: (notice) => webhooks.enqueue(notice),
    async close() {
      await webhooks.close()
      queue.close()
    },
  }
}

/** Host of a stored URL; the rest of it may be a secret. */
function hostOf(url: string): string {
  return URL.parse(url)?.host ?? 'unknown'
}

/** Resolver for receivers that the configuration marks `private`. */
const anyAddress: ResolveAddresses = async (host) => {
  const found = await dns.lookup(host, { all: true })
  return found.map(({ address }) => address)
}
