import { join } from 'node:path'
import type { Clock } from '../contract/clock.ts'
import type { Config } from '../contract/config.ts'
import { messageOf } from '../contract/error.ts'
import type { PastCalls, ZoneInstance } from '../contract/zones.ts'
import { addressesFor } from '../egress/dial.ts'
import type { EventStream } from '../telemetry/event-stream.ts'
import { openWebhooks } from '../telemetry/webhooks/open.ts'
import { type BaselineStore, openBaselineStore } from '../watch/baseline-store.ts'
import { createGuard, type Guard } from '../watch/guard.ts'
import { openRaisedFloors, type RaisedFloorStore } from '../watch/raised-floors.ts'
import { historySubject } from '../zones/instance-history.ts'

export interface Watching {
  readonly guard: Guard
  /** Capabilities that the zones of an instance called in earlier runs. */
  pastOf(instance: ZoneInstance): PastCalls | undefined
  /** Stores the capability calls of its zones in this run; a failure of the store loses them, and emits `baseline/lost`. */
  learn(instance: ZoneInstance, run: string, called: PastCalls): void
  close(): Promise<void>
}

/** Opens anomaly detection over all lives. Its stores are opened at their first use. */
export function openWatching(parts: {
  readonly config: () => Config
  readonly clock: Clock
  readonly emitter: EventStream
}): Watching {
  const { config, clock, emitter } = parts
  const { state } = config()
  let baselines: BaselineStore | undefined
  let stronger: RaisedFloorStore | undefined
  const baselinesHere = () => (baselines ??= openBaselineStore(join(state, 'baselines.db')))
  const webhooks = openWebhooks({
    config: config(),
    path: join(state, 'webhooks.db'),
    clock,
    emitter,
    publicAddresses: (host, port) => addressesFor({ scheme: 'https', host, port }, {}),
  })
  const guard = createGuard({
    clock,
    emitter,
    config,
    baselines: baselinesHere,
    stronger: () => (stronger ??= openRaisedFloors(join(state, 'stronger.db'))),
    notify: webhooks && ((anomaly) => webhooks.enqueue(anomaly)),
  })
  emitter.listen(guard.watching.sink)
  return {
    guard,
    pastOf: (instance) => baselinesHere().past(historySubject(instance)),
    learn(instance, run, called) {
      try {
        baselinesHere().keepPast(historySubject(instance), called)
      } catch (thrown) {
        const fields = { name: `instance:${instance.id}`, because: messageOf(thrown) }
        emitter.emit('baseline/lost', fields, { run })
      }
    },
    async close() {
      await webhooks?.close()
      baselines?.close()
      stronger?.close()
    },
  }
}
