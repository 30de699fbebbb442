import { lstatSync } from 'node:fs'
import { MayflyError } from '../contract/error.ts'
import { serverUid } from '../contract/uids.ts'

/** Rights of a root process that acts as the owner of a state folder (seteuid), as the server there does. */
export interface OwnerRights {
  /** Restores root. */
  restore(): void
  /** Drops root permanently, after `last`, which is called as root alone. */
  drop(last?: () => void): void
}

const ROOT = 0
const none: OwnerRights = { restore: () => undefined, drop: () => undefined }

/**
 * Refuses root the state folder of another user than the server's, for a command that cannot act as that user. Throws
 * MayflyError STATE.
 */
export function refuseStateOfAnother(state: string): void {
  const facts = lstatSync(state, { throwIfNoEntry: false })
  if (process.geteuid?.() !== ROOT || !facts || [ROOT, serverUid].includes(facts.uid)) return
  throw new MayflyError(
    'STATE',
    `Cannot use the state folder "${state}" as root: it belongs to uid ${facts.uid}`,
    { hint: 'Set "MAYFLY_STATE" to a folder of root' },
  )
}

/**
 * Acts as the owner of a state folder from here on, so that links planted in the folder are not followed with root's rights,
 * and data of a compromised server there is not read by root. Undefined if the folder is a link, or if this process may not act as
 * its owner.
 */
export function actAsOwner(state: string): OwnerRights | undefined {
  const facts = lstatSync(state, { throwIfNoEntry: false })
  if (!facts?.isDirectory()) return undefined
  const { uid, gid } = facts
  if (uid === process.geteuid?.()) return none
  if (process.geteuid?.() !== ROOT || uid !== serverUid) return undefined
  const before = { gid: process.getegid!(), groups: process.getgroups!() }
  if (process.getgid!() !== before.gid) return undefined
  process.setgroups!([gid])
  // Sets all three group ids, so that giving up root takes two calls: glibc makes each in every thread, one after another.
  process.setgid!(gid)
  process.seteuid!(uid)
  let isOver = false
  const asRoot = (act: () => void) => {
    if (isOver) return
    isOver = true
    process.seteuid!(ROOT)
    act()
  }
  return {
    restore: () =>
      asRoot(() => {
        process.setgid!(before.gid)
        process.setgroups!(before.groups)
      }),
    drop: (last) =>
      asRoot(() => {
        // The compile cache belongs to root, and could not be written later.
        last?.()
        process.setuid!(uid)
      }),
  }
}
