import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { cp, rename } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { ownSource, type AptSource } from '../src/images/apt-source.ts'
import { here, runProgram } from './place.ts'

/** Program of a package, taken from a later suite of this machine's own distribution. */
export interface NewerProgram {
  readonly name: string
  readonly suite: string
  /** Path inside the package. */
  readonly file: string
  /** Path on this machine. */
  readonly to: string
}

/**
 * Fetches a package with lists, state and cache of its own, unpacks it and copies the one program: nothing of the system
 * is upgraded, and apt's own lists stay as they are. The address is that of the machine's own sources. False where it
 * cannot be had.
 */
export async function unpackNewer({ name, suite, file, to }: NewerProgram): Promise<boolean> {
  const source = ownSource()
  if (!source) return false
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-apt-'))
  const own = { ...here, folder }
  try {
    for (const place of ['lists/partial', 'cache/archives/partial', 'state'])
      mkdirSync(join(folder, place), { recursive: true })
    writeFileSync(join(folder, 'status'), '')
    writeFileSync(join(folder, 'newer.sources'), sourceFor(source, suite))
    const get = ['apt-get', '-qq', ...optionsOf(folder)]
    if (!(await runProgram(own, [...get, 'update']))) return false
    if (!(await runProgram(own, [...get, 'download', name]))) return false
    const archive = readdirSync(folder).find((one) => one.endsWith('.deb'))
    if (!archive || !(await runProgram(own, ['dpkg-deb', '-x', archive, 'unpacked']))) return false
    mkdirSync(dirname(to), { recursive: true })
    // Renamed into place: a wall that starts meanwhile finds the old program or the new one.
    await cp(join(folder, 'unpacked', file), `${to}.new`)
    await rename(`${to}.new`, to)
    return true
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Text of a `.sources` file for a suite. */
export function sourceFor({ address, key }: AptSource, suite: string): string {
  const signed = key ? `Signed-By: ${key}\n` : ''
  return `Types: deb\nURIs: ${address}\nSuites: ${suite}\nComponents: main\n${signed}`
}

/** Options of apt-get and apt-cache for lists, state and cache of their own. */
export function optionsOf(folder: string): readonly string[] {
  const options = {
    'Dir::Etc::sourcelist': join(folder, 'newer.sources'),
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::State': join(folder, 'state'),
    'Dir::State::lists': join(folder, 'lists'),
    'Dir::State::status': join(folder, 'status'),
    'Dir::Cache': join(folder, 'cache'),
    'APT::Sandbox::User': 'root',
    'Acquire::Languages': 'none',
  }
  return Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`])
}
