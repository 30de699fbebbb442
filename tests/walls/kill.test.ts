import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { findJailFacts } from '../../src/jail/facts.ts'
import { leaseFolder } from '../../src/lib/state-folder.ts'
import { isAlive, processFacts } from '../../src/os/proc.ts'
import { seeded } from '../../src/tiers/mock/seeded.ts'
import { holdWarden } from '../../src/assemble/local-warden.ts'
import { descendantsOf } from '../conformance/remains.ts'
import { until } from '../conformance/stand.ts'
import { test } from '../fixtures/drawn.ts'
import { emptyGroups } from './groups.ts'

/**
 * SIGKILL at random moments to a worker, to the warden, to the application: within two seconds no process is left, and
 * after the next start on the same state folder no lease and no control group.
 */
const seed = Number(process.env['MAYFLY_SEED'] ?? Date.now() % 2 ** 31)
const rounds = process.env['MAYFLY_LONG'] ? 100 : 9
const victims = ['a worker', 'the warden', 'the application'] as const
const program = join(import.meta.dirname, 'fixtures/library.ts')
const goneMsMax = 30_000
const waitMsMax = 700

suite('Kills at random moments leave nothing', { skip: unable() }, () => {
  const random = seeded(seed)
  for (let round = 0; round < rounds; round++) {
    const victim = victims[round % victims.length]!
    const waitMs = Math.floor(random() * waitMsMax)
    const choice = random()
    test(`${victim}, after ${waitMs} ms (round ${round + 1})`, async (t) => {
      t.diagnostic(`MAYFLY_SEED=${seed}`)
      using application = new Application()
      await until(() => application.warden !== undefined, 'the warden')
      await sleep(waitMs)
      const before = application.processes()
      if (victim === 'a worker') await killWorker(application, choice)
      else kill(victim === 'the warden' ? application.warden! : application.pid)
      if (victim === 'the warden') await lostAndEnded(application)
      await allGone(new Set([...before, ...application.processes()]), application)
    })
  }

  for (const hidden of ['setpriv', 'namespaces', 'root'])
    test(`the warden, without "${hidden}"`, async () => {
      using application = new Application([hidden])
      await until(() => application.jobs > 3, 'jobs')
      const before = application.processes()
      kill(application.warden!)
      await lostAndEnded(application)
      await allGone(new Set([...before, ...application.processes()]), application)
    })
})

/** Asserts that the application continues with another worker, and then ends like the others. */
async function killWorker(application: Application, choice: number): Promise<void> {
  const workers = descendantsOf(application.warden!).filter(
    (pid) => descendantsOf(pid).length === 0,
  )
  const worker = workers[Math.floor(choice * workers.length)]
  if (worker !== undefined) kill(worker)
  const { jobs } = application
  await until(() => application.jobs > jobs + 3, 'jobs after the loss of a worker')
  application.seeAgain()
  kill(application.pid)
}

/** Asserts that without a warden jobs are refused, and that the application can exit. */
async function lostAndEnded(application: Application): Promise<void> {
  await until(() => application.lost > 0, 'a job that is refused')
  kill(application.pid)
}

async function allGone(pids: ReadonlySet<string>, application: Application): Promise<void> {
  const left = () => [...pids].filter(isStillThere)
  await until(() => left().length === 0, 'the end of all processes', goneMsMax).catch(() => {})
  assert.deepEqual(left(), [], 'processes are left')
  const groupsBefore = new Set(emptyGroups())
  const next = holdWarden({ stateFolder: application.state })
  await next.close()
  assert.deepEqual(readdirSync(leaseFolder(application.state)), [], 'leases are left')
  const groups = emptyGroups().filter((group) => application.walls.some((id) => group.endsWith(id)))
  assert.deepEqual(groups, [], `groups are left (${groupsBefore.size} before)`)
}

class Application {
  readonly folder = mkdtempSync(join(tmpdir(), 'mayfly-kill-'))
  readonly state = join(this.folder, 'state')
  readonly walls: string[] = []
  readonly #child: ChildProcess
  readonly #seen = new Set<string>()
  warden: number | undefined
  jobs = 0
  lost = 0

  constructor(hide: readonly string[] = []) {
    const options = JSON.stringify({ stateFolder: this.state, hide })
    const flags = ['--disable-warning=ExperimentalWarning', program, options]
    this.#child = spawn(process.execPath, flags, { stdio: ['ignore', 'pipe', 'inherit'] })
    let text = ''
    this.#child.stdout?.on('data', (chunk: Buffer) => {
      const lines = (text + chunk.toString()).split('\n')
      text = lines.pop() ?? ''
      for (const line of lines) this.#hear(line)
    })
  }

  get pid(): number {
    return this.#child.pid!
  }

  /** Every process of it that was ever seen, as pid and start time. */
  processes(): readonly string[] {
    this.seeAgain()
    return [...this.#seen]
  }

  seeAgain(): void {
    for (const pid of [this.pid, ...descendantsOf(this.pid)]) {
      const facts = processFacts(pid)
      if (facts) this.#seen.add(`${pid} ${facts.startTime}`)
    }
  }

  #hear(line: string): void {
    const [what, word = ''] = line.split(' ')
    if (what === 'warden') this.warden = Number(word)
    if (what === 'wall') this.walls.push(word)
    if (what === 'job') this.jobs++
    if (what === 'lost') this.lost++
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL')
    rmSync(this.folder, { recursive: true, force: true })
  }
}

function isStillThere(one: string): boolean {
  const [pid, startTime] = one.split(' ').map(Number)
  return isAlive(pid!, startTime)
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // ESRCH: the process has already exited.
  }
}

function unable(): string | false {
  if (findJailFacts().platform !== 'linux') return 'only Linux has these jails'
  return existsSync('/proc/self/fd') ? false : 'there is no /proc'
}
