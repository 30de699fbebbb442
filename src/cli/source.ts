import {
  closeSync,
  constants,
  createReadStream,
  fstatSync,
  openSync,
  readSync,
  statSync,
} from 'node:fs'
import { basename } from 'node:path'
import type { Readable } from 'node:stream'
import { MayflyError } from '../contract/error.ts'
import type { Language } from '../contract/job.ts'
import { languageOfName, unknownLanguage, type NamedLanguage } from '../contract/language-words.ts'
import { interpreterOf, languageOfShebang } from '../contract/shebang.ts'
import { asOwner } from '../lib/owner-files.ts'
import { sanitise } from '../output/sanitise.ts'

/** Same as the limit of all files of a job. */
const BYTES_MAX = 64 * 2 ** 20

export interface ProgramSource {
  readonly code: string
  /** Undefined: analysis decides. */
  readonly language: Language | undefined
}

/**
 * Reads a program, `-` from stdin. The suffix tells its language, and the shebang where the suffix is `.sh` or tells none.
 * Throws MayflyError USAGE, also for a suffix of another language.
 */
export async function readProgram(
  file: string,
  asked: Language | undefined,
): Promise<ProgramSource> {
  const bytes =
    file === '-' ? await readAll(process.stdin, 'standard input') : await readBytes(file)
  const named = languageOfName(file)
  if ((asked ?? suffixLanguage(named)) === 'wasm')
    return { code: bytes.toString('base64'), language: 'wasm' }
  const code = sourceTextOf(bytes, file)
  return { code, language: asked ?? languageIn(code, file, named) }
}

function languageIn(code: string, file: string, named: NamedLanguage): Language | undefined {
  const language = suffixLanguage(named)
  if (named.kind === 'script' || (language !== undefined && language !== 'sh')) return language
  const interpreter = interpreterOf(code)
  const told = languageOfShebang(code)
  if (told !== undefined) return told
  if (named.kind === 'unknown') {
    const { why, hint } = unknownLanguage(file, named, byFlag)
    throw new MayflyError('USAGE', `Cannot run "${file}": ${why}`, { hint })
  }
  if (interpreter === undefined) return language
  throw new MayflyError(
    'USAGE',
    `Cannot run "${file}": its shebang names "${sanitise(interpreter)}", which is no supported language`,
    { hint: 'Name the language, such as --language bash' },
  )
}

const byFlag = {
  by: '--language',
  run: (script: string, file: string) =>
    `With its tool on this machine: echo '${script}' | mayfly run - --language bash --file ${besideScript(file)}`,
}

/** Value of `--file` that puts the file into the working folder; a name that a shell would read otherwise is left out. */
function besideScript(file: string): string {
  const base = basename(file)
  if (!/^[\w./+-]+$/.test(file)) return 'FILE'
  return base === file ? file : `${file}=${base}`
}

const suffixLanguage = (named: NamedLanguage): Language | undefined =>
  named.kind === 'known' ? named.language : undefined

export const isScriptName = (file: string): boolean => languageOfName(file).kind === 'script'

/** Throws MayflyError USAGE. */
export function sourceTextOf(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new MayflyError('USAGE', `Cannot read "${file}": it is not UTF-8 text`, { cause })
  }
}

/**
 * Reads a file, pipe or device up to the bound: a source may be `/dev/fd/63`, and `/dev/zero` has no end. Throws
 * MayflyError USAGE.
 */
export async function readBytes(file: string): Promise<Buffer> {
  try {
    const facts = asOwner(file, (at) => statSync(at))
    if (facts.isDirectory()) throw new MayflyError('USAGE', `Cannot read "${file}": it is a folder`)
    if (facts.size > BYTES_MAX) throw tooLarge(file)
    const bytes = facts.isFile() && facts.size > 0 ? readPlain(file) : undefined
    return bytes ?? (await readAll(createReadStream(file), file))
  } catch (cause) {
    if (cause instanceof MayflyError) throw cause
    const { unreadable } = await import('./unreadable.ts')
    throw unreadable(file, cause)
  }
}

/**
 * Reads a regular file synchronously, without the thread pool of a stream. Undefined if it is not a regular file, or if its
 * length differs from fstat(2), as while it is written.
 */
function readPlain(file: string): Buffer | undefined {
  const fd = asOwner(file, (at) => openSync(at, constants.O_RDONLY | constants.O_NONBLOCK))
  try {
    const facts = fstatSync(fd)
    if (!facts.isFile() || facts.size > BYTES_MAX) return undefined
    // Buffer of st_size + 1 bytes, to detect growth.
    const bytes = Buffer.allocUnsafe(facts.size + 1)
    let length = 0
    for (let read = -1; read !== 0 && length < bytes.length; length += read)
      read = readSync(fd, bytes, length, bytes.length - length, null)
    return length === facts.size ? bytes.subarray(0, length) : undefined
  } finally {
    closeSync(fd)
  }
}

async function readAll(stream: Readable, name: string): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of stream) {
    bytes += (chunk as Uint8Array).length
    if (bytes > BYTES_MAX) throw tooLarge(name)
    chunks.push(Buffer.from(chunk as Uint8Array))
  }
  return Buffer.concat(chunks)
}

function tooLarge(name: string): MayflyError {
  return new MayflyError(
    'USAGE',
    `Cannot read "${name}": it is larger than ${BYTES_MAX / 2 ** 20} MiB`,
  )
}
