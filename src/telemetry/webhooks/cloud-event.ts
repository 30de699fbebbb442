import type { Anomaly } from '../../contract/anomaly.ts'

/** An anomaly with whose life it was. */
export interface Told {
  readonly tenant: string
  readonly run: string
  readonly anomaly: Anomaly
}

/** Bytes of one body; evidence gives way first. */
export const bodyBytesMax = 64 * 1024

/** An anomaly as a CloudEvent 1.0 in JSON: `time` is milliseconds since 1970. */
export function cloudEventOf(told: Told, id: string, time: number): string {
  const text = written(told, id, time)
  if (Buffer.byteLength(text) <= bodyBytesMax) return text
  return written({ ...told, anomaly: { ...told.anomaly, evidence: [] } }, id, time)
}

function written({ tenant, run, anomaly }: Told, id: string, time: number): string {
  return JSON.stringify({
    specversion: '1.0',
    id,
    source: 'mayfly',
    type: 'dev.mayfly.anomaly.found',
    subject: run,
    time: new Date(time).toISOString(),
    datacontenttype: 'application/json',
    data: { run, tenant, ...anomaly },
  })
}
