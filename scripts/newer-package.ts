import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { cp, rename } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
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

const SOURCES = '/etc/apt'

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

interface Source {
  readonly address: string
  readonly key: string | undefined
}

function sourceFor({ address, key }: Source, suite: string): string {
  const signed = key ? `Signed-By: ${key}\n` : ''
  return `Types: deb\nURIs: ${address}\nSuites: ${suite}\nComponents: main\n${signed}`
}

function optionsOf(folder: string): readonly string[] {
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

/** The mirror of the distribution itself: a path that ends with its name, and not that of security updates. */
function ownSource(): Source | undefined {
  for (const text of sourceTexts()) {
    const address = /\b(https?:\/\/\S+\/debian)\/?(?=\s|$)/m.exec(text)?.[1]
    if (address) return { address, key: /^Signed-By:\s*(\S+)/m.exec(text)?.[1] }
  }
  return undefined
}

/** Stanzas of the `.sources` files, and lines of the older lists. */
function sourceTexts(): readonly string[] {
  const parts = join(SOURCES, 'sources.list.d')
  const files = [
    ...(existsSync(parts) ? readdirSync(parts).map((name) => join(parts, name)) : []),
    join(SOURCES, 'sources.list'),
  ]
  return files
    .filter((place) => /\.(list|sources)$/.test(place) && existsSync(place))
    .flatMap((place) =>
      readFileSync(place, 'utf8').split(place.endsWith('.list') ? '\n' : /\n\s*\n/),
    )
    .filter((text) => !/^\s*#/.test(text) || text.includes('\n'))
}
