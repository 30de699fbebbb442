import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { mock } from 'node:test'
import { fileURLToPath } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import { Mayfly, type JobRequest, type Outcome } from '../../src/index.ts'
import { leaseFolder } from '../../src/lib/state-folder.ts'
import { openCgroups } from '../../src/os/cgroup.ts'
import { identify, processFacts, nameOfProcess } from '../../src/os/proc.ts'
import { tryReadText } from '../../src/os/read.ts'
import { jailKinds, type JailKind } from '../../src/contract/jail-kind.ts'
import { descendantsOf } from '../conformance/remains.ts'
import { inTime, until } from '../conformance/stand.ts'
import { bearer, post } from '../doors/http-door.ts'
import {
  goneAfterKillMs,
  hostTraces,
  leasesIn,
  makePlace,
  remaining,
  remainingOf,
  startServer,
  whenReady,
} from '../doors/program.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { emptyGroups, wallGroups } from './groups.ts'
import { mountFlags, noMounts } from './mounts.ts'
import { isMissing, unable } from './process-stands.ts'

/**
 * Faults around a process wall in use. After each, the job ends within its time with the cause in its outcome, the
 * next job runs, and nothing leaks.
 */
const guests = {
  sleeps: 'import time\nprint("ready", flush=True)\ntime.sleep(600)',
  spins: 'print("ready", flush=True)\nwhile True: pass',
  eats: `
held = []
while True: held.append(bytearray(b"x" * 2**20))`,
  childEats: `
import subprocess, sys
code = "held = []\\nwhile True: held.append(bytearray(b'x' * 2**20))"
print("ready", flush=True)
subprocess.run([sys.executable, "-c", code])
import time; time.sleep(600)`,
  leavesADaemon: `
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True:
            print("still here", flush=True)
            time.sleep(0.01)
    os._exit(0)
os.wait()
time.sleep(0.5)
result = "done"`,
  shutsItsSocket: `
import os, time
time.sleep(1)
os.close(5)
print("ready", flush=True)
time.sleep(600)`,
  shutsEverything: `
import os, time
time.sleep(1)
os.closerange(0, 64)
time.sleep(600)`,
} as const

const folder = mkdtempSync(join(tmpdir(), 'mayfly-process-faults-'))
let opened = 0
const open = () => Mayfly.open({ state: join(folder, `state-${opened++}`) })
after(() => rmSync(folder, { recursive: true, force: true }))

const python = (code: string, jailKind: JailKind, more: Partial<JobRequest> = {}): JobRequest => ({
  language: 'python',
  code,
  provider: jailKind,
  ...more,
})
const answers = (jailKind: JailKind) => python('result = 42', jailKind)
const ended = ({ status, error }: Outcome) => (error ? `${status} ${error.code}` : status)
/** Deadline of each job: above its time limit. */
const soonMs = 45_000
/** Jobs until one finds a spare; each that finds none asks for more. */
const triesMax = 50
let marks = 0
/** The same program, whose process has this name. */
const marked = (mark: string, code: string) =>
  `import ctypes; ctypes.CDLL(None).prctl(15, b"${mark}")\n${code}`

for (const jailKind of jailKinds)
  suite(`Faults of a wall: ${jailKind}`, { skip: unable('python') }, () => {
    let library: Mayfly
    before(async () => {
      library = await open()
    })
    after(() => library.close())

    /** Starts a program, and waits until it is ready; returns its processes and its end. */
    async function running(code: string, more: Partial<JobRequest> = {}) {
      const mark = `walled-${marks++}`
      const limits = { timeout: '3s' }
      const end = library.run(python(marked(mark, code), jailKind, { limits, ...more }))
      const found = () => descendantsOf(process.pid).find((pid) => nameOfProcess(pid) === mark)
      await until(() => found() !== undefined, 'the program', soonMs)
      await sleep(100)
      return { end, pids: wallOf(found()!) }
    }

    async function nextOneRuns(): Promise<void> {
      assert.equal(ended(await library.run(answers(jailKind))), 'ok')
    }

    test('a program whose processes are all stopped from outside ends at its deadline', async (t) => {
      if (isMissing(t, { jailKind })) return
      const { end, pids } = await running(guests.sleeps)
      for (const pid of pids) signal(pid, 'SIGSTOP')
      const isStopped = (pid: number) => processFacts(pid)?.state === 'T'
      await until(() => pids.every(isStopped), 'each of its processes to be stopped', soonMs)
      assert.equal(ended(await inTime(end, 'its end', soonMs)), 'timeout TIMEOUT')
      assert.deepEqual(await remaining(pids), [])
      await nextOneRuns()
    })

    test('a job claims a stopped parked wall and ends within its time limit', async (t) => {
      if (isMissing(t, { jailKind })) return
      await nextOneRuns()
      await until(() => parked().length > 0, 'a spare', soonMs)
      await sleep(500)
      for (const pid of parked()) signal(pid, 'SIGSTOP')
      const stopped = parked()
      const end = library.run(python('result = 42', jailKind, { limits: { timeout: '2s' } }))
      // A warden that throttles by SIGSTOP and SIGCONT may wake a process that the test stopped; on a busy machine its
      // deadline for the claim is over before that of the job.
      const ends = /^(timeout TIMEOUT|failed WALL_LOST|ok)$/
      assert.match(ended(await inTime(end, 'its end', soonMs)), ends)
      // The job took at most one of the stopped spares; kill the rest.
      for (const pid of stopped) signal(pid, 'SIGKILL')
      assert.deepEqual(await remaining(stopped), [])
      await nextOneRuns()
    })

    test('a program killed from outside is reported with its signal, and the next one runs', async (t) => {
      if (isMissing(t, { jailKind })) return
      const { end, pids } = await running(guests.sleeps)
      for (const pid of pids) signal(pid, 'SIGKILL')
      assert.match(ended(await inTime(end, 'its end', soonMs)), /^(error EXIT|failed WALL_LOST)$/)
      assert.deepEqual(await remaining(pids), [])
      await nextOneRuns()
    })

    test('out of memory in the program or a child is reported, and other jobs continue', async (t) => {
      if (isMissing(t, { jailKind })) return
      const neighbour = library.run(python('import time\ntime.sleep(1)\nresult = 1', jailKind))
      for (const code of [guests.eats, guests.childEats]) {
        const limits = { memory: '64MB', timeout: '20s' }
        const outcome = await library.run(python(code, jailKind, { limits }))
        assert.equal(ended(outcome), 'limit MEMORY')
      }
      assert.equal(ended(await neighbour), 'ok')
      await nextOneRuns()
    })

    test('stderr of a terminated or failed program contains only its own output', async (t) => {
      if (isMissing(t, { jailKind })) return
      const own = 'import os, sys\nprint("own", file=sys.stderr, flush=True)\n'
      for (const [code, end] of [
        [guests.spins, 'timeout TIMEOUT'],
        [guests.eats, 'limit MEMORY'],
        ['os.kill(os.getpid(), 11)', 'error EXIT'],
        ['os.kill(os.getpid(), 9)', 'error EXIT'],
        ['os._exit(3)', 'error EXIT'],
      ] as const) {
        const limits = { memory: '64MB', timeout: code === guests.spins ? '1s' : '20s' }
        const outcome = await library.run(python(own + code, jailKind, { limits }))
        assert.deepEqual([ended(outcome), outcome.stderr], [end, 'own\n'])
      }
    })

    test('a full disk inside a wall affects only its program: another has its own disk', async (t) => {
      if (isMissing(t, { jailKind })) return
      const code = `
import errno
try:
    with open("big", "wb") as f:
        while True: f.write(b"x" * 65536)
except OSError as error:
    result = errno.errorcode[error.errno]`
      const limits = { disk: '8MB' }
      const outcome = await library.run(python(code, jailKind, { limits }))
      assert.equal(ended(outcome), 'ok')
      assert.match(String(outcome.result), /^(ENOSPC|EFBIG)$/)
      await nextOneRuns()
    })

    test('a program that closes its job socket or all fds, and continues, is ended at once', async (t) => {
      if (isMissing(t, { jailKind })) return
      for (const code of [guests.shutsItsSocket, guests.shutsEverything]) {
        const { end, pids } = await running(code, { limits: { timeout: '60s' } })
        assert.match(ended(await inTime(end, 'its end', soonMs)), /^error EXIT$/)
        assert.deepEqual(await remaining(pids), [])
      }
      await nextOneRuns()
    })

    test('a daemon that keeps the output pipes open after its program exits does not delay the outcome', async (t) => {
      if (isMissing(t, { jailKind })) return
      const { end, pids } = await running(guests.leavesADaemon, { limits: { timeout: '20s' } })
      const outcome = await inTime(end, 'its end', soonMs)
      assert.deepEqual([ended(outcome), outcome.result], ['ok', 'done'])
      assert.deepEqual(await remaining(pids), [])
    })

    test('the wall clock jumps a day forward and back: run times do not change', async (t) => {
      if (isMissing(t, { jailKind })) return
      const real = Date.now
      t.after(() => mock.restoreAll())
      for (const jump of [86_400_000, -86_400_000]) {
        const began = performance.now()
        const long = library.run(python('import time\ntime.sleep(1.5)\nresult = 1', jailKind))
        const endless = library.run(python(guests.spins, jailKind, { limits: { timeout: '1s' } }))
        await sleep(300)
        mock.method(Date, 'now', () => real() + jump)
        assert.equal(ended(await inTime(endless, 'its end', soonMs)), 'timeout TIMEOUT')
        assert.ok(performance.now() - began >= 999)
        assert.equal(ended(await inTime(long, 'its end', soonMs)), 'ok')
        assert.ok(performance.now() - began >= 1499)
        await nextOneRuns()
        mock.restoreAll()
        await nextOneRuns()
      }
    })
  })

/** A launcher that outlives its warden, as it has no parent-death signal in its first moments; the next start ends it. */
function isLauncher(pid: number): boolean {
  return tryReadText(`/proc/${pid}/cmdline`)?.includes('mayfly-wall:') === true
}

suite('Death of a process that owns walls', { skip: unable('python') }, () => {
  for (const jailKind of jailKinds)
    test(`${jailKind}: the warden ends during a claim: the job fails, and nothing is left`, async (t) => {
      if (isMissing(t, { jailKind })) return
      await using library = await open()
      assert.equal(ended(await library.run(answers(jailKind))), 'ok')
      const warden = wardenOf()
      const all = descendantsOf(process.pid)
      process.kill(warden, 'SIGSTOP')
      const asked = library.run(answers(jailKind))
      await sleep(200)
      process.kill(warden, 'SIGKILL')
      assert.equal(ended(await inTime(asked, 'its end', soonMs)), 'failed WARDEN_LOST')
      const again = await inTime(library.run(answers(jailKind)), 'the next end', soonMs)
      assert.match(ended(again), /WARDEN_LOST/)
      assert.deepEqual(await remaining(all), [])
    })

  for (const victim of ['the server', 'the warden'] as const)
    test(`S0-3: ${victim} is killed while programs run: five seconds later no orphan, and the next start sweeps its leases and refills its pool`, async (t) => {
      if (isMissing(t, { jailKind: 'embedded' })) return
      const place = makePlace()
      try {
        const first = await startServer(place)
        await whenReady(first)
        const url = new URL('/v1/executions', first.active).href
        const headers = { ...bearer(first.apiKey), prefer: 'respond-async' }
        const kinds = jailKinds.filter(
          (jailKind) => jailKind === 'embedded' || !isMissingQuietly(jailKind),
        )
        const started: string[] = []
        for (const provider of kinds)
          for (const guest of [guests.sleeps, guests.spins]) {
            const mark = `killed-${marks++}`
            const limits = { timeout: '60s' }
            const job = { language: 'python', code: marked(mark, guest), provider, limits }
            assert.equal((await post(url, job, headers)).status, 202)
            started.push(mark)
          }
        const names = () => descendantsOf(first.child.pid!).map(nameOfProcess)
        await until(() => started.every((mark) => names().includes(mark)), 'each program', soonMs)
        const all = [first.child.pid!, ...descendantsOf(first.child.pid!)].map(identify)
        const walls = leasesIn(place).map((lease) => basename(lease, '.json'))
        const leased = () =>
          leasesIn(place).filter((lease) => walls.includes(basename(lease, '.json')))
        assert.ok(walls.length >= started.length)
        const isGrouped = wallGroups().some((group) => walls.includes(basename(group)))
        assert.ok(isGrouped || openCgroups() === undefined)
        const tracesBefore = hostTraces([])
        process.kill(victim === 'the server' ? first.pid : first.child.pid!, 'SIGKILL')
        const left = (await remainingOf(all, goneAfterKillMs)).map((line) => Number.parseInt(line))
        assert.deepEqual(left.filter((pid) => !isLauncher(pid)).map(nameOfProcess), [])
        await first[Symbol.asyncDispose]()
        if (victim === 'the warden') assert.ok(leased().length >= started.length)
        const next = await startServer(place, [], { MAYFLY_API_KEY: '' })
        await whenReady(next)
        assert.deepEqual(await remainingOf(all, goneAfterKillMs), [])
        await until(() => leased().length === 0, 'no lease to be left', goneAfterKillMs)
        assert.deepEqual(hostTraces(walls), tracesBefore)
        const nextUrl = new URL('/v1/executions', next.active).href
        for (const provider of kinds) {
          const job = { language: 'python', code: 'result = 1', provider }
          const poolOf = async () =>
            (await post(nextUrl, job, bearer(first.apiKey))).json['metrics'].pool
          for (let tries = 1; (await poolOf()) !== 'hit'; tries++)
            assert.ok(tries < triesMax, `${provider}: no spare waits for a job`)
        }
        const { left: leftOfNext, code } = await next.stop()
        assert.deepEqual([leftOfNext, code], [[], 0])
        assert.deepEqual(readdirSync(leaseFolder(place.state)), [])
        const groups = () => emptyGroups().filter((group) => walls.includes(basename(group)))
        await until(() => groups().length === 0, 'no group to be left')
      } finally {
        place.remove()
      }
    })
})

suite('A full disk', { skip: unable('python') || noMounts() }, () => {
  test('under the state folder no run starts without its record, with the reason; runs work again when there is space', () => {
    const script = fileURLToPath(new URL('fixtures/full-disk.ts', import.meta.url))
    const shell =
      'mount -t tmpfs -o size=24m full "$1" && exec "$2" --disable-warning=ExperimentalWarning "$3" "$1"'
    const place = mkdtempSync(join(tmpdir(), 'mayfly-full-'))
    try {
      const words = [...mountFlags(), 'sh', '-c', shell, 'sh', place, process.execPath, script]
      const ran = spawnSync('unshare', words, { encoding: 'utf8', timeout: 60_000 })
      assert.equal(ran.status, 0, ran.stderr)
      const [first, full, again] = ran.stdout.trim().split('\n')
      assert.equal(first, 'ok')
      assert.match(full ?? '', /^(thrown (?:STATE|DISK_FULL)|failed )/)
      assert.equal(again, 'ok')
    } finally {
      rmSync(place, { recursive: true, force: true })
    }
  })
})

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch {
    // ESRCH: the process has already exited.
  }
}

/** Pid of the warden that the library in this process started. */
function wardenOf(): number {
  const found = descendantsOf(process.pid).find((pid) => commandOf(pid).includes('warden/child.ts'))
  assert.ok(found)
  return found
}

/** Programs in Python that wait for a job, below this process. */
function parked(): readonly number[] {
  return descendantsOf(process.pid).filter((pid) => /^\S*python/.test(commandOf(pid)))
}

/** Pids of one wall, from the child of the warden to the last child of its program. */
function wallOf(pid: number): readonly number[] {
  const warden = wardenOf()
  let first = pid
  for (let above = parentOf(first); above !== warden && above !== undefined;) {
    first = above
    above = parentOf(first)
  }
  return [first, ...descendantsOf(first)]
}

const parentOf = (pid: number) => processFacts(pid)?.parent
const commandOf = (pid: number) => tryReadText(`/proc/${pid}/cmdline`) ?? ''

function isMissingQuietly(jailKind: JailKind): boolean {
  let isSkipped = false
  isMissing({ skip: () => void (isSkipped = true) } as never, { jailKind })
  return isSkipped
}
