import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { Checkpoint } from '../contract/evidence.ts'
import { openLog } from '../evidence/log-reader.ts'
import { openReadOnly } from '../evidence/open-readonly.ts'
import { verifyFile } from '../evidence/verify.ts'
import { attempt } from '../lib/attempt.ts'
import { parseJson } from '../lib/parse-json.ts'
import { auditFile, signerFolder } from '../lib/state-folder.ts'
import { assertPlainStore } from '../lib/store-file.ts'
import { lastSigned } from '../warden/sign.ts'
import type { Globals } from './print.ts'
import { ownerTask, runAsOwner, stateFolderOf, strangerOwning } from './state-owner.ts'

/** Stores of a state folder that a backup has, in the order in which they are copied: the journal before its database. */
const abouts: Readonly<Record<string, string>> = {
  'audit.journal': 'newest lines of the record',
  'audit.db': 'record of jobs',
  'former-audit.db': 'record before a restore without its key',
  'keys.json': 'API keys, as digests',
  'signers.json': 'trusted signers of code',
  'trusted-configurations.json': 'trusted configurations',
  'baselines.db': 'usual behaviour of sources',
  'stronger.db': 'sources that were given a stronger wall',
  'effects.db': 'effects',
  'executions.db': 'executions that wait for an answer',
  'webhooks.db': 'webhooks to be delivered',
  'quota.db': 'use of quotas',
}
/** Kept for a day, and then deleted with their keys: a backup would keep them. */
const shortLived = ['bodies.db', 'body-keys.db']
const storeName = /^[a-z][a-z-]{0,60}\.(?:db|json|journal)$/

export const isStoreName = (name: string): boolean => storeName.test(name)
export const isDatabase = (name: string): boolean => name.endsWith('.db')
export const aboutOf = (name: string): string => abouts[name] ?? 'store of another version'

/** Names of the stores that are there, those of later versions too. */
export function storesIn(state: string): readonly string[] {
  const order = Object.keys(abouts)
  const rank = (name: string) => (order.indexOf(name) + order.length + 1) % (order.length + 1)
  return readdirSync(state, { withFileTypes: true })
    .filter((one) => one.isFile() && isStoreName(one.name) && !shortLived.includes(one.name))
    .map(({ name }) => name)
    .toSorted((a, b) => rank(a) - rank(b))
}

export interface StateCheck {
  readonly ok: boolean
  readonly state: string
  /** Newest checkpoint of the record. */
  readonly signed?: Checkpoint | undefined
  readonly stores: readonly {
    readonly file: string
    readonly about: string
    readonly bytes: number
    readonly ok: boolean
    /** `ok`, or what is wrong. */
    readonly why: string
  }[]
}

/**
 * Checks the stores of a state folder, as its owner; undefined if another process did and printed the result. Throws
 * MayflyError NOT_FOUND.
 */
export async function checkState(flags: Globals): Promise<StateCheck | undefined> {
  const task = ownerTask()
  const state = stateFolderOf(flags)
  const signed = task ? task.signed : lastSigned(signerFolder(state))
  const owner = strangerOwning(state)
  if (owner) {
    runAsOwner(owner, { state, signed })
    return undefined
  }
  if (!existsSync(state)) throw noState(state)
  return checkStores(state, signed)
}

export function noState(state: string): MayflyError {
  return new MayflyError('NOT_FOUND', `Cannot find the state folder "${state}"`, {
    hint: 'Nothing has run with it; name another one with "MAYFLY_STATE".',
  })
}

/** `signed`: last head that was signed, which the record must contain. */
export function checkStores(state: string, signed: Checkpoint | undefined): StateCheck {
  const names = [...storesIn(state), ...shortLived.filter((name) => existsSync(join(state, name)))]
  const stores = names.map((file) => {
    const path = join(state, file)
    const { size: bytes } = statSync(path)
    const about = shortLived.includes(file) ? 'outcomes and captures of a day' : aboutOf(file)
    const why = problemOf(path, file, signed)
    return { file, about, bytes, ok: why.startsWith('ok'), why }
  })
  if (signed && !names.includes('audit.db'))
    stores.push({
      file: 'audit.db',
      about: aboutOf('audit.db'),
      bytes: 0,
      ok: false,
      why: 'missing',
    })
  const newest = attempt(() => newestCheckpoint(auditFile(state)))
  return { ok: stores.every(({ ok }) => ok), state, ...(newest && { signed: newest }), stores }
}

function newestCheckpoint(path: string): Checkpoint | undefined {
  assertPlainStore(path)
  using log = openLog(path)
  let newest: Checkpoint | undefined
  for (const one of log.checkpoints()) newest = one
  return newest
}

function problemOf(path: string, file: string, signed: Checkpoint | undefined): string {
  try {
    assertPlainStore(path)
    if (file.endsWith('.json')) parseJson(readFileSync(path, 'utf8'))
    if (isDatabase(file)) assertWhole(path)
    if (!file.endsWith('audit.db')) return 'ok'
    const known = file === 'audit.db' && signed ? { key: signed.key, signed } : {}
    const { ok, lines, unsigned, firstBad } = verifyFile(path, known)
    if (!ok) return `bad: line ${firstBad?.seq}: ${firstBad?.why}`
    return `ok: ${lines} lines, ${unsigned} not signed`
  } catch (thrown) {
    return `bad: ${messageOf(thrown)}`
  }
}

function assertWhole(path: string): void {
  using db = openReadOnly(path)
  const [row] = db.prepare('PRAGMA quick_check(1)').all()
  const [answer] = Object.values(row ?? {})
  if (answer !== 'ok') throw new Error(`the database is damaged: ${String(answer)}`)
}
