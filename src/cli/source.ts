import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { MayflyError } from '../contract/error.ts'
import type { Language } from '../contract/job.ts'
import { interpreterOf, languageOfShebang } from '../contract/shebang.ts'
import { sanitise } from '../output/sanitise.ts'

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
  const bytes = file === '-' ? await readAll(process.stdin) : await readBytes(file)
  const named = asked ?? languageOfExtension[path.extname(file)]
  if (named === 'wasm') return { code: bytes.toString('base64'), language: named }
  const code = textOf(bytes, file)
  const language = asked ?? languageIn(code, file, named)
  return { code, language }
}

function languageIn(code: string, file: string, named: Language | undefined): Language | undefined {
  const isOpen =
    named === 'sh' ||
    (named === undefined && !path.extname(file).match(/^\.(?:[cm]?[jt]s|[jt]sx)$/))
  const interpreter = isOpen ? interpreterOf(code) : undefined
  if (interpreter === undefined) return named
  const language = languageOfShebang(code)
  if (language !== undefined) return language
  throw new MayflyError(
    'USAGE',
    `Cannot run "${file}": its first line asks for "${sanitise(interpreter)}", which no language here is`,
    { hint: 'Name the language that it is in, such as --language bash' },
  )
}

/** Throws MayflyError USAGE. */
function textOf(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new MayflyError('USAGE', `Cannot read "${file}": it is not UTF-8 text`, { cause })
  }
}

/** Throws MayflyError USAGE. */
export async function readBytes(file: string): Promise<Buffer> {
  try {
    return await readFile(file)
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unreadable'
    throw new MayflyError('USAGE', `Cannot read "${file}": ${code}`, { cause })
  }
}

async function readAll(stream: NodeJS.ReadStream): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(Buffer.from(chunk as Uint8Array))
  return Buffer.concat(chunks)
}
