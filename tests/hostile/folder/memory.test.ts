import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openCProgram } from '../../../src/jail/c-program.ts'
import {
  anonymousBytes,
  identify,
  isAlive,
  isExiting,
  processBytes,
  processesOf,
  proportionalBytes,
} from '../../../src/os/proc.ts'
import { bytesOf, ownBytesOf } from '../../../src/os/process-tree.ts'
import { SentryExit } from '../../../src/warden/engines/runsc/ending.ts'
import { makePlace, mayfly, noOrdinaryUser } from '../../doors/program.ts'
import { makeProgram, noFolderWall } from './project.ts'

/** An ordinary user has no cgroups: process 1 of the wall samples the memory. */
const skip = noFolderWall || noOrdinaryUser()
const MIB = 2 ** 20

suite('Memory of a command that is sampled', { skip, timeout: 240_000 }, () => {
  const place = makePlace('ordinary')
  const config = join(place.state, 'memory.toml')
  after(() => place.remove())
  before(async () => {
    writeFileSync(config, '[ceilings]\nmemory = "256MB"\n')
    await makeProgram('memory', join(place.cwd, 'memory'))
  })

  const run = (name: string) =>
    mayfly(place, ['exec', '--config', config, '--timeout', '60s', '--', './memory', name])

  const attacks = {
    without_first_thread: 'ends its first thread, and takes memory by another',
    stops_helper: 'stops every process but its own',
    limits_helper: 'leaves no descriptor to any process but its own',
    in_shared_memory: 'takes it by a shared mapping without a name',
  }
  /** Runs an attack, which has to be ended each time, until it hit helpers `hitsMin` times. */
  async function attack(name: string, hitsMin: number): Promise<void> {
    const seen: number[] = []
    while (seen.length < 5) {
      const ran = await run(name)
      assert.equal(ran.code, 5, ran.stderr)
      assert.match(ran.stderr, /used more memory than 256 MB/)
      seen.push(ran.stdout.match(/^hit$/gm)?.length ?? 0)
      if (seen.at(-1)! >= hitsMin) return
    }
    assert.fail(`helpers hit in each run: ${seen.join(', ')}`)
  }

  for (const [name, what] of Object.entries(attacks))
    test(`A program over its limit is ended though it ${what}`, async () => {
      // With fewer hits, as on a busy machine, a sum that was not disturbed has ended it: that shows nothing of this attack.
      await attack(name, name === 'limits_helper' ? 6 : 0)
    })

  test('A program that starts others by vfork may have more than half of its limit', async () => {
    const ran = await run('in_vfork')
    assert.deepEqual([ran.code, ran.stdout], [0, 'done\n'], ran.stderr)
  })

  test('Children that share a mapping without a name may have it together', async () => {
    const ran = await run('shares_memory')
    assert.deepEqual([ran.code, ran.stdout], [0, 'done\n'], ran.stderr)
  })
})

suite('A process without its first thread', { skip: noFolderWall, timeout: 120_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-thread-'))
  const program = join(folder, 'memory')
  after(() => rmSync(folder, { recursive: true, force: true }))
  before(() => makeProgram('memory', program))

  /** Runs `look` once its other thread has taken 300 MiB. Returns the pid after its end. */
  async function during(look: (pid: number) => void): Promise<number> {
    const child = spawn(program, ['without_first_thread'], { stdio: ['ignore', 'pipe', 'ignore'] })
    const ended = once(child, 'exit')
    try {
      await once(child.stdout, 'data')
      look(child.pid!)
    } finally {
      child.kill('SIGKILL')
      await ended
    }
    return child.pid!
  }

  test('A process without its first thread is alive until its last thread is gone', async () => {
    const uid = process.getuid!()
    const pid = await during((one) => {
      assert.deepEqual([isAlive(one), isExiting(one)], [true, false])
      assert.ok(processesOf(uid).includes(one))
    })
    assert.deepEqual([isAlive(pid), isExiting(pid)], [false, true])
    assert.ok(!processesOf(uid).includes(pid))
  })

  test('Memory of a process without its first thread is counted from outside', async () => {
    await during((pid) => {
      const counts = {
        process: processBytes(pid),
        anonymous: anonymousBytes(pid),
        proportional: proportionalBytes(pid),
        tree: bytesOf([pid]),
        own: ownBytesOf([pid]),
      }
      for (const [name, bytes] of Object.entries(counts)) assert.ok(bytes >= 300 * MIB, name)
    })
  })

  test('A sentry whose first thread alone has exited counts as exiting for a second', async () => {
    await during((pid) => {
      const self = identify(process.pid)
      const ending = new SentryExit({ processes: [self, identify(pid), self] })
      const looks = [0, 1_000, 1_001, 60_000].map((at) => ending.look(at))
      assert.deepEqual(looks, [true, true, false, false])
    })
  })
})

/** Sizes of a process in MiB, as its `status` tells them, and its `smaps_rollup`, which it may not have. */
interface Sizes {
  readonly status: Readonly<Record<string, number>>
  readonly groups?: string
  readonly rollup?: Readonly<Record<string, number>>
}

suite('Sums of memory in the wall of a folder', { skip: noFolderWall, timeout: 240_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-sum-'))
  let program = ''
  let folders = 0
  after(() => rmSync(folder, { recursive: true, force: true }))
  before(async () => {
    // A cache of its own: the program includes a file that its key does not cover.
    const made = join(folder, 'made')
    mkdirSync(made, { mode: 0o700 })
    const source = fileURLToPath(new URL('sum.c', import.meta.url))
    const found = await openCProgram({ name: 'test-sum', sources: [source], folder: made })
    if ('missing' in found) throw new Error(found.missing)
    program = found.file
  })

  const linesOf = (sizes: Readonly<Record<string, number>>) =>
    Object.entries(sizes)
      .map(([name, mib]) => `${name}:\t${mib * 1024} kB\n`)
      .join('')

  /** A folder like /proc with these processes. `machine`: sizes in MiB of its `meminfo`, without which it has none. */
  function procOf(processes: readonly Sizes[], machine?: Readonly<Record<string, number>>): string {
    const proc = join(folder, `proc${folders++}`)
    mkdirSync(proc)
    if (machine) writeFileSync(join(proc, 'meminfo'), `MemTotal:\t1 kB\n${linesOf(machine)}`)
    for (const [index, { status, groups = '0 ', rollup }] of processes.entries()) {
      const own = join(proc, String(100 + index))
      mkdirSync(own)
      writeFileSync(join(own, 'status'), `Name:\tone\nGroups:\t${groups}\n${linesOf(status)}`)
      if (rollup) writeFileSync(join(own, 'smaps_rollup'), `0-1 [rollup]\n${linesOf(rollup)}`)
    }
    return proc
  }

  async function ranOf(proc: string, how: string, bytes: number) {
    const args = [proc, how, String(bytes)]
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'], timeout: 60_000 })
    const [said, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')])
    return { code: code as number | null, lines: said.trimEnd().split('\n') }
  }

  /** MiB of the whole sum, of the largest process, and of the proportional sum. */
  async function sumsOf(proc: string, scratchMib = 0): Promise<readonly number[]> {
    const { code, lines } = await ranOf(proc, 'sums', scratchMib * MIB)
    assert.equal(code, 0)
    return lines[0]!.split(' ').map((bytes) => Number(bytes) / MIB)
  }

  test('Page tables and swapped pages count, and mapped files do not', async () => {
    const status = { RssAnon: 100, RssFile: 500, RssShmem: 20, VmPTE: 2, VmSwap: 30 }
    const rollup = { Pss: 600, Pss_Anon: 50, Pss_File: 500, Pss_Shmem: 10, SwapPss: 15 }
    const machine = { SwapTotal: 1000, SwapFree: 970, Shmem: 500 }
    assert.deepEqual(await sumsOf(procOf([{ status, rollup }], machine)), [152, 132, 77])
    assert.deepEqual(await sumsOf(procOf([{ status }], machine)), [152, 132, 152])
  })

  test('Shared memory that many processes have mapped is no more than this machine has', async () => {
    const status = { RssAnon: 10, RssShmem: 1024, VmPTE: 2 }
    const many = Array.from({ length: 60 }, () => ({ status }))
    const whole = 60 * 12 + 1100
    assert.deepEqual(await sumsOf(procOf(many, { Shmem: 1100 })), [whole, 12, whole])
    const unbounded = 60 * 1036
    assert.deepEqual(await sumsOf(procOf(many)), [unbounded, 12, unbounded])
  })

  test('Files of the scratch folders count once where they are mapped, and swapped out too', async () => {
    const status = { RssAnon: 10, RssShmem: 32, VmPTE: 2 }
    const resident = { SwapTotal: 0, SwapFree: 0, Shmem: 64 }
    assert.deepEqual(await sumsOf(procOf([{ status }], resident), 64), [76, 12, 76])
    const swapped = { SwapTotal: 1000, SwapFree: 100, Shmem: 0 }
    assert.deepEqual(await sumsOf(procOf([{ status }], swapped), 64), [76, 12, 76])
  })

  test('The groups of a user hide no memory, and a file that is cut is in no sum', async () => {
    const status = { RssAnon: 10, VmPTE: 2 }
    const of = (count: number) =>
      sumsOf(procOf([{ status, groups: '4294967294 '.repeat(count) }], { Shmem: 0 }))
    assert.deepEqual(await of(65_536), [12, 12, 12])
    const [whole, , shares] = await of(100_000)
    assert.deepEqual([whole, shares], [-1 / MIB, -1 / MIB])
  })

  /** Two processes that are over a limit of 300 MiB together. */
  const two = () => {
    const one = { status: { RssAnon: 200 }, rollup: { Pss_Anon: 200 } }
    return procOf([one, one])
  }

  test('A sum over the limit that no process can help with ends the command, and not at once', async () => {
    assert.deepEqual(await ranOf(two(), 'none', 300 * MIB), { code: 128 + 9, lines: ['on'] })
  })

  test('Attack: helpers that come late, and are late or nearly, in turn delay the end for two at most', async () => {
    const { code, lines } = await ranOf(two(), 'slow', 300 * MIB)
    assert.equal(code, 128 + 9)
    assert.ok(lines.filter((line) => line === 'helper').length <= 2, lines.join(' '))
  })

  test('A helper that is stopped is killed, and others follow it until the end of the command', async () => {
    const { code, lines } = await ranOf(two(), 'stopped', 300 * MIB)
    assert.equal(code, 128 + 9)
    assert.ok(lines.length > 3, lines.join(' '))
  })
})
