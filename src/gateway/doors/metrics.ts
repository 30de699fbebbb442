import { prometheusText, prometheusType } from '../../telemetry/prometheus.ts'
import type { Door } from '../http/door.ts'

/** `GET /metrics`: everything that is counted, for Prometheus. */
export async function metrics(door: Door): Promise<Response> {
  return new Response(prometheusText(await door.meters.read()), {
    headers: {
      'content-type': prometheusType,
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    },
  })
}
