import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'node:test'
import { findJailFacts } from '../../src/jail/facts.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { openCgroups } from '../../src/os/cgroup.ts'
import { childrenOf, isAlive, processFacts } from '../../src/os/proc.ts'
import { seeded } from '../../src/tiers/mock/seeded.ts'
import { descendantsOf } from '../conformance/remains.ts'
import { until } from '../conformance/stand.ts'
import { noCompiler } from '../fixtures/c-compiler.ts'
import { test } from '../fixtures/drawn.ts'
import { beginAlone, startAlone } from './sentinel-stand.ts'
import { openWhole, type WholeWall } from './whole-wall.ts'

/** A wall ends when its sentinel, its warden or both are killed, at random moments. */
const skip = !findJailFacts().namespaces ? 'namespaces are forbidden here' : noCompiler
const isLong = process.env['MAYFLY_LONG'] !== undefined
const rounds = isLong ? 100 : 8
const goneMsMax = 1000
const starvedMsMax = 30_000
const seed = Number(process.env['MAYFLY_SEED'] ?? Date.now() % 2 ** 31)
const coreMin = 0.01

const burns = `
import os, time
print('ready', flush=True)
for _ in range(12):
    if os.fork() == 0: break
while True: os.close(os.open('/dev/null', os.O_RDONLY))`

/** Floods the sentinel with notifications of `open` and `execve`, with the longest escaped paths. */
const floods = `
import os, threading
print('ready', flush=True)
def opens():
    n = 0
    while True:
        n += 1
        try: os.open('/work/' + '\\x01' * 240 + str(n % 10**6), os.O_RDONLY)
        except OSError: pass
for _ in range(4): threading.Thread(target=opens, daemon=True).start()
name = '/work/' + '\\x01' * 240
os.symlink('/bin/true', name)
for _ in range(66):
    if os.fork() == 0:
        while True:
            if os.fork() == 0:
                try: os.execv(name, [name])
                except OSError: os._exit(1)
            os.wait()
while True: os.close(os.open('/dev/null', os.O_RDONLY))`

interface Named {
  readonly pid: number
  readonly startTime: number
}

function all(...pids: readonly number[]): readonly Named[] {
  return pids
    .flatMap((pid) => [pid, ...descendantsOf(pid)])
    .map((pid) => ({ pid, startTime: processFacts(pid)?.startTime ?? 0 }))
}

/** Milliseconds until none of these processes runs. */
async function goneAfter(named: readonly Named[], msMax = goneMsMax): Promise<number> {
  const began = performance.now()
  const left = () => named.filter(({ pid, startTime }) => isAlive(pid, startTime))
  await until(() => left().length === 0, 'everything to end', msMax)
  return performance.now() - began
}

const outermost = (wall: WholeWall) =>
  processFacts(processFacts(wall.started.wall.pid)!.parent)!.parent

function sentinelsOf(warden: number): readonly number[] {
  return childrenOf(warden).filter((pid) => commandOf(pid).startsWith('mayfly-sentinel'))
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // Gone already.
  }
}

/** Command line of a process; empty if it has just ended. */
function commandOf(pid: number): string {
  return spawnSync('ps', ['-o', 'args=', '-p', String(pid)], { encoding: 'utf8' }).stdout
}

suite('A wall and its sentinel', { skip, concurrency: 1 }, () => {
  for (const victim of ['sentinel', 'warden', 'both'] as const)
    test(`end together when ${victim === 'both' ? 'the warden and the sentinel are' : `the ${victim} is`} killed at a random moment, at ${coreMin} cores`, async (t) => {
      t.diagnostic(`MAYFLY_SEED=${seed}`)
      const random = seeded(seed)
      const took: number[] = []
      const each = victim === 'sentinel' || isLong ? rounds : Math.ceil(rounds / 2)
      for (let round = 0; round < each; round++) {
        await using whole = await openWhole({ apart: true })
        const { pid: warden } = await whole.warden.facts()
        const wall = await whole.start(
          'python',
          round % 2 && findProgram('bwrap') ? 'bubblewrap' : 'embedded',
        )
        await wall.claim({ memory: 256 * 2 ** 20, ...(openCgroups() && { cpu: coreMin }) })
        wall.run(burns)
        await sleep(random() * 400)
        const [sentinel] = sentinelsOf(warden)
        const named = all(outermost(wall), sentinel!)
        const killed = { sentinel: [sentinel!], warden: [warden], both: [sentinel!, warden] }
        for (const pid of killed[victim]) process.kill(pid, 'SIGKILL')
        // Without a warden to lift its cgroup limits, the wall exits at the pace that they allow.
        took.push(await goneAfter(named, victim === 'both' ? starvedMsMax : goneMsMax))
        if (victim === 'sentinel') assert.equal((await wall.end()).how, 'killed')
      }
      took.sort((a, b) => a - b)
      t.diagnostic(`${took.length} times, at most ${took.at(-1)!.toFixed(0)} ms`)
    })

  test('end together when the program exits', async () => {
    await using alone = await startAlone(['/bin/true'])
    assert.equal(await alone.sentinel.ended, 0)
  })

  const guests = { 'its guest burns CPU': burns, 'its guest floods the sentinel': floods }
  for (const [what, code] of Object.entries(guests))
    test(`end at the time of their schedule while the warden is stopped and ${what}`, async () => {
      await using whole = await openWhole({ apart: true })
      const { pid: warden } = await whole.warden.facts()
      const wall = await whole.start('python')
      const zones = [{ kind: 'other', programs: ['other'], life: 60_000 }]
      await wall.claim({ memory: 2 ** 30, processes: 220, zones })
      wall.run(code)
      await until(() => wall.said.stdout.includes('ready'), 'the guest')
      // Scanning /proc takes a while, so it is done before the deadline starts.
      const [sentinel] = sentinelsOf(warden)
      // The outermost process stays a zombie until its stopped parent reaps it, so it is left out.
      const inside = all(processFacts(wall.started.wall.pid)!.parent, sentinel!)
      // Acknowledging the schedule of a flooding guest may take a second on a busy machine.
      await whole.warden.calls(wall.id, [{ afterMs: 2500, allow: [], kills: true }])
      process.kill(warden, 'SIGSTOP')
      try {
        assert.ok((await goneAfter(inside, 2500 + goneMsMax)) > 100)
      } finally {
        process.kill(warden, 'SIGCONT')
      }
      assert.equal((await wall.end()).how, 'killed')
    })

  test('end together when the program dies during its start, and no denial is reported', async (t) => {
    t.diagnostic(`MAYFLY_SEED=${seed}`)
    const random = seeded(seed)
    const rejected: string[] = []
    for (let round = 0; round < (isLong ? 300 : 30); round++) {
      await using alone = await beginAlone(['/bin/sleep', '100'])
      const ready = alone.sentinel.ready.catch((error: Error) => void rejected.push(error.message))
      await sleep(random() * 40)
      for (const pid of descendantsOf(alone.guest.pid!)) kill(pid)
      kill(alone.guest.pid!)
      await ready
      await alone.sentinel.ended
      assert.equal(alone.sentinel.refused, undefined)
    }
    assert.ok(rejected.length > 0, 'no program was killed before its sentinel was ready')
    t.diagnostic(`${rejected.length} times before it was ready`)
  })

  test('end on an invalid message', async () => {
    await using alone = await startAlone(['/bin/sleep', '100'])
    const named = all(alone.guest.pid!)
    const exit = once(alone.guest, 'exit')
    ;(alone.sentinel.child.stdio as unknown as NodeJS.WritableStream[])[3]!.write(
      Buffer.from('no frame at all'),
    )
    assert.equal(await alone.sentinel.ended, 2)
    await exit
    await goneAfter(named)
  })
})
