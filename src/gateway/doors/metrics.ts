import { prometheusText, prometheusType } from '../../telemetry/prometheus.ts'
import type { Door } from '../http/door.ts'

/** `GET /metrics`: all metrics in the Prometheus text format. */
export async function metrics(door: Door): Promise<Response> {
  return new Response(prometheusText(await door.meters.read()), {
    headers: {
      'content-type': prometheusType,
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    },
  })
}
