import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { here, runProgram } from './place.ts'
import { nothingCounted, type Counts } from './counts.ts'
import { unpackNewer, type NewerProgram } from './newer-package.ts'

/** Program on the path, or folder of a package. */
interface Needed {
  readonly name: string
  readonly program?: string
  readonly folder?: string
  readonly for: string
}

/** Packages beyond npm for walls, browser tests and completion tests. */
const needed: readonly Needed[] = [
  { name: 'util-linux', program: 'setpriv', for: 'the jail of every worker' },
  { name: 'util-linux', program: 'unshare', for: 'the jail of every worker' },
  { name: 'bubblewrap', program: 'bwrap', for: 'the process tier' },
  { name: 'gcc libc6-dev', program: 'cc', for: 'the sentinel of the process tier' },
  { name: 'python3', program: 'python3', for: 'programs in Python' },
  ...[
    ['numpy', 'numpy'],
    ['pandas', 'pandas'],
    ['matplotlib', 'matplotlib'],
    ['pil', 'PIL'],
    ['requests', 'requests'],
  ].map(([name, module]) => ({
    name: `python3-${name}`,
    folder: `/usr/lib/python3/dist-packages/${module}`,
    for: 'tests of Python programs',
  })),
  { name: 'chromium', program: 'chromium', for: 'the browser tests' },
  { name: 'zsh', program: 'zsh', for: 'the completion tests' },
  { name: 'fish', program: 'fish', for: 'the completion tests' },
]

/** Older suites have a release that cannot run without ptrace; later ones crash in one start of four. */
const runsc: NewerProgram = {
  name: 'runsc',
  suite: 'trixie',
  file: 'usr/bin/runsc',
  to: '/usr/local/lib/mayfly/runsc',
}

/**
 * Installs missing packages if possible: as root or with passwordless sudo, and apt-get. Otherwise lists them, and
 * dependent tests are skipped with a reason; with `CI=true` each missing package is a failure.
 */
export async function installDebianPackages(): Promise<Counts> {
  const missing = needed.filter((one) => !isThere(one))
  if (missing.length > 0) await install([...new Set(missing.map((one) => one.name))])
  const isWithoutRunsc = !isOnPath('runsc') && !existsSync(runsc.to) && !(await installRunsc())
  const still = needed.filter((one) => !isThere(one))
  for (const { name, program, folder, for: why } of still)
    console.log(`Missing: "${program ?? folder}" for ${why}: apt-get install ${name}`)
  if (process.env['CI'] !== 'true') return nothingCounted
  const failed = still.length + (isWithoutRunsc && mayInstallRunsc() ? 1 : 0)
  return { ...nothingCounted, failed }
}

async function install(names: readonly string[]): Promise<void> {
  const asRoot = await rootCommand()
  if (!asRoot || !isOnPath('apt-get')) return
  console.log(`Installing ${names.join(', ')}`)
  const get = [...asRoot, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-qq']
  await runProgram(here, [...get, 'update'])
  const packages = names.flatMap((name) => name.split(' '))
  await runProgram(here, [...get, 'install', '-y', '--no-install-recommends', ...packages])
}

async function installRunsc(): Promise<boolean> {
  if (mayInstallRunsc() && (await unpackNewer(runsc))) return true
  console.log(`Missing: "runsc" for the gvisor tier: install runsc of Debian 13 (${runsc.suite})`)
  return false
}

/** True where this run may put it beside the system, as root alone. Elsewhere the tests of that tier are skipped. */
export function mayInstallRunsc(): boolean {
  return process.getuid?.() === 0 && isOnPath('apt-get')
}

async function rootCommand(): Promise<readonly string[] | undefined> {
  if (process.getuid?.() === 0) return []
  const sudo = ['sudo', '-n']
  return isOnPath('sudo') && (await runProgram(here, [...sudo, 'true'])) ? sudo : undefined
}

function isThere({ program, folder }: Needed): boolean {
  return program === undefined ? existsSync(folder ?? '') : isOnPath(program)
}

function isOnPath(program: string): boolean {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin']
  return folders.some((folder) => isExecutable(join(folder, program)))
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
