import { prometheusText, prometheusType } from '../../telemetry/prometheus.ts'
import type { GatewayParts } from '../http/parts.ts'

/** `GET /metrics`: all metrics in the Prometheus text format. */
export async function metrics(parts: Pick<GatewayParts, 'meters'>): Promise<Response> {
  return new Response(prometheusText(await parts.meters.read()), {
    headers: {
      'content-type': prometheusType,
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    },
  })
}
