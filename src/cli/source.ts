import {
  closeSync,
  constants,
  createReadStream,
  fstatSync,
  openSync,
  readSync,
  statSync,
} from 'node:fs'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { MayflyError } from '../contract/error.ts'
import type { Language } from '../contract/job.ts'
import { interpreterOf, languageOfShebang } from '../contract/shebang.ts'
import { sanitise } from '../output/sanitise.ts'

/** Same as the limit of all files of a job. */
const BYTES_MAX = 64 * 2 ** 20

/** Language by file extension; for JavaScript and TypeScript, analysis chooses between Node and isolate. */
export const languageOfExtension: Readonly<Record<string, Language | undefined>> = {
  '.py': 'python',
  '.sh': 'sh',
  '.bash': 'bash',
  '.wasm': 'wasm',
}

export interface ProgramSource {
  readonly code: string
  /** Undefined: analysis decides. */
  readonly language: Language | undefined
}

/**
 * Reads a program, `-` from stdin. For `.sh` files and unknown extensions, the shebang decides. Throws MayflyError
 * USAGE.
 */
export async function readProgram(
  file: string,
  asked: Language | undefined,
): Promise<ProgramSource> {
  const bytes =
    file === '-' ? await readAll(process.stdin, 'standard input') : await readBytes(file)
  const named = asked ?? languageOfExtension[path.extname(file)]
  if (named === 'wasm') return { code: bytes.toString('base64'), language: named }
  const code = sourceTextOf(bytes, file)
  const language = asked ?? languageIn(code, file, named)
  return { code, language }
}

function languageIn(code: string, file: string, named: Language | undefined): Language | undefined {
  const isOpen = named === 'sh' || (named === undefined && !isScriptName(file))
  const interpreter = isOpen ? interpreterOf(code) : undefined
  if (interpreter === undefined) return named
  const language = languageOfShebang(code)
  if (language !== undefined) return language
  throw new MayflyError(
    'USAGE',
    `Cannot run "${file}": its shebang names "${sanitise(interpreter)}", which is no supported language`,
    { hint: 'Name the language, such as --language bash' },
  )
}

export const isScriptName = (file: string): boolean =>
  /^\.(?:[cm]?[jt]s|[jt]sx)$/.test(path.extname(file))

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
    const facts = statSync(file)
    if (facts.isDirectory()) throw new MayflyError('USAGE', `Cannot read "${file}": it is a folder`)
    if (facts.size > BYTES_MAX) throw tooLarge(file)
    const bytes = facts.isFile() && facts.size > 0 ? readPlain(file) : undefined
    return bytes ?? (await readAll(createReadStream(file), file))
  } catch (cause) {
    if (cause instanceof MayflyError) throw cause
    const code = (cause as NodeJS.ErrnoException).code ?? 'unreadable'
    throw new MayflyError('USAGE', `Cannot read "${file}": ${code}`, { cause })
  }
}

/**
 * Reads a regular file synchronously, without the thread pool of a stream. Undefined if it is not a regular file, or if its
 * length differs from fstat(2), as while it is written.
 */
function readPlain(file: string): Buffer | undefined {
  const fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK)
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
