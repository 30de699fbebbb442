import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { CapturedPart } from '../contract/evidence.ts'

/**
 * Writes each part to its own file (mode 0600) below a folder; returns the paths. A file appears only once its part
 * is read and verified; existing files stay. Throws MayflyError.
 */
export async function writeParts(
  folder: string,
  parts: readonly CapturedPart[],
  write: (name: string, out: number) => Promise<void>,
): Promise<readonly string[]> {
  const written: string[] = []
  for (const { name } of parts) {
    const path = join(folder, name)
    await writeOne(path, (out) => write(name, out))
    written.push(path)
  }
  return written
}

async function writeOne(path: string, write: (out: number) => Promise<void>): Promise<void> {
  if (existsSync(path)) throw cannot(path, 'it is there already')
  const draft = `${path}.${process.pid}.tmp`
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    const out = openSync(draft, 'wx', 0o600)
    try {
      await write(out)
      fsyncSync(out)
    } finally {
      closeSync(out)
    }
    renameSync(draft, path)
  } catch (thrown) {
    rmSync(draft, { force: true })
    throw thrown instanceof MayflyError ? thrown : cannot(path, messageOf(thrown))
  }
}

function cannot(path: string, why: string): MayflyError {
  return new MayflyError('STATE', `Cannot write "${path}": ${why}`)
}
