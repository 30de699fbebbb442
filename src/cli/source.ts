import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { MayflyError } from '../contract/error.ts'
import type { Language } from '../contract/job.ts'

const languageOfExtension: Readonly<Record<string, Language>> = {
  '.ts': 'ts',
  '.mts': 'ts',
  '.py': 'python',
  '.sh': 'sh',
  '.wasm': 'wasm',
}

/** What a file's name says; a `.js` file may be `js` or `node`: analysis decides. */
export function languageOf(file: string): Language | undefined {
  return languageOfExtension[path.extname(file)]
}

/** The code of a file as a job has it; `-` reads it from stdin. Throws MayflyError USAGE. */
export async function readSource(file: string, language: Language | undefined): Promise<string> {
  const bytes = file === '-' ? await readAll(process.stdin) : await readBytes(file)
  if (language === 'wasm') return bytes.toString('base64')
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
