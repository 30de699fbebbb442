import { readFile, readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { JobFile } from '../contract/job.ts'

const FILES_MAX = 2000

/** `PATH`, or `PATH=NAME` to give it another place in the job; a folder brings all it holds. */
export async function jobFiles(given: string): Promise<JobFile[]> {
  const [from = '', as] = given.split('=', 2)
  const place =
    as ??
    (path.isAbsolute(from) || from.startsWith('..') ? path.basename(from) : path.normalize(from))
  try {
    const found = (await stat(from)).isDirectory() ? await below(from, place) : [{ from, place }]
    if (found.length > FILES_MAX) throw new Error(`it holds more than ${FILES_MAX} files`)
    return await Promise.all(found.map(read))
  } catch (cause) {
    throw new MayflyError('USAGE', `Cannot bring "${from}": ${messageOf(cause)}`, { cause })
  }
}

async function below(folder: string, place: string): Promise<{ from: string; place: string }[]> {
  const names = await readdir(folder, { withFileTypes: true, recursive: true })
  return names
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .map((from) => ({ from, place: path.join(place, path.relative(folder, from)) }))
}

async function read(file: { from: string; place: string }): Promise<JobFile> {
  const bytes = await readFile(file.from)
  const text = bytes.toString()
  return Buffer.from(text).equals(bytes)
    ? { path: file.place, content: text, encoding: 'utf8' }
    : { path: file.place, content: bytes.toString('base64'), encoding: 'base64' }
}
