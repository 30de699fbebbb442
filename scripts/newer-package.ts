import { globSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { cp, rename } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
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

/** Program with its libraries and data, which runs beside an older system by the loader of its own packages. */
export interface NewerTree {
  readonly packages: readonly string[]
  readonly suite: string
  /** Globs of files in the packages, by the folder that they come into. */
  readonly files: Readonly<Record<string, string>>
  /** Folder on this machine. */
  readonly to: string
}

/**
 * Fetches packages with lists, state and cache of their own, unpacks them and copies what is wanted: nothing of the system
 * is upgraded, and apt's own lists stay as they are. The address is that of the machine's own sources. False where it
 * cannot be had.
 */
export async function unpackNewer(wanted: NewerProgram | NewerTree): Promise<boolean> {
  const { suite, to } = wanted
  const packages = 'file' in wanted ? [wanted.name] : wanted.packages
  const draft = `${to}.new`
  return await withUnpacked(suite, packages, async (unpacked) => {
    rmSync(draft, { recursive: true, force: true })
    if ('file' in wanted) {
      mkdirSync(dirname(to), { recursive: true })
      await cp(join(unpacked, wanted.file), draft)
    } else {
      await copyFiles(wanted, unpacked, draft)
      rmSync(to, { recursive: true, force: true })
    }
    // A wall that starts meanwhile finds the old program or the new one.
    await rename(draft, to)
  })
}

async function copyFiles({ files }: NewerTree, unpacked: string, into: string): Promise<void> {
  for (const [folder, pattern] of Object.entries(files)) {
    mkdirSync(join(into, folder), { recursive: true })
    for (const file of globSync(pattern, { cwd: unpacked }))
      await cp(join(unpacked, file), join(into, folder, basename(file)), {
        recursive: true,
        verbatimSymlinks: true,
      })
  }
}

async function withUnpacked(
  suite: string,
  packages: readonly string[],
  use: (unpacked: string) => Promise<void>,
): Promise<boolean> {
  const source = ownSource()
  if (!source) return false
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-apt-'))
  const own = { ...here, folder }
  try {
    const get = ['apt-get', '-qq', ...emptyLists(folder, source, suite)]
    if (!(await runProgram(own, [...get, 'update']))) return false
    if (!(await runProgram(own, [...get, 'download', ...packages]))) return false
    const archives = readdirSync(folder).filter((one) => one.endsWith('.deb'))
    if (archives.length < packages.length) return false
    for (const archive of archives)
      if (!(await runProgram(own, ['dpkg-deb', '-x', archive, 'unpacked']))) return false
    await use(join(folder, 'unpacked'))
    return true
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Makes lists, state and cache for a suite in FOLDER; returns the options of apt-get and apt-cache for them. */
export function emptyLists(
  folder: string,
  { address, key }: AptSource,
  suite: string,
): readonly string[] {
  for (const place of ['lists/partial', 'cache/archives/partial', 'state'])
    mkdirSync(join(folder, place), { recursive: true })
  const signed = key ? `Signed-By: ${key}\n` : ''
  const text = `Types: deb\nURIs: ${address}\nSuites: ${suite}\nComponents: main\n${signed}`
  writeFileSync(join(folder, 'status'), '')
  writeFileSync(join(folder, 'newer.sources'), text)
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
