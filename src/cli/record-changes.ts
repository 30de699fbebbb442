import type { Point } from '../contract/event.ts'
import { systemClock } from '../contract/clock.ts'
import { openRecord } from '../evidence/record.ts'
import { giveToFolder } from '../lib/private-file.ts'
import { auditFile } from '../lib/state-folder.ts'

/** Writes a line of the record. Throws MayflyError STATE when it cannot. */
export type Say = (
  point: Point,
  fields: Readonly<Record<string, unknown>>,
  tenant: string | null,
) => void

/**
 * Does work that changes what a state folder trusts, with the record open. Its lines are signed with the next
 * checkpoint of whoever holds the signing key.
 */
export async function recordChanges<T>(stateFolder: string, work: (say: Say) => T): Promise<T> {
  const record = openRecord({ stateFolder, clock: systemClock })
  const say: Say = (point, fields, tenant) => {
    const at = systemClock.date()
    const event = { seq: 0, at, run: null, zone: 'main', point, actor: 'operator', fields } as const
    record.append({ format: 1, trust: 'host', ...event }, tenant)
  }
  try {
    return work(say)
  } finally {
    await record.close()
    giveToFolder(auditFile(stateFolder))
  }
}
