import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { MayflyError } from '../contract/error.ts'
import type { CapturedPart, StoredCapture } from '../contract/evidence.ts'
import { readBodies } from '../evidence/bodies.ts'
import {
  baseNameOf,
  imageOf,
  readImage,
  verifyBase,
  type CapturedMachine,
} from '../evidence/captured-machine.ts'
import {
  isCaptureName,
  partsRecordedIn,
  readCaptured,
  storedCaptures,
  type CapturesOf,
} from '../evidence/captures.ts'
import type { StoredLine } from '../evidence/chain.ts'
import { openLog } from '../evidence/log-reader.ts'
import { stateError } from '../evidence/state-error.ts'
import { auditFile } from '../lib/state-folder.ts'
import { assertPlainStore } from '../lib/store-file.ts'
import type { Globals } from './print.ts'
import { stateFolderOf } from './state-owner.ts'
import { writePieces } from './write-parts.ts'

/** Captures in the state folder of this machine, read without a server. */
const linesMax = 100_000

/** `id`: of an execution, or the name of a capture. */
export interface WritableCaptures extends Disposable {
  /** Throws MayflyError NOT_FOUND if nothing is stored. */
  of(id: string): Promise<readonly Pick<StoredCapture, 'name' | 'parts'>[]>
  write(id: string, part: string, out: number): Promise<void>
}

export interface StoredCaptures extends WritableCaptures {
  captures(of: CapturesOf): Promise<readonly StoredCapture[]>
  of(id: string): Promise<readonly StoredCapture[]>
  read(id: string, part: string): AsyncGenerator<Uint8Array>
  /** The machine of a capture, for its readers. */
  machineOf(capture: StoredCapture): CapturedMachine
  /** Rejects with MayflyError if the memory of its template is not kept, or was changed. */
  verifyBase(capture: StoredCapture): Promise<void>
}

/**
 * Compares the stored parts of a run, and the memory of templates, with the digests in its record. The lines of the record are verified by
 * `audit verify`.
 */
export async function verifyParts(
  stored: StoredCaptures | undefined,
  flags: Globals,
  id: string,
): Promise<readonly VerifiedPart[]> {
  const here = stored ? await stored.captures(capturesOf(id)) : []
  const recorded = await recordedDigests(flags, id, here[0]?.run)
  const parts = here.flatMap((one) => one.parts)
  if (recorded.size === 0 && parts.length === 0) throw nothingOf(id)
  const verified: VerifiedPart[] = []
  for (const part of parts) verified.push(await verifyPart(stored!, id, part, recorded))
  for (const capture of here) {
    const name = baseNameOf(capture)
    if (name) verified.push(await verifiedAs(name, () => stored!.verifyBase(capture)))
  }
  for (const name of recorded.keys())
    if (!parts.some((part) => part.name === name))
      verified.push({ name, ok: false, why: 'it is no longer stored' })
  return verified
}

/** Result of the check of one part. */
export interface VerifiedPart {
  readonly name: string
  readonly ok: boolean
  readonly why?: string
}

async function verifyPart(
  stored: StoredCaptures,
  id: string,
  { name, sha256 }: CapturedPart,
  recorded: ReadonlyMap<string, string>,
): Promise<VerifiedPart> {
  if (!recorded.has(name)) return { name, ok: false, why: 'the record has no line about it' }
  if (recorded.get(name) !== sha256)
    return { name, ok: false, why: 'its digest differs from the record' }
  return await verifiedAs(name, async () => {
    for await (const _ of stored.read(id, name)) continue
  })
}

async function verifiedAs(name: string, check: () => Promise<void>): Promise<VerifiedPart> {
  try {
    await check()
    return { name, ok: true }
  } catch (thrown) {
    if (thrown instanceof MayflyError) return { name, ok: false, why: thrown.message }
    throw thrown
  }
}

/**
 * Digests in the audit lines of a run, of each part that of the first line: an intruder in the server can append lines, but not
 * change signed ones. The lines themselves are verified by `audit verify`.
 */
async function recordedDigests(
  flags: Globals,
  id: string,
  run = id,
): Promise<ReadonlyMap<string, string>> {
  const path = auditFile(stateFolderOf(flags))
  if (!existsSync(path)) return new Map()
  const lines = lastLines(path, run)
  if (lines.length === linesMax)
    throw new MayflyError('STATE', `Cannot verify "${id}": it has ${linesMax} lines or more`, {
      hint: 'No run of Mayfly has as many. Keep a copy of the state folder',
    })
  const parts = lines
    .flatMap(({ bodyText }) => partsRecordedIn(bodyText))
    .filter(({ name }) => run === id || name.startsWith(`${id}/`))
  return new Map(parts.toReversed().map(({ name, sha256 }) => [name, sha256]))
}

function lastLines(path: string, id: string): readonly StoredLine[] {
  try {
    assertPlainStore(path)
    using log = openLog(path)
    return log.last(linesMax, id)
  } catch (thrown) {
    throw stateError('read', path, thrown)
  }
}

export function openStoredCaptures(flags: Globals): Promise<StoredCaptures>
export function openStoredCaptures(
  flags: Globals,
  mayBeNone: true,
): Promise<StoredCaptures | undefined>
export async function openStoredCaptures(
  flags: Globals,
  mayBeNone = false,
): Promise<StoredCaptures | undefined> {
  const folder = stateFolderOf(flags)
  if (mayBeNone && !existsSync(join(folder, 'bodies.db'))) return undefined
  const bodies = readBodies(folder)
  const machineOf = (capture: StoredCapture) => {
    const { run } = capture
    return {
      capture,
      state: folder,
      read: (part: string) => readCaptured(bodies, { run }, part).bytes,
    }
  }
  const captures = (of: CapturesOf) => oneRun(storedCaptures(bodies, of), of)
  const read = (id: string, part: string) => {
    const found = captures(capturesOf(id))
    const capture = found.find((one) => imageOf(one) === part)
    const run = found[0]?.run ?? id
    return capture ? readImage(machineOf(capture)) : readCaptured(bodies, { run }, part).bytes
  }
  return {
    captures: async (of) => captures(of),
    async of(id) {
      const found = captures(capturesOf(id))
      if (found.length > 0) return found.toReversed()
      throw nothingOf(id)
    },
    read,
    async write(id, part, out) {
      await writePieces(out, read(id, part))
    },
    machineOf,
    verifyBase: (capture) => verifyBase(machineOf(capture)),
    [Symbol.dispose]: () => bodies.close(),
  }
}

const capturesOf = (id: string): CapturesOf => (isCaptureName(id) ? { name: id } : { run: id })

/** Asserts that captures of one name are of one execution: two servers may make one in the same millisecond. */
function oneRun(found: readonly StoredCapture[], { name }: CapturesOf): readonly StoredCapture[] {
  const runs = new Set(found.map(({ run }) => run))
  if (name === undefined || runs.size < 2) return found
  throw new MayflyError('CONFLICT', `Cannot choose a capture: several are named "${name}"`, {
    hint: `Name the execution: ${[...runs].join(', ')}`,
  })
}

export function nothingOf(id: string): MayflyError {
  return new MayflyError('NOT_FOUND', `Cannot find evidence of "${id}"`, {
    hint: 'It was not captured, or the capture was deleted: "mayfly evidence list" lists what is stored',
  })
}
