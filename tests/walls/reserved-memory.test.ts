import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { totalmem } from 'node:os'
import { suite } from 'node:test'
import type { JailLayer } from '../../src/jail/facts.ts'
import type { JailKind } from '../../src/contract/jail-kind.ts'
import type { WardenOptions } from '../../src/contract/warden-options.ts'
import { inNode, inPython, inShell } from '../conformance/guests-of-programs.ts'
import { makeProcesses } from '../conformance/process.ts'
import { messageIn, Stand, type Ended, type GuestLanguage } from '../conformance/stand.ts'
import { test } from '../fixtures/drawn.ts'
import { withNeither } from '../fixtures/half.ts'
import { isMissing, unable } from './process-stands.ts'

/** Reserved address space is not charged; touched memory is charged to the limit. */

const MiB = 2 ** 20
const GiB = 2 ** 30
const memory = 256 * MiB
/** Memory that a program may write between two samples of a watch, on a busy machine. */
const unseenBytes = 256 * MiB

/** Retries, because a busy machine may give the watch no CPU time. */
const heldUpMs = 1_000

interface Wall {
  readonly title: string
  readonly jailKind: JailKind
  readonly options: Omit<WardenOptions, 'stateFolder'>
  readonly skip?: string | false
}

const watched: Wall = {
  title: 'embedded, without control groups',
  jailKind: 'embedded',
  options: { hide: ['root', 'cgroup'], without: ['memory cgroup'] as JailLayer[] },
  skip: withNeither(),
}
const walls: readonly Wall[] = [
  { title: 'embedded', jailKind: 'embedded', options: {} },
  { title: 'bubblewrap', jailKind: 'bubblewrap', options: {} },
  watched,
]

const reserves = (bytes: number, flags = 'mmap.PROT_READ | mmap.PROT_WRITE') => `import mmap
a = mmap.mmap(-1, ${bytes}, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, ${flags})`
const touches = `
for at in range(0, len(a), 4096): a[at] = 1`

const honest: readonly {
  readonly name: string
  readonly of: GuestLanguage
  readonly code: string
  readonly missing?: string | false
  readonly memoryMiB?: number
}[] = [
  {
    name: 'eight worker threads of Node',
    of: inNode,
    code: `import { Worker } from 'node:worker_threads'
const ready = Array.from({ length: 8 }, () => new Promise((resolve, reject) => {
  const worker = new Worker("require('node:worker_threads').parentPort.postMessage(1); setTimeout(() => {}, 200)", { eval: true })
  worker.on('message', resolve).on('error', reject)
}))
await Promise.all(ready)`,
  },
  {
    name: 'little at a time of a heap of Node that makes much garbage, at the default limit',
    of: inNode,
    code: `const kept = []
for (let at = 0; at < 3000; at++) kept[at % 20] = new Array(1 << 15).fill(at)
for (let turn = 0; turn < 20; turn++) {
  const map = new Map()
  for (let at = 0; at < 100_000; at++) map.set(at, { at })
}`,
    memoryMiB: 128,
  },
  { name: '7 GiB of writable memory', of: inPython, code: reserves(7 * GiB) + '\na[0] = 1' },
  { name: '7 GiB of inaccessible memory', of: inPython, code: reserves(7 * GiB, '0') },
  {
    name: 'an empty array of numpy',
    of: inPython,
    code: `import numpy\nassert numpy.empty(7 << 30, dtype=numpy.uint8).nbytes == 7 << 30`,
    missing: !hasNumpy() && 'there is no numpy',
  },
  {
    name: 'a program in Java, from its source',
    of: inShell,
    code: `echo 'public class A { public static void main(String[] a) { System.out.println(a.length); } }' > A.java
java A.java`,
    missing: !existsSync('/usr/bin/java') && 'there is no Java',
  },
  {
    name: 'a program in Go',
    of: inShell,
    code: `mkdir go && cd go && printf 'package main\\nfunc main() {}\\n' > a.go && GOCACHE=/tmp/c go run a.go`,
    missing: !existsSync('/usr/bin/go') && 'there is no Go',
  },
]

suite('Address space of a program', { skip: unable('python') }, () => {
  for (const wall of walls) {
    const { title, jailKind, skip = false } = wall
    for (const { name, of, code, missing = false, memoryMiB } of honest) {
      const isTooMuch = name.startsWith('7 GiB') && totalmem() < 8 * GiB && 'this machine has less'
      test(`${title}: reserves ${name}`, { skip: skip || missing || isTooMuch }, async (t) => {
        if (isMissing(t, { jailKind })) return
        const { end, stderr } = await ended(wall, of, code, memoryMiB)
        assert.equal(end.status, 'ok', `${messageIn(end)} ${stderr}`)
      })
    }

    test(`${title}: touching all reserved memory ends it at its limit`, { skip }, async (t) => {
      if (isMissing(t, { jailKind })) return
      for (const code of [
        reserves(3 * GiB) + touches,
        // By the kernel in one call (MAP_POPULATE), as fast as it can.
        `import mmap\nmmap.mmap(-1, ${3 * GiB}, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x8000)`,
        // By eight processes at once, each of which has a bound of its own.
        `import os\n${reserves(GiB)}\nfor _ in range(3): os.fork()${touches}`,
      ]) {
        const { end } = await ended(wall, inPython, code)
        assert.equal(end.error?.code, 'MEMORY', messageIn(end))
        const peak = end.memory?.peak ?? 0
        t.diagnostic(`${Math.round(peak / MiB)} MiB at the last sample`)
        assert.ok(peak < memory + unseenBytes, `${peak}`)
      }
    })
  }

  const learns: readonly {
    readonly of: GuestLanguage
    readonly name: string
    readonly code: string
    readonly missing?: string | false
  }[] = [
    {
      of: inNode,
      name: 'a Node that it starts',
      code: `import { execFileSync } from 'node:child_process'
const bytes = 'require("node:v8").getHeapStatistics().heap_size_limit'
console.log(execFileSync(process.execPath, ['-p', bytes]).toString())`,
    },
    {
      of: inPython,
      name: 'a Node that Python starts, with more garbage than its limit',
      code: `import subprocess
code = """let kept = []
for (let i = 0; i < 2000; i++) { kept.push(Array.from({ length: 2000 }, (_, k) => ({ k, s: 'x' + k }))); if (kept.length > 250) kept.shift() }
console.log(require('node:v8').getHeapStatistics().heap_size_limit)"""
print(subprocess.run(['node', '-e', code], capture_output=True, text=True).stdout)`,
    },
    {
      of: inShell,
      name: 'a JVM',
      code: `java -XX:+PrintFlagsFinal -version 2>/dev/null | awk '$2 == "MaxHeapSize" { print $4 }'`,
      missing: !existsSync('/usr/bin/java') && 'there is no Java',
    },
  ]
  for (const { of, name, code, missing = false } of learns)
    test(
      `the memory limit of the job, not of the machine, sets the heap size of ${name}`,
      { skip: missing },
      async (t) => {
        if (isMissing(t, walls[0]!)) return
        const { end, stdout, stderr } = await ended(walls[0]!, of, code)
        assert.equal(end.status, 'ok', `${messageIn(end)} ${stderr}`)
        const bytes = Number(stdout)
        assert.ok(bytes > 32 * MiB && bytes <= memory, `${stdout} ${stderr}`)
      },
    )

  const { title, jailKind, skip = false } = watched
  test(
    `${title}: a delayed watch ends it at its next sample, and other work continues`,
    { skip },
    async (t) => {
      if (isMissing(t, { jailKind })) return
      const { provider, close } = await makeProcesses(jailKind, watched.options)
      try {
        const stand = new Stand(provider, () => Promise.reject(new Error('no other')), inPython)
        const code = `import time\nprint('here', flush=True)\ntime.sleep(0.05)\n${reserves(3 * GiB)}${touches}\ntime.sleep(60)`
        const wish = { controls: { memory, cpu: 4 }, entry: 'program' } as const
        const running = await stand.start(code, wish)
        await using _sandbox = running.sandbox
        await running.said('here')
        // The warden is in this process.
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, heldUpMs)
        const end = await running.end
        assert.equal(end.error?.code, 'MEMORY', messageIn(end))
        t.diagnostic(
          `${Math.round((end.memory?.peak ?? 0) / MiB)} MiB after ${heldUpMs} ms without a sample`,
        )
      } finally {
        await provider.close?.()
        await close()
      }
    },
  )

  test(
    `${title}: no process can reserve more than the memory of the machine`,
    { skip },
    async (t) => {
      if (isMissing(t, { jailKind })) return
      const pieces = Math.ceil(Math.max(totalmem(), 4 * GiB) / GiB) + 1
      const code = `import mmap
held = []
try:
    for _ in range(${pieces}): held.append(mmap.mmap(-1, ${GiB}, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
except OSError as error: print(error.errno, len(held) > 2)`
      const { stdout } = await ended(watched, inPython, code)
      assert.equal(stdout, '12 True\n')
    },
  )
})

async function ended(
  wall: Wall,
  of: GuestLanguage,
  code: string,
  memoryMiB = memory / MiB,
): Promise<Ended> {
  const { provider, close } = await makeProcesses(wall.jailKind, wall.options)
  try {
    const stand = new Stand(provider, () => Promise.reject(new Error('no other')), of)
    const wish = { controls: { memory: memoryMiB * MiB, cpu: 2 }, limits: { timeout: 60_000 } }
    return await stand.run(code, { ...wish, entry: 'program' })
  } finally {
    await provider.close?.()
    await close()
  }
}

function hasNumpy(): boolean {
  try {
    execFileSync('/usr/bin/python3', ['-c', 'import numpy'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
