import { closeSync, existsSync, openSync } from 'node:fs'
import path from 'node:path'
import { attempt } from './attempt.ts'

/** Access of this process to /dev/kvm; null if there is none. Does not prove that a VM starts. */
export type KvmAccess = 'open' | 'closed' | null

export function kvmAccess(root = '/'): KvmAccess {
  const file = path.join(root, 'dev/kvm')
  if (!existsSync(file)) return null
  const fd = attempt(() => openSync(file, 'r+'))
  if (fd === undefined) return 'closed'
  closeSync(fd)
  return 'open'
}
