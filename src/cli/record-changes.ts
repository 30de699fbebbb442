import type { Point } from '../contract/event.ts'
import { systemClock } from '../contract/clock.ts'
import { openRecord } from '../evidence/record.ts'
import { giveToFolder } from '../lib/private-file.ts'
import { auditFile } from '../lib/state-folder.ts'

/** Appends an audit line. Throws MayflyError STATE on failure. */
export type RecordEvent = (
  point: Point,
  fields: Readonly<Record<string, unknown>>,
  tenant: string | null,
) => void

/**
 * Runs work that changes the trust of a state folder, with the audit log open. The server signs the lines with its
 * next checkpoint.
 */
export async function recordChanges<T>(
  stateFolder: string,
  work: (record: RecordEvent) => T,
): Promise<T> {
  const record = openRecord({ stateFolder, clock: systemClock })
  const recordEvent: RecordEvent = (point, fields, tenant) => {
    const at = systemClock.date()
    const event = { seq: 0, at, run: null, zone: 'main', point, actor: 'operator', fields } as const
    record.append({ format: 1, trust: 'host', ...event }, tenant)
  }
  try {
    return work(recordEvent)
  } finally {
    await record.close()
    giveToFolder(auditFile(stateFolder))
  }
}
