import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { jailKinds } from '../../src/contract/jail-kind.ts'
import { Mayfly } from '../../src/index.ts'
import { descendantsOf } from '../conformance/remains.ts'
import { test } from '../fixtures/drawn.ts'
import { rssOf } from '../hostile/proc.ts'
import { isMissing, unable } from './process-stands.ts'

/**
 * Twenty programs of one tenant take all that they are let, beside one of another tenant that does its work. What it
 * costs that one in time is printed by the bench of the same name; here only that all are held, and it is served.
 */
const MiB = 2 ** 20
const abusers = 20
const processesMax = 16
const memoryMiB = 64
/** An interpreter with what a wall is made of, above what its job may use. */
const wallMiB = 120
const abuses = [
  { code: 'while True: pass', ends: ['timeout'] },
  {
    code: 'import os\nwhile True:\n  try:\n    if os.fork() == 0: continue\n  except OSError: pass',
    ends: ['timeout', 'limit'],
  },
  {
    // With a twentieth of a core beside all the others it may not come as far as its limit.
    code: 'held = []\nwhile True: held.append(bytearray(b"x" * 2**20))',
    ends: ['limit', 'timeout'],
  },
  { code: 'import sys\nwhile True: sys.stdout.write("x" * 65536)', ends: ['limit', 'timeout'] },
] as const

suite('Twenty abusers', { skip: unable('python') }, () => {
  for (const jailKind of jailKinds)
    test(`S0-22: ${jailKind}: each is held to what it may have, and an honest job of another tenant is served`, async (t) => {
      if (isMissing(t, { jailKind })) return
      const folder = mkdtempSync(join(tmpdir(), 'mayfly-abusers-'))
      const before = descendantsOf(process.pid).length
      try {
        await using library = await Mayfly.open({ state: join(folder, 'state') })
        assert.equal((await library.run({ language: 'python', code: 'result = 1' })).status, 'ok')
        const usual = descendantsOf(process.pid).length
        const watch = watchTree()
        const abusing = Array.from({ length: abusers }, async (_, n) => {
          const { code, ends } = abuses[n % abuses.length]!
          const limits = {
            cpu: 0.05,
            memory: `${memoryMiB}MB`,
            processes: processesMax,
            timeout: '3s',
          }
          const job = { language: 'python', code, provider: jailKind, limits } as const
          const { status } = await library.run(job, { tenant: 'abuser' })
          return { code, ends: [...ends, 'unavailable'], status }
        })
        await sleep(500)
        const honest = 'result = sum(n * n for n in range(1000))'
        for (let n = 0; n < 10; n++) {
          const job = { language: 'python', code: honest, provider: jailKind } as const
          const { status, result } = await library.run(job, { tenant: 'honest' })
          assert.deepEqual([status, result], ['ok', 332_833_500])
        }
        const ended = await Promise.all(abusing)
        const { processes, bytes } = watch.stop()
        t.diagnostic(`${processes} processes, ${Math.round(bytes / MiB)} MiB at most`)
        // A job refused for lack of room gets that status and has used no resources.
        for (const { code, ends, status } of ended)
          assert.ok(ends.includes(status), `${code}: ${status}`)
        assert.ok(ended.some(({ status }) => status === 'timeout' || status === 'limit'))
        assert.ok(processes <= usual + (abusers + 2) * (processesMax + 6), `${processes}`)
        assert.ok(bytes <= (abusers + 8) * (memoryMiB * 1.25 + wallMiB) * MiB)
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
      assert.equal(descendantsOf(process.pid).length, before)
    })

  for (const jailKind of jailKinds)
    test(`${jailKind}: memory shared with forked children counts once under a memory cgroup; without one the job ends and says why`, async (t) => {
      if (isMissing(t, { jailKind })) return
      const folder = mkdtempSync(join(tmpdir(), 'mayfly-abusers-'))
      // Ten times the forty MiB that all of them share: four times what the job may have.
      const code = `
import os, time
held = bytearray(b'x' * 40 * 2**20)
children = []
for _ in range(10):
    pid = os.fork()
    if pid == 0:
        time.sleep(0.5)
        os._exit(0)
    children.append(pid)
for pid in children: os.waitpid(pid, 0)
result = len(children)`
      try {
        await using library = await Mayfly.open({ state: join(folder, 'state') })
        const limits = { memory: '96MB', processes: 32, timeout: '20s' } as const
        const job = { language: 'python', code, provider: jailKind, limits } as const
        const { status, result, enforced } = await library.run(job)
        assert.deepEqual(
          [status, result],
          enforced?.memory === 'cgroup' ? ['ok', 10] : ['limit', null],
        )
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    })

  for (const jailKind of jailKinds)
    test(`${jailKind}: shared mappings of a program are charged as memory too`, async (t) => {
      if (isMissing(t, { jailKind })) return
      const folder = mkdtempSync(join(tmpdir(), 'mayfly-abusers-'))
      const code = `
import mmap, time
held = mmap.mmap(-1, 180 * 2**20)
for at in range(0, len(held), 4096): held[at] = 1
time.sleep(1)
result = 'held'`
      try {
        await using library = await Mayfly.open({ state: join(folder, 'state') })
        const limits = { memory: '64MB', disk: '256MB', timeout: '20s' } as const
        const job = { language: 'python', code, provider: jailKind, limits } as const
        const { status, error } = await library.run(job)
        assert.deepEqual([status, error?.code], ['limit', 'MEMORY'])
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    })
})

/** The most that is below this process at any look. */
function watchTree() {
  const most = { processes: 0, bytes: 0 }
  const look = () => {
    const all = descendantsOf(process.pid)
    most.processes = Math.max(most.processes, all.length)
    most.bytes = Math.max(
      most.bytes,
      all.reduce((sum, pid) => sum + (rssOf(pid) ?? 0), 0),
    )
  }
  const timer = setInterval(look, 100).unref()
  return {
    stop() {
      clearInterval(timer)
      return most
    },
  }
}
