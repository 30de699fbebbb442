import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { MayflyError } from '../contract/error.ts'
import type { CapturedPart, StoredCapture } from '../contract/evidence.ts'
import type { BodiesRead } from '../evidence/bodies.ts'
import { megabytes } from './format-value.ts'
import { stateOf } from './open-assembly.ts'
import { wholeNumber } from './option-values.ts'
import { note, printJson, table, type Globals } from './print.ts'
import { failedExitCode, verb } from './verb.ts'
import { writeParts } from './write-parts.ts'

/** `mayfly evidence …`: reads stored captures without a server, and changes nothing. */
export function register(program: Command): void {
  const evidence = program
    .command('evidence')
    .description('what was captured of runs here, and is kept')
    .addHelpText('after', examples)
  const add = (name: string, about: string) =>
    evidence.command(name).description(about).argument('<id>', 'of an execution')
  evidence
    .command('list')
    .description('captures, newest first')
    .option('--limit <n>', 'how many', wholeNumber(limitMax), 50)
    .action(verb(list))
  add('show', 'the captures of an execution, with the digest of each part').action(verb(show))
  add('verify', 'whether it is what was kept, as the record says; exits 0 or 1').action(
    verb(verify),
  )
  add('extract', 'write the bytes to files, each once its digest is known to be right')
    .argument('<folder>', 'where to, made where it is missing; - is stdout, for one part')
    .option('--part <name>', 'this part alone, as "show" tells it')
    .action((...all) => verb((flags, id) => extract(flags, id, String(all[1])))(...all))
}

const examples = `
Examples:
  mayfly evidence list
  mayfly evidence extract exec_0193… found
  mayfly evidence extract exec_0193… - --part capture-1767225600000/memory.bin | strings`

interface Flags extends Globals {
  readonly limit?: number
  readonly part?: string
}

const limitMax = 1000
const linesMax = 100_000

async function list(flags: Flags): Promise<void> {
  using stored = await openStoredCaptures(flags, true)
  const captures = stored ? (await stored.captures({})).slice(0, flags.limit) : []
  if (flags.json) return printJson(captures)
  if (captures.length === 0) return note(flags, 'Nothing was captured, or it is forgotten')
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
  const lines = captures.flatMap(({ name, at, kind, why, parts }) => [
    `${name}  ${new Date(at).toISOString()}  ${kind}${why === undefined ? '' : `, ${why}`}`,
    ...parts.map((part) => `  ${part.name}  ${megabytes(part.size)}  sha256:${part.sha256}`),
  ])
  process.stdout.write(`${lines.join('\n')}\n`)
}

interface Verified {
  readonly name: string
  readonly ok: boolean
  readonly why?: string
}

async function verify(flags: Flags, id: string): Promise<void> {
  using stored = await openStoredCaptures(flags, true)
  const told = await toldOf(flags, id)
  const here = stored ? await stored.captures({ run: id }) : []
  const parts = here.flatMap((one) => one.parts)
  if (told.size === 0 && parts.length === 0) throw nothingOf(id)
  const verified: Verified[] = []
  for (const part of parts) verified.push(await verifyPart(stored!, id, part, told))
  for (const name of told.keys())
    if (!parts.some((part) => part.name === name))
      verified.push({ name, ok: false, why: 'it is not kept any more' })
  if (verified.some(({ ok }) => !ok)) process.exitCode = failedExitCode
  if (flags.json) return printJson({ id, parts: verified })
  const lines = verified.map(({ name, ok, why }) => (ok ? `ok: ${name}` : `bad: ${name}: ${why}`))
  process.stdout.write(`${lines.join('\n')}\n`)
}

async function verifyPart(
  stored: StoredCaptures,
  id: string,
  { name, sha256 }: CapturedPart,
  told: ReadonlyMap<string, string>,
): Promise<Verified> {
  if (!told.has(name)) return { name, ok: false, why: 'the record has no line of it' }
  if (told.get(name) !== sha256)
    return { name, ok: false, why: 'the record has another digest of it' }
  try {
    for await (const _ of stored.read(id, name)) continue
    return { name, ok: true }
  } catch (thrown) {
    if (thrown instanceof MayflyError) return { name, ok: false, why: thrown.message }
    throw thrown
  }
}

/** Digests from the audit lines; verifying the lines is up to `audit verify`. */
async function toldOf(flags: Flags, id: string): Promise<ReadonlyMap<string, string>> {
  const { auditFile } = await import('../lib/state-folder.ts')
  const path = auditFile(stateOf(flags))
  if (!existsSync(path)) return new Map()
  const { openLog } = await import('../evidence/log-reader.ts')
  const { partsRecordedIn } = await import('../evidence/captures.ts')
  using log = openLog(path)
  const parts = log.last(linesMax, id).flatMap(({ bodyText }) => partsRecordedIn(bodyText))
  return new Map(parts.map(({ name, sha256 }) => [name, sha256]))
}

async function extract(flags: Flags, id: string, folder: string): Promise<void> {
  using stored = await openStoredCaptures(flags)
  const all = (await stored.of(id)).flatMap(({ parts }) => parts)
  const parts = flags.part === undefined ? all : all.filter(({ name }) => name === flags.part)
  if (parts.length === 0)
    throw new MayflyError('NOT_FOUND', `Cannot find "${flags.part}" of "${id}"`, {
      hint: `"mayfly evidence show ${id}" lists what there is`,
    })
  if (folder !== '-') {
    const written = await writeParts(folder, parts, (name) => stored.read(id, name))
    if (flags.json) return printJson({ id, written })
    for (const path of written) process.stdout.write(`${path}\n`)
    return
  }
  if (parts.length > 1 || flags.json)
    throw new MayflyError('USAGE', 'Cannot write that to stdout: name one part, without --json')
  const [{ name }] = parts as [CapturedPart]
  // Verifies everything before writing the first byte.
  for await (const _ of stored.read(id, name)) continue
  for await (const piece of stored.read(id, name))
    if (!process.stdout.write(piece)) await once(process.stdout, 'drain')
}

interface StoredCaptures extends Disposable {
  captures(of: { readonly run?: string }): Promise<readonly StoredCapture[]>
  /** Throws MayflyError NOT_FOUND if nothing is stored. */
  of(run: string): Promise<readonly StoredCapture[]>
  read(run: string, part: string): AsyncGenerator<Uint8Array>
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
  if (mayBeNone && !existsSync(join(folder, 'bodies.db'))) return undefined
  const bodies: BodiesRead = readBodies(folder)
  return {
    captures: async (of) => storedCaptures(bodies, of),
    async of(run) {
      const found = storedCaptures(bodies, { run })
      if (found.length > 0) return found.toReversed()
      throw nothingOf(run)
    },
    read: (run, part) => readCaptured(bodies, { run }, part).bytes,
    [Symbol.dispose]: () => bodies.close(),
  }
}

function nothingOf(id: string): MayflyError {
  return new MayflyError('NOT_FOUND', `Cannot find evidence of "${id}"`, {
    hint: 'It was not captured, or that was forgotten: "mayfly evidence list" tells what is kept',
  })
}
