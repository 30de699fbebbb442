import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { here, type Place, runProgram, withOwnPrograms } from './place.ts'

export interface OrdinaryUser extends AsyncDisposable {
  readonly place: Place
  /**
   * Processes of this user still alive after two seconds, and after another start of Mayfly, which sweeps what a
   * launcher without warden left.
   */
  leftovers(): Promise<readonly string[]>
}

/** Neither `nobody`, which system daemons have, nor 12345, which tests as root become: both would be counted. */
const uidMin = 12_400
const notCopied = new Set(['.git', 'coverage', '.cache'])
/** The last ones are the way to a registry that stands behind a proxy with an authority of its own. */
const keptEnv =
  'CI LANG NO_COLOR MAYFLY_CONTRACTS PATH npm_config_registry NODE_EXTRA_CA_CERTS npm_config_cafile'
    .concat(' HTTPS_PROXY HTTP_PROXY NO_PROXY')
    .split(' ')
const leftoverMsMax = 2000

/** Unprivileged uid without a name, with its own copy of the checkout, home and TMPDIR. */
export async function ordinaryUser(): Promise<OrdinaryUser> {
  const uid = freeUid()
  const base = mkdtempSync(join(tmpdir(), 'mayfly-user-'))
  const folder = join(base, 'checkout')
  for (const name of ['checkout', 'home', 'tmp']) mkdirSync(join(base, name))
  chmodSync(base, 0o755)
  const entries = readdirSync(here.folder).filter((name) => !notCopied.has(name))
  await mustRun('cp', '-a', '--reflink=auto', '--', ...entries, folder)
  await mustRun('chown', '-R', `${uid}:${uid}`, base)
  const env = withOwnPrograms(envOf(base), folder)
  const place: Place = { folder, uid, become: becoming(uid), env }
  return {
    place,
    async leftovers() {
      if ((await leftoversOf(uid)).length === 0) return []
      await runProgram(place, ['node', 'bin/mayfly.js', 'providers', '--json'])
      return await leftoversOf(uid)
    },
    async [Symbol.asyncDispose]() {
      for (const { pid } of processesOf(uid)) process.kill(pid, 'SIGKILL')
      await sleep(100)
      rmSync(base, { recursive: true, force: true })
    },
  }
}

function becoming(uid: number): readonly string[] {
  return ['setpriv', '--reuid', `${uid}`, '--regid', `${uid}`, '--clear-groups', '--']
}

function envOf(base: string): Place['env'] {
  const kept = keptEnv.map((name) => [name, process.env[name]] as const)
  return {
    ...Object.fromEntries(kept.filter(([, value]) => value !== undefined)),
    HOME: join(base, 'home'),
    TMPDIR: join(base, 'tmp'),
  }
}

async function mustRun(...command: readonly string[]): Promise<void> {
  if (!(await runProgram(here, command))) throw new Error(`Cannot run "${command[0]}"`)
}

function freeUid(): number {
  let uid = uidMin
  while (processesOf(uid).length > 0) uid += 1
  return uid
}

async function leftoversOf(uid: number): Promise<readonly string[]> {
  const end = performance.now() + leftoverMsMax
  while (processesOf(uid).length > 0 && performance.now() < end) await sleep(50)
  return processesOf(uid).map(({ pid, command }) => `${pid} ${command}`)
}

function processesOf(uid: number): readonly { readonly pid: number; readonly command: string }[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return pids.flatMap((pid) => {
    try {
      // An undumpable process has a root-owned /proc folder; the Uid line is always correct.
      if (!readFileSync(`/proc/${pid}/status`, 'utf8').includes(`\nUid:\t${uid}\t`)) return []
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
      return [{ pid: Number(pid), command }]
    } catch {
      return []
    }
  })
}
