import os from 'node:os'
import { systemClock } from '../contract/clock.ts'
import { EventStream } from '../telemetry/event-stream.ts'
import { createAnalysisClient, type AnalysisClient } from '../threat/analysis-client.ts'
import type { WardenClient } from '../walls/client.ts'

/** Opens the analysis process alone, for verdicts without a run. */
export function openAnalysis(parts: {
  readonly warden: WardenClient
}): AsyncDisposable & Pick<AnalysisClient, 'ask'> {
  const emitter = new EventStream({ clock: systemClock, sinks: [] })
  const client = createAnalysisClient({
    warden: parts.warden,
    emitter,
    atOnce: os.availableParallelism(),
    once: false,
    alone: true,
    firstTriesMax: 1,
  })
  return {
    ask: (tenant, text) => client.ask(tenant, text),
    async [Symbol.asyncDispose]() {
      await client.close()
      await parts.warden.close()
    },
  }
}
