import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { suite, test } from 'node:test'
import { findProgram } from '../../src/os/find-program.ts'
import { openCgroups } from '../../src/os/cgroup.ts'
import { isAlive } from '../../src/os/proc.ts'
import { isRunscThere, noRunsc } from '../conformance/gvisor.ts'
import { until } from '../conformance/stand.ts'
import { openWhole, type WholeWall } from './whole-wall.ts'

/** Limits set on a parked program in advance, so that a claim with the same limits need not write them. */
const MiB = 2 ** 20
const usual = { memory: 96 * MiB, cpu: 1, processes: 16 }
const goneMsMax = 5_000
const clock = new Int32Array(new SharedArrayBuffer(4))
const groups = openCgroups()
const skip = !groups
  ? 'no control groups for this user'
  : !existsSync('/usr/bin/python3') && 'no Python'
const noSentry = skip || (isRunscThere() ? false : noRunsc)
const ways = ['embedded', ...(findProgram('bwrap') ? (['bubblewrap'] as const) : [])] as const

/** A cgroup without a limit shows `max`, or in version 1 a number above any machine's memory. */
const unlimited = 2 ** 60

suite('A parked program with the default limits', { skip }, () => {
  for (const jailKind of ways) {
    test(`${jailKind}: a job with the same limits finds them set, and none is written again`, async () => {
      await using stand = await openWhole()
      const wall = await stand.start('python', jailKind, usual)
      const before = boundsOf(wall)
      assert.equal(before.cores, 1)
      assert.ok(before.tasks < 64 && before.memory < 400 * MiB)
      await wall.claim(usual)
      assert.deepEqual(boundsOf(wall), before)
      assert.deepEqual(wall.claimed!.enforced, {
        memory: 'cgroup',
        processes: 'cgroup',
        cpu: 'cgroup',
        io: 'none',
      })
    })

    test(`${jailKind}: a job with other limits gets its own, and a job without limits gets those of a wall`, async () => {
      await using stand = await openWhole()
      const [less, more, none] = [
        await stand.start('python', jailKind, usual),
        await stand.start('python', jailKind, usual),
        await stand.start('python', jailKind, usual),
      ]
      const before = [less, more, none].map(boundsOf)
      await less.claim({ memory: 32 * MiB, cpu: 0.5, processes: 4 })
      await more.claim({ memory: 256 * MiB, cpu: 2, processes: 64 })
      await none.claim({ memory: 96 * MiB })
      const after = [less, more, none].map(boundsOf)
      const grew = after.map(({ tasks }, at) => tasks - before[at]!.tasks)
      assert.deepEqual(grew.slice(0, 2), [4 - 16, 64 - 16])
      assert.deepEqual(
        after.map(({ cores }) => cores),
        [0.5, 2, Infinity],
      )
      assert.equal(after[2]!.tasks, 256)
      // The memory of a wall changes by some pages while its limits are set.
      const [lower, higher] = after.map(({ memory }, at) => memory - before[at]!.memory)
      assert.ok(Math.abs(lower! + 64 * MiB) < 2 * MiB, `${lower}`)
      assert.ok(Math.abs(higher! - 160 * MiB) < 2 * MiB, `${higher}`)
    })

    test(`${jailKind}: limits that were removed while it was parked are set again before its job`, async () => {
      await using stand = await openWhole()
      const wall = await stand.start('python', jailKind, usual)
      const before = boundsOf(wall)
      assert.equal(before.cores, 1)
      assert.ok(before.tasks < 64 && before.memory < 400 * MiB)
      for (const { file, lifted } of filesOf(wall)) writeFileSync(file, lifted)
      const lifted = boundsOf(wall)
      assert.ok(lifted.tasks === Infinity && lifted.memory > unlimited && lifted.cores === Infinity)
      await wall.claim(usual)
      assert.deepEqual(boundsOf(wall), before)
    })

    test(`${jailKind}: a fork bomb and a memory hog hit the limits that were set in advance`, async () => {
      await using stand = await openWhole()
      const bomb = await stand.start('python', jailKind, usual)
      await bomb.claim(usual)
      bomb.run(forkBomb)
      await until(() => bomb.said.stdout.includes('ready'), 'the end of its forks')
      const made = Number(/ready (\d+)/.exec(bomb.said.stdout)?.[1])
      assert.ok(made >= 8 && made <= 24, `it made ${made}`)
      const hog = await stand.start('python', jailKind, usual)
      await hog.claim(usual)
      hog.run('hold = []\nwhile True: hold.append(bytearray(1 << 20))')
      assert.equal((await hog.end()).how, 'memory')
    })

    test(`${jailKind}: a claim detects by its own fds a program that was killed just before`, async () => {
      await using stand = await openWhole()
      const wall = await stand.start('python', jailKind, usual)
      const { pid } = wall.started.wall
      process.kill(pid, 'SIGKILL')
      // Without a turn of the event loop, in which the warden would be notified.
      for (let ms = 0; ms < goneMsMax && isAlive(pid); ms++) Atomics.wait(clock, 0, 0, 1)
      await wall.claim(usual).then(
        () => assert.equal(wall.claimed!.spent, true),
        // The warden has been notified of its end.
        (error: unknown) => assert.match(String(error), /Cannot find wall/),
      )
    })
  }
})

/** The sentry counts the tasks of such a wall, so the task limit is set at each claim only. */
suite('A parked program of gVisor with the default limits', { skip: noSentry }, () => {
  test('Jobs with the same limits find them set, and others get their own', async () => {
    await using stand = await openWhole()
    const [same, less, none] = [
      await stand.start('python', 'gvisor', usual),
      await stand.start('python', 'gvisor', usual),
      await stand.start('python', 'gvisor', usual),
    ]
    const before = [same, less, none].map(boundsOf)
    await same.claim(usual)
    await less.claim({ memory: 32 * MiB, cpu: 0.5, egress: true })
    await none.claim({ memory: 96 * MiB })
    assert.deepEqual(boundsOf(same), before[0])
    const after = [same, less, none].map(boundsOf)
    assert.deepEqual(
      after.map(({ cores }) => cores),
      [1, 0.5, Infinity],
    )
    assert.ok(after[1]!.memory < before[1]!.memory - 32 * MiB, `${after[1]!.memory}`)
  })

  test('A memory hog hits the limit set in advance, also if that was removed while the wall was parked', async () => {
    await using stand = await openWhole()
    const wall = await stand.start('python', 'gvisor', usual)
    const before = boundsOf(wall)
    for (const { file, lifted } of filesOf(wall)) writeFileSync(file, lifted)
    await wall.claim(usual)
    const { memory, cores } = boundsOf(wall)
    assert.deepEqual([memory, cores], [before.memory, before.cores])
    wall.run('hold = []\nwhile True: hold.append(bytearray(1 << 20))')
    assert.equal((await wall.end()).how, 'memory')
  })
})

const forkBomb = `
import os, time
made = 0
try:
    while made < 100:
        if os.fork() == 0:
            time.sleep(100)
        made += 1
except OSError:
    pass
print('ready', made, flush=True)
time.sleep(100)`

interface Bounds {
  readonly memory: number
  readonly tasks: number
  readonly cores: number
}

function boundsOf(wall: WholeWall): Bounds {
  const [memory, tasks, cpu] = filesOf(wall).map(({ file }) => readFileSync(file, 'utf8').trim())
  return { memory: numberOf(memory!), tasks: numberOf(tasks!), cores: coresOf(wall, cpu!) }
}

function coresOf({ id }: WholeWall, text: string): number {
  if (text === '-1' || text.startsWith('max')) return Infinity
  if (groups!.version === 2) return Number(text.split(' ')[0]) / Number(text.split(' ')[1])
  const period = readFileSync(`/sys/fs/cgroup/cpu/mayfly/${id}/cpu.cfs_period_us`, 'utf8')
  return Number(text) / Number(period)
}

const numberOf = (text: string) => (text === 'max' ? Infinity : Number(text))

function filesOf({ id }: WholeWall) {
  const own = groups!.version === 2
  const place = (controller: string) =>
    own ? `/sys/fs/cgroup/mayfly/${id}` : `/sys/fs/cgroup/${controller}/mayfly/${id}`
  return [
    own
      ? { file: `${place('memory')}/memory.max`, lifted: 'max' }
      : { file: `${place('memory')}/memory.limit_in_bytes`, lifted: '-1' },
    { file: `${place('pids')}/pids.max`, lifted: 'max' },
    own
      ? { file: `${place('cpu')}/cpu.max`, lifted: 'max 100000' }
      : { file: `${place('cpu')}/cpu.cfs_quota_us`, lifted: '-1' },
  ]
}
