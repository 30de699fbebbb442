import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { queryObjects } from 'node:v8'
import { jailKinds } from '../../src/contract/jail-kind.ts'
import { Mayfly } from '../../src/index.ts'
import { leaseFolder } from '../../src/lib/state-folder.ts'
import { tryReadLink, tryReadText } from '../../src/os/read.ts'
import { seeded } from '../../src/tiers/mock/seeded.ts'
import { descendantsOf, isRunning, kindsOpen } from '../conformance/remains.ts'
import { until } from '../conformance/stand.ts'
import { bearer, post } from '../doors/http-door.ts'
import { leasesIn, makePlace, startServer, whenReady, type Server } from '../doors/program.ts'
import { isSampled, test } from '../fixtures/drawn.ts'
import { rssOf } from '../hostile/proc.ts'
import { openCgroups } from '../../src/os/cgroup.ts'
import { wallGroups } from './groups.ts'
import { isMissing, unable } from './process-stands.ts'

/** Many programs, in sequence and in parallel, some of them killed: afterwards all resource counts are as before. */
const isLong = process.env['MAYFLY_LONG'] !== undefined
const runs = isLong ? 1000 : isSampled ? 40 : 100
const soakMs = isLong ? 600_000 : 10_000
const seed = Number(process.env['MAYFLY_SEED'] ?? Date.now() % 2 ** 31)
const driftMax = isLong ? 0.05 : 0.4
/** A leak grows in each further round: one in the long run, of five minutes, or two more where that grew too much. */
const roundsMax = isLong ? 3 : 4
const atOnce = 4
const settledMs = 1_500
/** Spares that the jobs called for end a minute after the last one. */
const givenBackMsMax = 120_000

/** Jobs with their possible statuses; a killed job may have others. */
const jobs = [
  { language: 'python', code: 'result = input["n"] * 2', ends: ['ok'] },
  { language: 'python', code: 'raise ValueError("no")', ends: ['error'] },
  { language: 'python', code: 'while True: pass', ends: ['timeout'] },
  { language: 'python', code: 'held = []\nwhile True: held.append(b"x" * 2**20)', ends: ['limit'] },
  {
    language: 'python',
    code: 'import os, time\nfor _ in range(8):\n  if os.fork() == 0: time.sleep(60)\nprint("left")',
    ends: ['ok'],
  },
  { language: 'python', code: 'open("out/a.txt", "w").write("x" * 100000)', ends: ['ok'] },
  { language: 'node', code: 'module.exports = ({ n }) => n + 1', ends: ['ok'] },
  { language: 'node', code: 'process.kill(process.pid, "SIGKILL")', ends: ['error'] },
  { language: 'node', code: 'console.log("x".repeat(3e6))', ends: ['ok'] },
  { language: 'sh', code: 'echo hello; exit 3', ends: ['error'] },
  { language: 'sh', code: 'sleep 60 & echo hello', ends: ['ok'] },
  { language: 'js', code: 'return input.n', ends: ['ok'] },
] as const
const limits = { timeout: '700ms', memory: '64MB' }

/** A lease is a file with the name of its wall and its cgroup. */
function nameOf(lease: string): string {
  return basename(lease).split('.')[0]!
}

/** Walls that were seen by their leases. */
class SeenWalls {
  readonly names = new Set<string>()
  #isGrouped = false

  note(leases: readonly string[]): void {
    for (const lease of leases) this.names.add(nameOf(lease))
    this.#isGrouped ||= this.#groups().length > 0
  }

  /** Waits for the end of their control groups, of which there was one, where groups can be made. */
  async groupsGone(): Promise<void> {
    assert.ok(this.names.size > 0)
    assert.ok(this.#isGrouped || openCgroups() === undefined)
    await until(() => this.#groups().length === 0, 'groups to be gone')
  }

  #groups(): readonly string[] {
    return wallGroups().filter((group) => this.names.has(basename(group)))
  }
}

suite('Many programs leave nothing behind', { skip: unable('python') }, () => {
  test(`S1-22: after ${runs} runs fds, cgroups, namespaces, disk use and uids are as before`, async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    const folder = mkdtempSync(join(tmpdir(), 'mayfly-many-'))
    const state = join(folder, 'state')
    const outside = () => ({
      processes: descendantsOf(process.pid).length,
      open: kindsOpen(),
    })
    const own = new SeenWalls()
    const before = outside()
    try {
      const library = await Mayfly.open({ state })
      const some = async (count: number) => {
        for (let n = 0; n < count; n += jailKinds.length) {
          own.note(readdirSync(leaseFolder(state)))
          await Promise.all(
            jailKinds.map(async (provider, index) => {
              const { ends, ...job } = jobs[(n + index) % jobs.length]!
              const { status, error } = await library.run({
                ...job,
                provider,
                limits,
                input: { n },
              })
              // Under load any of them may hit its timeout.
              const may: readonly string[] = [...ends, 'timeout']
              assert.ok(may.includes(status), `${job.code}: ${status} ${error?.message}`)
            }),
          )
        }
      }
      await some(2 * jobs.length)
      const warden = wardenOf()
      const held = () => ({
        open: fdsOf(warden),
        namespaces: namespacesBelow(warden),
        ...wallsIn(leaseFolder(state)),
        users: usersBelow(warden),
        // A leaked socket of a destroyed wall would retain the output of its job.
        sockets: queryObjects(Socket, { format: 'count' }),
      })
      const first = await settled(held)
      await some(runs)
      await until(
        () => tooMany(held(), first).length === 0,
        'all to be given back',
        givenBackMsMax,
      ).catch(() => undefined)
      const last = held()
      t.diagnostic(`${JSON.stringify(first)} then ${JSON.stringify(last)}`)
      assert.deepEqual(tooMany(last, first), [], JSON.stringify({ first, last }))
      await library.close()
      assert.deepEqual(readdirSync(leaseFolder(state)), [])
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
    await own.groupsGone()
    const after = outside()
    assert.equal(after.processes, before.processes)
    // The scratch folder of a wall without its own root.
    assert.deepEqual(
      [...own.names].filter((name) => existsSync(`/tmp/mayfly-${name}`)),
      [],
    )
    // Libraries loaded once stay open; sockets, pipes and pidfds must return to their former number.
    for (const kind of ['socket', 'pipe', 'anon_inode:[pidfd]'])
      assert.ok((after.open[kind] ?? 0) <= (before.open[kind] ?? 0), `${kind} are still open`)
  })

  test(`${soakMs / 1000} seconds of mixed jobs with random kills: the server survives, and nothing is left`, async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    t.diagnostic(`MAYFLY_SEED=${seed}`)
    const random = seeded(seed)
    const place = makePlace()
    const own = new SeenWalls()
    try {
      await using server = await startServer(place)
      await whenReady(server)
      const url = new URL('/v1/executions', server.active).href
      const counts: Record<string, number> = {}
      let killed = 0
      const worker = async (over: AbortSignal) => {
        for (let n = 0; !over.aborted; n++) {
          const { ends: _, ...job } = jobs[Math.floor(random() * jobs.length)]!
          const provider = jailKinds[Math.floor(random() * jailKinds.length)]!
          const body = { ...job, provider, limits, input: { n } }
          const ask = () => post(url, body, bearer(server.apiKey))
          // Race: the server may close an idle connection while the next request is in flight.
          const { status, json } = await ask().catch(ask).catch(unreachable(server))
          assert.ok([200, 403, 429, 503].includes(status), JSON.stringify(json))
          const end = (json['status'] ?? json['code']) as string
          counts[end] = (counts[end] ?? 0) + 1
        }
      }
      const killer = async (over: AbortSignal) => {
        while (!over.aborted) {
          await sleep(100 + random() * 400)
          own.note(leasesIn(place))
          const inWalls = descendantsOf(server.child.pid!).filter(isInWall)
          const victim = inWalls[Math.floor(random() * inWalls.length)]
          if (victim !== undefined && kill(victim)) killed++
        }
      }
      // Each wall is proved before the first kill: a wall that failed its proof would be unavailable.
      for (const provider of jailKinds) {
        const body = { language: 'python', code: 'result = 1', provider }
        const { json } = await post(url, body, bearer(server.apiKey))
        assert.equal(json['status'], 'ok', JSON.stringify(json['error']))
      }
      const half = async () => {
        const over = AbortSignal.timeout(soakMs / 2)
        await Promise.all([killer(over), ...Array.from({ length: atOnce }, () => worker(over))])
        return await quietBytes(server.pid)
      }
      const drift = await driftOf(half)
      assert.ok(isRunning(server.pid) && isRunning(server.child.pid!), 'the server ended')
      t.diagnostic(
        `${JSON.stringify(counts)}, ${killed} killed, drift ${(drift * 100).toFixed(1)} %`,
      )
      assert.ok(killed > 0 && (counts['ok'] ?? 0) > 0)
      assert.ok(drift < driftMax, `it grew by ${(drift * 100).toFixed(1)} %`)
      const ready = await fetch(new URL('/readyz', server.active))
      assert.equal(ready.status, 200)
      const { code, left } = await server.stop()
      assert.deepEqual([code, left], [0, []])
      assert.deepEqual(leasesIn(place), [])
    } finally {
      place.remove()
    }
    await own.groupsGone()
  })
})

type Held = Readonly<
  Record<'open' | 'namespaces' | 'programs' | 'workers' | 'users' | 'sockets', number>
>

/** The number of parked walls of each kind follows the demand; the resources of each are known. */
const taken = {
  open: { program: [3, 8], worker: [1, 3] },
  sockets: { program: [3, 3], worker: [1, 1] },
  namespaces: { program: [0, 1], worker: [0, 1] },
  users: { program: [0, 1], worker: [0, 1] },
} as const
/** Tolerance, because a wall may be starting or ending, and a template beside it. */
const looseMax = 14

/** Samples until nothing has changed for a while: spares are still being made at first. */
async function settled<T>(held: () => T): Promise<T> {
  let [last, since] = [held(), performance.now()]
  await until(
    () => {
      const now = held()
      if (isDeepStrictEqual(now, last)) return performance.now() - since > settledMs
      ;[last, since] = [now, performance.now()]
      return false
    },
    'the spares to be there',
    30_000,
  ).catch(() => undefined)
  return last
}

function tooMany(now: Held, before: Held): readonly string[] {
  const names = ['open', 'sockets', 'namespaces', 'users'] as const
  return names.filter((name) => {
    const { program, worker } = taken[name]
    const grown =
      growth(now.programs - before.programs, program) + growth(now.workers - before.workers, worker)
    return now[name] > before[name] + grown + looseMax
  })
}

function growth(walls: number, [least, most]: readonly [number, number]): number {
  return walls * (walls > 0 ? most : least)
}

/** Walls that a lease names, counted by their kind. */
function wallsIn(folder: string): Pick<Held, 'programs' | 'workers'> {
  const names = readdirSync(folder).filter((name) => name.endsWith('.json'))
  const programs = names.filter((name) => pidsIn(join(folder, name)).some(isInWall)).length
  return { programs, workers: names.length - programs }
}

function pidsIn(file: string): readonly number[] {
  return [...(tryReadText(file) ?? '').matchAll(/"pid":(\d+)/g)]
    .slice(1)
    .map((match) => Number(match[1]))
}

function wardenOf(): number {
  const found = descendantsOf(process.pid).find((pid) =>
    tryReadText(`/proc/${pid}/cmdline`)?.includes('warden/child.ts'),
  )
  assert.ok(found)
  return found
}

/** Without files of existing cgroups, which a wall opens on first use. */
function fdsOf(pid: number): number {
  const all = readdirSync(`/proc/${pid}/fd`).flatMap(
    (fd) => tryReadLink(`/proc/${pid}/fd/${fd}`) ?? [],
  )
  return all.filter((file) => !file.startsWith('/sys/fs/cgroup/') || !existsSync(file)).length
}

/** Network namespaces of everything below a process. */
function namespacesBelow(pid: number): number {
  return new Set(descendantsOf(pid).flatMap((one) => tryReadLink(`/proc/${one}/ns/net`) ?? [])).size
}

function usersBelow(pid: number): number {
  return new Set(
    descendantsOf(pid).map((one) => statSync(`/proc/${one}`, { throwIfNoEntry: false })?.uid),
  ).size
}

/** Tells how a server ended that refuses connections. */
function unreachable({ child, stderr }: Server): (thrown: unknown) => never {
  return (cause) => {
    const how = `${child.exitCode} ${child.signalCode}`
    throw new Error(`The server ended with ${how}: ${stderr().slice(-2000)}`, { cause })
  }
}

/** Programs of jobs and their launchers, without the server, the warden and the analysis processes. */
function isInWall(pid: number): boolean {
  return /process\/(python\.py|node\.js)/.test(tryReadText(`/proc/${pid}/cmdline`) ?? '')
}

function kill(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL')
  } catch {
    return false
  }
}

/** Growth from one round to the next; that of the last round if each round before grew too much. */
async function driftOf(round: () => Promise<number>): Promise<number> {
  let early = await round()
  let drift = Infinity
  for (let n = 0; n < roundsMax && drift >= driftMax; n++) {
    const late = await round()
    drift = late / early - 1
    early = late
  }
  return drift
}

/**
 * Least memory of a server without jobs. In the long run it is looked at until it has collected its garbage, a minute after
 * its last event, the end of a spare among them.
 */
async function quietBytes(pid: number): Promise<number> {
  let least = Infinity
  for (let look = 0; look < (isLong ? 1_500 : 10); look++) {
    least = Math.min(least, rssOf(pid) ?? Infinity)
    await sleep(100)
  }
  return least
}
