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
/** Memory of an interpreter and its wall, beyond the limit of its job. */
const wallMiB = 120
const wallProcesses = 8
/** Minimum of abusers that were admitted: a refused one proves nothing. */
const ranMin = abusers / 2
interface Abuse {
  readonly code: string
  readonly ends: readonly string[]
  readonly cpu?: number
  readonly timeout?: string
}
const hog: Abuse = {
  code: 'held = []\nwhile True: held.append(bytearray(b"x" * 2**20))',
  ends: ['limit'],
  // Enough time to reach its limit beside all the others.
  cpu: 1,
  timeout: '20s',
}
const bomb: Abuse = {
  code: 'import os\nwhile True:\n  try:\n    if os.fork() == 0: continue\n  except OSError: pass',
  ends: ['timeout', 'limit'],
}
const abuses: readonly Abuse[] = [
  { code: 'while True: pass', ends: ['timeout'] },
  bomb,
  hog,
  { code: 'import sys\nwhile True: sys.stdout.write("x" * 65536)', ends: ['limit', 'timeout'] },
]

suite('Twenty abusers', { skip: unable('python') }, () => {
  for (const jailKind of jailKinds)
    test(`S0-22: ${jailKind}: all together stay within limits, and honest jobs of another tenant are served`, async (t) => {
      if (isMissing(t, { jailKind })) return
      const folder = mkdtempSync(join(tmpdir(), 'mayfly-abusers-'))
      const before = descendantsOf(process.pid).length
      try {
        await using library = await Mayfly.open({ state: join(folder, 'state') })
        assert.equal((await library.run({ language: 'python', code: 'result = 1' })).status, 'ok')
        const usual = treeBelow()
        const watch = watchTree()
        const abusing = Array.from({ length: abusers }, async (_, n) => {
          const abuse = abuses[n % abuses.length]!
          const { code, cpu = 0.05, timeout = '3s' } = abuse
          const limits = { cpu, memory: `${memoryMiB}MB`, processes: processesMax, timeout }
          const job = { language: 'python', code, provider: jailKind, limits } as const
          return { abuse, ...(await library.run(job, { tenant: 'abuser' })) }
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
        assert.ok(processes > usual.processes && bytes > usual.bytes, 'no wall was looked at')
        // A job refused for lack of capacity gets that status and has used no resources.
        const ran = ended.filter(({ status }) => status !== 'unavailable')
        const [hogs, bombs] = [hog, bomb].map((one) => ran.filter(({ abuse }) => abuse === one))
        t.diagnostic(`${ran.length} ran, ${hogs!.length} hogs, ${bombs!.length} bombs`)
        for (const { abuse, status, error } of ran)
          assert.ok(
            abuse.ends.includes(status),
            `${abuse.code}: ${status}, ${error?.code} ${error?.message}`,
          )
        for (const { error } of hogs!) assert.equal(error?.code, 'MEMORY')
        assert.ok(ran.length >= ranMin && hogs!.length > 0 && bombs!.length > 0)
        // The honest job and the spares have their own walls.
        const walls = ran.length + 4
        const most = usual.processes + walls * wallProcesses + bombs!.length * processesMax
        assert.ok(processes <= most, `${processes} of ${most}`)
        const bytesMax = usual.bytes + (walls * wallMiB + hogs!.length * memoryMiB * 1.25) * MiB
        assert.ok(bytes <= bytesMax, `${bytes} of ${bytesMax}`)
        t.diagnostic(`of ${most}, and ${Math.round(bytesMax / MiB)} MiB`)
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
      assert.equal(descendantsOf(process.pid).length, before)
    })

  for (const jailKind of jailKinds)
    test(`${jailKind}: memory shared with forked children counts once under a memory cgroup; without one the job ends with a reason`, async (t) => {
      if (isMissing(t, { jailKind })) return
      const folder = mkdtempSync(join(tmpdir(), 'mayfly-abusers-'))
      // Ten times the forty MiB that all of them share: four times the limit of the job.
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

/** Maximum number and memory of the processes below this one, over all samples. */
function watchTree() {
  const most = { processes: 0, bytes: 0 }
  const look = () => {
    const { processes, bytes } = treeBelow()
    most.processes = Math.max(most.processes, processes)
    most.bytes = Math.max(most.bytes, bytes)
  }
  const timer = setInterval(look, 100).unref()
  return {
    stop() {
      clearInterval(timer)
      return most
    },
  }
}

function treeBelow() {
  const all = descendantsOf(process.pid)
  return { processes: all.length, bytes: all.reduce((sum, pid) => sum + (rssOf(pid) ?? 0), 0) }
}
