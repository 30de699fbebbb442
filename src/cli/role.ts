import type { Role } from '../warden/main.ts'
import { parseJson } from '../lib/parse-json.ts'

/** What keeps the signing key from this process. */
export type Custody =
  /** The key is another user's. */
  | 'uid'
  /** The same user's, and this process has shut itself out. */
  | 'landlock'
  /** Nothing: whoever breaks into this process can read it. */
  | 'none'

let custody: Custody = 'none'

/** What the warden that started this process said it is; undefined for one that was started by hand. */
export function roleOf(): Role | undefined {
  const text = process.env['MAYFLY_ROLE']
  return text && process.connected ? (parseJson(text) as Role) : undefined
}

/** Gives up what the role does not need, before anything else is loaded. */
export async function enterRole(): Promise<void> {
  const role = roleOf()
  if (!role) return
  if (role.shutOut === null) custody = 'uid'
  else if (role.shutOut !== undefined) {
    const { shutOut } = await import('../warden/custody.ts')
    custody = (await shutOut(role.shutOut)) ? 'landlock' : 'none'
  }
}

export const keyCustody = (): Custody => custody
