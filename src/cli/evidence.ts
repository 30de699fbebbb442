import { once } from 'node:events'
import type { Command } from 'commander'
import { MayflyError } from '../contract/error.ts'
import { evidenceBody, type CapturedPart } from '../contract/evidence.ts'
import { baseNameOf, imageOf } from '../evidence/captured-machine.ts'
import { findText, type TextFound } from '../evidence/find-text.ts'
import { isResumable } from '../evidence/resumable-save.ts'
import { parseJson } from '../lib/parse-json.ts'
import { sanitise, sanitiseLine } from '../output/sanitise.ts'
import { shownSize } from './format-value.ts'
import { wholeNumber } from './option-values.ts'
import { note, printJson, printText, table, type Globals } from './print.ts'
import {
  outputOfOwner,
  runAsOwner,
  stateFolderOf,
  strangerOwning,
  type StateOwner,
} from './state-owner.ts'
import { shownTime } from './shown-time.ts'
import { failedExitCode, verb } from './verb.ts'
import type { ResumeFlags } from './evidence-resume.ts'
import { openStoredCaptures, verifyParts, type WritableCaptures } from './stored-captures.ts'
import { isEmptyFile, writeParts } from './write-parts.ts'

/** `mayfly evidence …`: reads stored captures without a server, and changes nothing. */
export function register(program: Command): void {
  const evidence = program
    .command('evidence')
    .description('stored captures of runs')
    .addHelpText('after', examples)
  const add = (name: string, about: string) =>
    evidence
      .command(name)
      .description(about)
      .argument('<id>', 'id of an execution, or name of a capture')
  evidence
    .command('list')
    .description('list captures, newest first')
    .option('--limit <n>', 'maximum of captures', wholeNumber(limitMax), 50)
    .action(verb(asOwner(list)))
  add('show', 'show captures, with the digest of each part').action(verb(asOwner(show)))
  add('verify', 'compare stored captures with the digests in the record; exits 0 or 1').action(
    verb(asOwner(verify)),
  )
  add('search', 'search captures for a text in UTF-8 and UTF-16; exits 1 without a match')
    .argument('<text>', 'text to search for')
    .option('--part <name>', 'one part only, as named by "show"')
    .option('--limit <n>', 'maximum of matches', wholeNumber(limitMax), 100)
    .action(verb(asOwner(search)))
  add('extract', 'write parts to files after their digests are verified')
    .argument('<folder>', 'output folder, created if missing; - writes one part to stdout')
    .option('--part <name>', 'one part only, as named by "show"')
    .action(verb(extract))
  add('resume', 'resume a virtual machine from a capture, in quarantine: its shell, no network')
    .option('--exec <command>', 'run a command in its shell, then end it; repeatable', repeated, [])
    .option('--for <duration>', 'life of the machine', '10m')
    .option('--capture <name>', 'capture to resume; default: the newest that has a save')
    .option('--thaw', 'let the programs of the job go on')
    .action(verb(resumed))
}

const examples = `
Examples:
  mayfly evidence list
  mayfly evidence search exec_0193… 'BEGIN PRIVATE KEY'
  mayfly evidence extract exec_0193… found
  mayfly evidence extract exec_0193… - --part capture-1767225600000/memory.bin | strings
  mayfly evidence resume exec_0193… --exec ps --exec 'ls -l /tmp'`

interface Flags extends Globals {
  readonly limit?: number
  readonly part?: string
}

const limitMax = 1000

/** Runs the command as the owner of the state folder, if this process is root and the folder is not. */
function asOwner(run: (flags: Flags, id: string, text: string) => Promise<void>) {
  return async (flags: Flags, id: string, text: string): Promise<void> => {
    const state = stateFolderOf(flags)
    const owner = strangerOwning(state)
    if (owner) runAsOwner(owner, { state })
    else await run(flags, id, text)
  }
}

const repeated = (next: string, before: readonly string[]) => [...before, next]

async function resumed(flags: ResumeFlags, id: string): Promise<void> {
  const { resumeCapture } = await import('./evidence-resume.ts')
  await resumeCapture(flags, id)
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
    return [run, tenant, name, shownTime(at), kind, shownSize(size)]
  })
  printText(table([head, ...rows]))
}

async function show(flags: Flags, id: string): Promise<void> {
  using stored = await openStoredCaptures(flags)
  const captures = await stored.of(id)
  if (flags.json) return printJson({ id, captures })
  const lines = captures.flatMap((capture) => {
    const { name, at, kind, why, parts } = capture
    const base = baseNameOf(capture)
    const image = imageOf(capture)
    return [
      `${name}  ${shownTime(at)}  ${kind}${why === undefined ? '' : `, ${sanitiseLine(why)}`}`,
      ...parts.map(partLine),
      ...(base === undefined ? [] : [`  ${base}  memory of its template`]),
      ...(image === undefined ? [] : [`  ${image}  made by extract --part`]),
      ...(isResumable(capture) ? [`  resumable  by evidence resume --capture ${name}`] : []),
    ]
  })
  printText(lines.join('\n'))
}

function partLine({ name, size, sha256, trust }: CapturedPart): string {
  const note = trust === undefined ? '' : '  (reported by the guest, untrusted)'
  return `  ${name}  ${shownSize(size)}  sha256:${sha256}${note}`
}

async function verify(flags: Flags, id: string): Promise<void> {
  using stored = await openStoredCaptures(flags, true)
  const verified = await verifyParts(stored, flags, id)
  if (verified.some(({ ok }) => !ok)) process.exitCode = failedExitCode
  if (flags.json) return printJson({ id, parts: verified })
  const lines = verified.map(({ name, ok, why }) => (ok ? `ok: ${name}` : `bad: ${name}: ${why}`))
  printText(lines.join('\n'))
}

async function extract(flags: Flags, id: string, folder: string): Promise<void> {
  const state = stateFolderOf(flags)
  const owner = strangerOwning(state)
  if (folder === '-' && owner) return runAsOwner(owner, { state })
  if (folder === '-') return print(flags, id)
  using stored = owner ? ownersCaptures(owner, state) : await openStoredCaptures(flags)
  const parts = await wantedParts(stored, flags, id)
  const written = await writeParts(folder, parts, (name, out) => stored.write(id, name, out))
  if (flags.json) return printJson({ id, written })
  for (const path of written) printText(path)
}

/** Searches all parts; for a part named `*.zst`, offsets are those of the decompressed bytes. */
async function search(flags: Flags, id: string, text: string): Promise<void> {
  using stored = await openStoredCaptures(flags)
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
  printText(table([['part', 'offset', 'encoding', ''], ...rows]))
  if (isCut) note(flags, `More matches exist: --limit is ${flags.limit}`)
}

async function wantedParts(
  stored: Pick<WritableCaptures, 'of'>,
  { part }: Flags,
  id: string,
): Promise<readonly Pick<CapturedPart, 'name'>[]> {
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
  const { stdout } = process
  if (isEmptyFile(stdout.fd)) return await stored.write(id, name, stdout.fd)
  // Bytes of a guest could change the state of a terminal.
  const shown = (piece: Uint8Array) =>
    stdout.isTTY ? sanitise(Buffer.from(piece).toString()) : piece
  for await (const piece of stored.read(id, name))
    if (!stdout.write(shown(piece))) await once(stdout, 'drain')
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
