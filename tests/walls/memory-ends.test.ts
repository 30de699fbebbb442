import assert from 'node:assert/strict'
import { suite } from 'node:test'
import { openCgroups } from '../../src/os/cgroup.ts'
import type { JailLayer } from '../../src/jail/facts.ts'
import type { JailKind } from '../../src/contract/jail-kind.ts'
import type { WardenOptions } from '../../src/contract/warden-options.ts'
import { inNode, inPython, inShell } from '../conformance/guests-of-programs.ts'
import { makeProcesses } from '../conformance/process.ts'
import { messageIn, Stand, type Ended, type GuestLanguage } from '../conformance/stand.ts'
import { test } from '../fixtures/drawn.ts'
import { withNeither } from '../fixtures/half.ts'
import { isMissing, unable } from './process-stands.ts'

/** Programs that fill their memory: each ends with status limit, also if the kernel kills before the warden notices. */

const MiB = 2 ** 20
const memory = 64 * MiB
const bombs = process.env['MAYFLY_LONG'] === undefined ? 8 : 64
/** Concurrent memory bombs: more than this machine has cores. */
const atOnce = 4
/** Long enough for page tables of 1 GiB on a busy machine. */
const endMsMax = 300_000

const stands: readonly {
  readonly title: string
  readonly jailKind: JailKind
  readonly options: Omit<WardenOptions, 'stateFolder'>
  readonly skip?: string | false
}[] = [
  ...(['embedded', 'bubblewrap'] as const).flatMap((jailKind) => [
    { title: jailKind, jailKind, options: {} },
    {
      // The kernel kills each of its bombs, and the program notices first.
      title: `${jailKind}, without a watch`,
      jailKind,
      options: { without: ['memory watch'] as JailLayer[] },
      skip: !openCgroups() && 'there is no memory cgroup',
    },
  ]),
  {
    title: 'embedded, without control groups',
    jailKind: 'embedded',
    options: { hide: ['root', 'cgroup'], without: ['memory cgroup'] as JailLayer[] },
    skip: withNeither(),
  },
]

const inSteps = `a = []
while True: a.append(bytearray(8 << 20))`

const programs: readonly {
  readonly name: string
  readonly of: GuestLanguage
  readonly code: string
}[] = [
  { name: 'Python', of: inPython, code: inSteps },
  {
    // 4 KiB of page tables for each byte that is read, and none of it resident.
    name: 'Python, by page tables of zeros that it reads',
    of: inPython,
    code: `import mmap
a = mmap.mmap(-1, 1 << 39, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ)
for at in range(0, len(a), 2 << 20): a[at]`,
  },
  {
    name: 'a child of Python, while Python exits with 0',
    of: inPython,
    code: `import os
if os.fork() == 0:
    a = bytearray(1 << 30)
    os._exit(0)
os.wait()`,
  },
  {
    name: 'Node',
    of: inNode,
    code: 'const a = []; for (;;) a.push(Buffer.alloc(8 << 20, 1))',
  },
  { name: 'a child of a shell', of: inShell, code: `python3 -c 'a = bytearray(1 << 30)'` },
  {
    name: 'a child of a shell that hides its exit status',
    of: inShell,
    code: `python3 -c 'a = bytearray(1 << 30)' 2>&1 | cat; exit 0`,
  },
]

suite('Programs that fill their memory', { skip: unable('python') }, () => {
  for (const { title, jailKind, options, skip = false } of stands)
    for (const { name, of, code } of programs)
      test(
        `${title}: ${name} ends at the memory limit, in each of ${bombs} runs`,
        { skip },
        async (t) => {
          if (isMissing(t, { jailKind })) return
          const ends = await endsOf({ jailKind, options, of, code, times: bombs })
          const others = ends.filter(({ end }) => end.error?.code !== 'MEMORY')
          const isWatchedOnly = !openCgroups() || options.without?.includes('memory cgroup')
          const unseen = isWatchedOnly ? others.filter(isUnseen) : []
          assert.ok(unseen.length <= bombs / 8, `${unseen.length} of ${bombs} were not detected`)
          assert.deepEqual(
            others.filter((one) => !unseen.includes(one)).map(({ end }) => messageIn(end)),
            [],
          )
        },
      )
})

/** A watch without CPU time sees nothing; then the end must report no peak, rather than too low a one. */
function isUnseen({ end }: Ended): boolean {
  return end.status === 'ok' && end.memory === undefined
}

/** Kinds of memory that stay allocated for a while, with their MiB. */
const standing: readonly {
  readonly name: string
  readonly of: GuestLanguage
  readonly code: (mib: number) => string
}[] = [
  {
    name: 'a list',
    of: inPython,
    code: (mib) => `import time\na = bytearray(${mib} << 20)\ntime.sleep(1)`,
  },
  {
    name: 'buffers of Node',
    of: inNode,
    code: (mib) => `const a = Buffer.alloc(${mib} << 20, 1); setTimeout(() => a.length, 1_000)`,
  },
  {
    name: 'separate shared memory of three processes',
    of: inPython,
    code: (mib) => `import mmap, os, time
for _ in range(3):
    if os.fork() == 0:
        a = mmap.mmap(-1, (${mib} << 20) // 3)
        for at in range(0, len(a), 4096): a[at] = 1
        time.sleep(1)
        os._exit(0)
for _ in range(3): os.wait()`,
  },
]

suite('A limit on memory', { skip: unable('python') }, () => {
  for (const { title, jailKind, options, skip = false } of stands) {
    if (options.without?.includes('memory watch')) continue
    for (const { name, of, code } of standing)
      test(
        `${title}: counts the memory that a job adds, and a job above it never ends ok: ${name}`,
        { skip },
        async (t) => {
          if (isMissing(t, { jailKind })) return
          const wish = { jailKind, options, of }
          const isCounted = !options.without?.includes('memory cgroup')
          const isSeen = (peak: number) => peak > 45 * MiB || !isCounted
          let peak = 0
          // Under load the allocation may happen between two samples.
          for (let tries = 0; tries < 4; tries++) {
            const [within] = await endsOf({ ...wish, code: code(52), times: 1 })
            assert.equal(within!.end.status, 'ok', messageIn(within!.end))
            peak = within!.end.memory?.peak ?? 0
            assert.ok(peak <= memory, `${peak}`)
            if (isSeen(peak)) break
          }
          assert.ok(isSeen(peak), `${peak}`)
          const [beyond] = await endsOf({ ...wish, code: code(72), times: 1 })
          assert.equal(beyond!.end.error?.code, 'MEMORY', messageIn(beyond!.end))
          assert.ok(beyond!.end.memory!.peak >= memory, `${beyond!.end.memory!.peak}`)
        },
      )
  }

  for (const jailKind of ['embedded', 'bubblewrap'] as const)
    test(`${jailKind}: the Node of a job reports the limit as the memory of the machine, and what is free of it`, async (t) => {
      if (isMissing(t, { jailKind })) return
      const code = `import os, { totalmem } from 'node:os'
const figures = () => [totalmem(), os.freemem(), process.constrainedMemory(), process.availableMemory()]
const before = figures()
const held = Buffer.alloc(${24 * MiB}, 1)
console.log(JSON.stringify([before, figures(), held.length]))`
      const [ended] = await endsOf({ jailKind, options: {}, of: inNode, code, times: 1 })
      assert.equal(ended!.end.status, 'ok', messageIn(ended!.end))
      const [before, after] = JSON.parse(ended!.stdout) as readonly number[][]
      for (const [total, free, limit, available] of [before!, after!]) {
        assert.deepEqual([total, limit], [memory, memory])
        assert.ok(free! <= memory && available! <= memory, `${free} ${available}`)
      }
      assert.ok(after![1]! < memory - 20 * MiB, JSON.stringify(after))
    })

  test('shared memory counts once, also beside large page-cache use', async (t) => {
    if (isMissing(t, { jailKind: 'embedded' })) return
    if (!openCgroups()) return t.skip('there is no memory cgroup')
    const code = `import mmap, os, time
with open('/tmp/beside', 'wb') as beside:
    for _ in range(40): beside.write(b'x' * (1 << 20))
a = mmap.mmap(-1, 40 << 20)
for at in range(0, len(a), 4096): a[at] = 1
for _ in range(4):
    if os.fork() == 0:
        sum(a[::4096])
        time.sleep(1)
        os._exit(0)
for _ in range(4): os.wait()`
    const [once] = await endsOf({ jailKind: 'embedded', options: {}, of: inPython, code, times: 1 })
    assert.equal(once!.end.status, 'ok', messageIn(once!.end))
  })
})

async function endsOf(wish: {
  readonly jailKind: JailKind
  readonly options: Omit<WardenOptions, 'stateFolder'>
  readonly of: GuestLanguage
  readonly code: string
  readonly times: number
}): Promise<readonly Ended[]> {
  const { provider, close } = await makeProcesses(wish.jailKind, wish.options)
  const ends: Ended[] = []
  try {
    const stand = new Stand(provider, () => Promise.reject(new Error('no other')), wish.of)
    const limits = { timeout: endMsMax }
    const once = () => stand.run(wish.code, { limits, controls: { memory }, entry: 'program' })
    while (ends.length < wish.times) {
      const length = Math.min(atOnce, wish.times - ends.length)
      ends.push(...(await Promise.all(Array.from({ length }, once))))
    }
  } finally {
    await provider.close?.()
    await close()
  }
  return ends
}
