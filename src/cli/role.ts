import type { Role } from '../warden/start-server.ts'
import { parseJson } from '../lib/parse-json.ts'

/** Protection of the signing key from this process. */
export type KeyCustody =
  /** Another uid owns the key. */
  | 'uid'
  /** Same uid, but this process has excluded itself by Landlock. */
  | 'landlock'
  /** No custody: a compromised process can read the key. */
  | 'none'

let custody: KeyCustody = 'none'

/** Role assigned by the parent warden; undefined without one. */
export function roleOf(): Role | undefined {
  const text = process.env['MAYFLY_ROLE']
  return text && process.connected ? (parseJson(text) as Role) : undefined
}

/** Drops privileges that the role does not need, before anything else is loaded. */
export async function enterRole(): Promise<void> {
  const role = roleOf()
  if (!role) return
  if (role.shutOut === null) custody = 'uid'
  else if (role.shutOut !== undefined) {
    const { shutOut } = await import('../warden/custody.ts')
    custody = (await shutOut(role.shutOut)) ? 'landlock' : 'none'
  }
}

export const keyCustody = (): KeyCustody => custody
