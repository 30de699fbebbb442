import { accessSync, constants } from 'node:fs'
import type { Role } from '../warden/start-server.ts'
import type { OwnerRights } from './owner-rights.ts'
import { MayflyError } from '../contract/error.ts'
import { deniedExitCode } from '../contract/exit-codes.ts'
import { attempt } from '../lib/attempt.ts'
import { lastFlag } from '../lib/last-flag.ts'
import { asOwner, wasDenied } from '../lib/owner-files.ts'
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
let root: OwnerRights | undefined
let mayAsk = true

/** Role assigned by the parent warden; undefined without one. */
export function roleOf(): Role | undefined {
  const text = process.env['MAYFLY_ROLE']
  return text && process.connected ? (parseJson(text) as Role) : undefined
}

/** Drops privileges that the role does not need, before anything else is loaded. */
export async function enterRole(): Promise<void> {
  const role = roleOf()
  if (!role) return
  if (role.rights === 'root') await keepRootAhead()
  else if (role.rights === 'on request') lookAhead()
  if (role.shutOut === null) custody = 'uid'
  else if (role.shutOut !== undefined) {
    const { shutOut } = await import('../warden/custody.ts')
    custody = (await shutOut(role.shutOut)) ? 'landlock' : 'none'
  }
}

/** Acts as the server's user from here on, and as root only where `owner-files.ts` does. Throws MayflyError STATE. */
async function keepRootAhead(): Promise<void> {
  const { actAsOwner } = await import('./owner-rights.ts')
  root = actAsOwner(process.env['MAYFLY_STATE'] ?? '')
  if (!root) throw new MayflyError('STATE', 'Cannot act as the owner of the state folder')
}

/** Asks for rights if the working folder or the configuration is closed: both are read late, behind standard input. */
function lookAhead(): void {
  const named = lastFlag(process.argv, '--config') ?? process.env['MAYFLY_CONFIG']
  for (const place of [named || 'mayfly.toml', '.'])
    attempt(() => asOwner(place, (at) => accessSync(at, constants.R_OK)))
  askForRights()
}

/** Gives up root for good, if this process has its rights. Called before it joins the warden, so before any job. */
export async function leaveRoot(): Promise<void> {
  askForRights()
  mayAsk = false
  if (!root) return
  const { dieWithParent } = await import('../warden/custody.ts')
  root.drop()
  root = undefined
  dieWithParent()
  if (!process.connected) process.kill(process.pid, 'SIGKILL')
}

/** True if this process can still read as root. */
export const hasRoot = (): boolean => root !== undefined

/**
 * Ends this process if a file was denied to it that root may read: its parent starts the command anew, and that process reads as root.
 * Called before anything ran and before standard input is read.
 */
export function askForRights(): void {
  if (!mayAsk || !wasDenied() || roleOf()?.rights !== 'on request') return
  process.exit(deniedExitCode)
}

export const keyCustody = (): KeyCustody => custody
