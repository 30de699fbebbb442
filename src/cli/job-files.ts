import { access, constants, mkdir, readFile, readdir, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { JobFile } from '../contract/job.ts'
import type { Artifact } from '../contract/outcome.ts'

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

/** Where artifacts will go, before anything runs. Throws MayflyError USAGE when nothing can be written there. */
export async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true })
    await access(folder, constants.W_OK)
  } catch (cause) {
    const { code = 'unreachable' } = cause as NodeJS.ErrnoException
    throw new MayflyError('USAGE', `Cannot write artifacts to "${folder}": ${code}`, {
      cause,
      hint: 'Name a folder that whoever runs Mayfly may write; started by root it gives its rights up first',
    })
  }
}

/** Writes what a job made below `folder`; its paths were checked at the gate and are checked again here. */
export async function saveArtifacts(artifacts: readonly Artifact[], folder: string): Promise<void> {
  const root = path.resolve(folder)
  for (const { path: place, content } of artifacts) {
    const file = path.resolve(root, place)
    if (!file.startsWith(root + path.sep) || content === undefined) continue
    await mkdir(path.dirname(file), { recursive: true })
    await writeFile(file, Buffer.from(content, 'base64'), { flag: 'wx' })
  }
}
