import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { MayflyError } from '../contract/error.ts'
import { evidenceBody, type CapturedPart, type StoredCapture } from '../contract/evidence.ts'
import type { BodiesRead } from '../evidence/bodies.ts'
import type { TextFound } from '../evidence/find-text.ts'
import { parseJson } from '../lib/parse-json.ts'
import { assertPlainStore } from '../lib/store-file.ts'
import { sanitiseLine } from '../output/sanitise.ts'
import { megabytes } from './format-value.ts'
import { wholeNumber } from './option-values.ts'
import { note, printJson, table, type Globals } from './print.ts'
import {
  outputOfOwner,
  runAsOwner,
  stateOf,
  strangerOwning,
  type StateOwner,
} from './state-owner.ts'
import { failedExitCode, verb } from './verb.ts'
import { isEmptyFile, writeParts, writePieces } from './write-parts.ts'

/** `mayfly evidence …`: reads stored captures without a server, and changes nothing. */
export function register(program: Command): void {
  const evidence = program
    .command('evidence')
    .description('stored captures of runs')
    .addHelpText('after', examples)
  const add = (name: string, about: string) =>
    evidence.command(name).description(about).argument('<id>', 'id of an execution')
  evidence
    .command('list')
    .description('list captures, newest first')
    .option('--limit <n>', 'maximum of captures', wholeNumber(limitMax), 50)
    .action(verb(asOwner(list)))
  add('show', 'show the captures of an execution, with the digest of each part').action(
    verb(asOwner(show)),
  )
  add('verify', 'compare stored captures with the digests in the record; exits 0 or 1').action(
    verb(asOwner(verify)),
  )
  add('search', 'search captures for a text in UTF-8 and UTF-16; exits 1 without a match')
    .argument('<text>', 'text to search for')
    .option('--part <name>', 'one part only, as named by "show"')
    .option('--limit <n>', 'maximum of matches', wholeNumber(limitMax), 100)
    .action((...all) => verb(asOwner((flags, id) => search(flags, id, String(all[1]))))(...all))
  add('extract', 'write parts to files after their digests are verified')
    .argument('<folder>', 'output folder, created if missing; - writes one part to stdout')
    .option('--part <name>', 'one part only, as named by "show"')
    .action((...all) => verb((flags, id) => extract(flags, id, String(all[1])))(...all))
}

const examples = `
Examples:
  mayfly evidence list
  mayfly evidence search exec_0193… 'BEGIN PRIVATE KEY'
  mayfly evidence extract exec_0193… found
  mayfly evidence extract exec_0193… - --part capture-1767225600000/memory.bin | strings`

interface Flags extends Globals {
  readonly limit?: number
  readonly part?: string
}

const limitMax = 1000
const linesMax = 100_000

/** Runs the command as the owner of the state folder, if this process is root and the folder is not. */
function asOwner(run: (flags: Flags, id: string) => Promise<void>) {
  return async (flags: Flags, id: string): Promise<void> => {
    const state = stateOf(flags)
    const owner = strangerOwning(state)
    if (owner) runAsOwner(owner, { task: { state }, words: process.argv.slice(2) })
    else await run(flags, id)
  }
}

async function list(flags: Flags): Promise<void> {
  using stored = await openStoredCaptures(flags, true)
  const captures = stored ? (await stored.captures({})).slice(0, flags.limit) : []
  if (flags.json) return printJson(captures)
  if (captures.length === 0)
    return note(flags, 'No captures; they may have been deleted after their retention')
  const head = ['execution', 'tenant', 'capture', 'at', 'kind', '']
  const rows = captures.map(({ run, tenant, name, at, kind, parts }) => {
    const size = parts.reduce((sum, part) => sum + part.size, 0)
    return [run, tenant, name, new Date(at).toISOString(), kind, megabytes(size)]
  })
  process.stdout.write(`${table([head, ...rows])}\n`)
}

async function show(flags: Flags, id: string): Promise<void> {
  using stored = await openStoredCaptures(flags)
  const captures = await stored.of(id)
  if (flags.json) return printJson({ id, captures })
  const { baseNameOf, imageOf } = await import('../evidence/captured-machine.ts')
  const lines = captures.flatMap((capture) => {
    const { name, at, kind, why, parts } = capture
    const base = baseNameOf(capture)
    const image = imageOf(capture)
    return [
      `${name}  ${new Date(at).toISOString()}  ${kind}${why === undefined ? '' : `, ${sanitiseLine(why)}`}`,
      ...parts.map(partLine),
      ...(base === undefined ? [] : [`  ${base}  memory of its template`]),
      ...(image === undefined ? [] : [`  ${image}  made by extract --part`]),
    ]
  })
  process.stdout.write(`${lines.join('\n')}\n`)
}

function partLine({ name, size, sha256, trust }: CapturedPart): string {
  const note = trust === undefined ? '' : '  (reported by the guest, untrusted)'
  return `  ${name}  ${megabytes(size)}  sha256:${sha256}${note}`
}

interface Verified {
  readonly name: string
  readonly ok: boolean
  readonly why?: string
}

async function verify(flags: Flags, id: string): Promise<void> {
  using stored = await openStoredCaptures(flags, true)
  const recorded = await recordedDigests(flags, id)
  const here = stored ? await stored.captures({ run: id }) : []
  const parts = here.flatMap((one) => one.parts)
  if (recorded.size === 0 && parts.length === 0) throw nothingOf(id)
  const verified: Verified[] = []
  for (const part of parts) verified.push(await verifyPart(stored!, id, part, recorded))
  const { baseNameOf } = await import('../evidence/captured-machine.ts')
  for (const capture of here) {
    const name = baseNameOf(capture)
    if (name) verified.push(await verifiedAs(name, () => stored!.verifyBase(capture)))
  }
  for (const name of recorded.keys())
    if (!parts.some((part) => part.name === name))
      verified.push({ name, ok: false, why: 'it is no longer stored' })
  if (verified.some(({ ok }) => !ok)) process.exitCode = failedExitCode
  if (flags.json) return printJson({ id, parts: verified })
  const lines = verified.map(({ name, ok, why }) => (ok ? `ok: ${name}` : `bad: ${name}: ${why}`))
  process.stdout.write(`${lines.join('\n')}\n`)
}

async function verifyPart(
  stored: StoredCaptures,
  id: string,
  { name, sha256 }: CapturedPart,
  recorded: ReadonlyMap<string, string>,
): Promise<Verified> {
  if (!recorded.has(name)) return { name, ok: false, why: 'the record has no line about it' }
  if (recorded.get(name) !== sha256)
    return { name, ok: false, why: 'its digest differs from the record' }
  return await verifiedAs(name, async () => {
    for await (const _ of stored.read(id, name)) continue
  })
}

async function verifiedAs(name: string, check: () => Promise<void>): Promise<Verified> {
  try {
    await check()
    return { name, ok: true }
  } catch (thrown) {
    if (thrown instanceof MayflyError) return { name, ok: false, why: thrown.message }
    throw thrown
  }
}

/** Digests in the audit lines of a run. The lines themselves are verified by `audit verify`. */
async function recordedDigests(flags: Flags, id: string): Promise<ReadonlyMap<string, string>> {
  const { auditFile } = await import('../lib/state-folder.ts')
  const path = auditFile(stateOf(flags))
  if (!existsSync(path)) return new Map()
  const { openLog } = await import('../evidence/log-reader.ts')
  const { partsRecordedIn } = await import('../evidence/captures.ts')
  assertPlainStore(path)
  using log = openLog(path)
  const parts = log.last(linesMax, id).flatMap(({ bodyText }) => partsRecordedIn(bodyText))
  return new Map(parts.map(({ name, sha256 }) => [name, sha256]))
}

async function extract(flags: Flags, id: string, folder: string): Promise<void> {
  const state = stateOf(flags)
  const owner = strangerOwning(state)
  if (folder === '-' && owner)
    return runAsOwner(owner, { task: { state }, words: process.argv.slice(2) })
  if (folder === '-') return print(flags, id)
  using stored = owner ? ownersCaptures(owner, state) : await openStoredCaptures(flags)
  const parts = await wantedParts(stored, flags, id)
  const written = await writeParts(folder, parts, (name, out) => stored.write(id, name, out))
  if (flags.json) return printJson({ id, written })
  for (const path of written) process.stdout.write(`${path}\n`)
}

/** Searches all parts; for a part named `*.zst`, offsets are those of the decompressed bytes. */
async function search(flags: Flags, id: string, text: string): Promise<void> {
  using stored = await openStoredCaptures(flags)
  const { findText } = await import('../evidence/find-text.ts')
  const places: (TextFound & { readonly part: string })[] = []
  let isCut = false
  search: for (const { name } of await wantedParts(stored, flags, id))
    for await (const place of findText({ name, bytes: stored.read(id, name) }, text)) {
      isCut = places.length === flags.limit
      if (isCut) break search
      places.push({ part: name, ...place })
    }
  if (places.length === 0) process.exitCode = failedExitCode
  if (flags.json) return printJson({ id, places, truncated: isCut })
  if (places.length === 0) return note(flags, 'No match in any part')
  const rows = places.map(({ part, offset, encoding, context }) => [
    part,
    String(offset),
    encoding,
    sanitiseLine(context),
  ])
  process.stdout.write(`${table([['part', 'offset', 'encoding', ''], ...rows])}\n`)
  if (isCut) note(flags, `More matches exist: --limit is ${flags.limit}`)
}

async function wantedParts(
  stored: Pick<WritableCaptures, 'of'>,
  { part }: Flags,
  id: string,
): Promise<readonly Pick<CapturedPart, 'name'>[]> {
  const { imageOf } = await import('../evidence/captured-machine.ts')
  const captures = await stored.of(id)
  const images = captures.map(imageOf).filter((name) => name !== undefined)
  const all = captures.flatMap(({ parts }) => parts)
  if (part !== undefined && images.includes(part)) return [{ name: part }]
  const parts = part === undefined ? all : all.filter(({ name }) => name === part)
  if (parts.length > 0) return parts
  throw new MayflyError('NOT_FOUND', `Cannot find "${part}" of "${id}"`, {
    hint: `"mayfly evidence show ${id}" lists the parts`,
  })
}

async function print(flags: Flags, id: string): Promise<void> {
  using stored = await openStoredCaptures(flags)
  const parts = await wantedParts(stored, flags, id)
  if (parts.length > 1 || flags.json)
    throw new MayflyError(
      'USAGE',
      'Cannot write to stdout: name one part with --part, and omit --json',
    )
  const [{ name }] = parts as [Pick<CapturedPart, 'name'>]
  // Verifies everything before writing the first byte.
  for await (const _ of stored.read(id, name)) continue
  if (isEmptyFile(process.stdout.fd)) return await stored.write(id, name, process.stdout.fd)
  for await (const piece of stored.read(id, name))
    if (!process.stdout.write(piece)) await once(process.stdout, 'drain')
}

/** Captures of one run, whose bytes go to a descriptor. */
interface WritableCaptures extends Disposable {
  /** Throws MayflyError NOT_FOUND if nothing is stored. */
  of(run: string): Promise<readonly Pick<StoredCapture, 'name' | 'parts'>[]>
  write(run: string, part: string, out: number): Promise<void>
}

interface StoredCaptures extends WritableCaptures {
  captures(of: { readonly run?: string }): Promise<readonly StoredCapture[]>
  of(run: string): Promise<readonly StoredCapture[]>
  read(run: string, part: string): AsyncGenerator<Uint8Array>
  /** Rejects with MayflyError if the memory of its template is not kept, or was changed. */
  verifyBase(capture: StoredCapture): Promise<void>
}

/** Captures read by a process of the state folder's owner; root writes the output files. */
function ownersCaptures(owner: StateOwner, state: string): WritableCaptures {
  const runEvidence = (stdout: 'pipe' | number, ...words: readonly string[]) =>
    outputOfOwner(owner, { task: { state }, words: ['evidence', ...words], stdout })
  return {
    of: async (run) =>
      evidenceBody.parse(parseJson(runEvidence('pipe', 'show', '--json', '--', run))).captures,
    write: async (run, part, out) =>
      void runEvidence(out, 'extract', '--quiet', `--part=${part}`, '--', run, '-'),
    [Symbol.dispose]: () => undefined,
  }
}

function openStoredCaptures(flags: Flags): Promise<StoredCaptures>
function openStoredCaptures(flags: Flags, mayBeNone: true): Promise<StoredCaptures | undefined>
async function openStoredCaptures(
  flags: Flags,
  mayBeNone = false,
): Promise<StoredCaptures | undefined> {
  const folder = stateOf(flags)
  const { readBodies } = await import('../evidence/bodies.ts')
  const { storedCaptures, readCaptured } = await import('../evidence/captures.ts')
  const { imageOf, readImage, verifyBase } = await import('../evidence/captured-machine.ts')
  if (mayBeNone && !existsSync(join(folder, 'bodies.db'))) return undefined
  const bodies: BodiesRead = readBodies(folder)
  const machineOf = (capture: StoredCapture) => {
    const { run } = capture
    return {
      capture,
      state: folder,
      read: (part: string) => readCaptured(bodies, { run }, part).bytes,
    }
  }
  const read = (run: string, part: string) => {
    const capture = storedCaptures(bodies, { run }).find((one) => imageOf(one) === part)
    return capture ? readImage(machineOf(capture)) : readCaptured(bodies, { run }, part).bytes
  }
  return {
    captures: async (of) => storedCaptures(bodies, of),
    async of(run) {
      const found = storedCaptures(bodies, { run })
      if (found.length > 0) return found.toReversed()
      throw nothingOf(run)
    },
    read,
    async write(run, part, out) {
      await writePieces(out, read(run, part))
    },
    verifyBase: (capture) => verifyBase(machineOf(capture)),
    [Symbol.dispose]: () => bodies.close(),
  }
}

function nothingOf(id: string): MayflyError {
  return new MayflyError('NOT_FOUND', `Cannot find evidence of "${id}"`, {
    hint: 'It was not captured, or the capture was deleted: "mayfly evidence list" lists what is stored',
  })
}
