import type { Anomaly } from '../../contract/anomaly.ts'

/** Anomaly with its tenant and run. */
export interface AnomalyNotice {
  readonly tenant: string
  readonly run: string
  readonly anomaly: Anomaly
}

/** Maximum of one body; evidence is dropped first. */
export const bodyBytesMax = 64 * 1024

/** Encodes an anomaly as CloudEvents 1.0 JSON; `time` is milliseconds since 1970. */
export function cloudEventOf(notice: AnomalyNotice, id: string, time: number): string {
  const text = written(notice, id, time)
  if (Buffer.byteLength(text) <= bodyBytesMax) return text
  return written({ ...notice, anomaly: { ...notice.anomaly, evidence: [] } }, id, time)
}

function written({ tenant, run, anomaly }: AnomalyNotice, id: string, time: number): string {
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
