import assert from 'node:assert/strict'
import { suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { callClasses } from '../../src/contract/calls.ts'
import { jailKinds } from '../../src/contract/jail-kind.ts'
import { seeded } from '../../src/tiers/mock/seeded.ts'
import { until } from '../conformance/stand.ts'
import { noCompiler } from '../fixtures/c-compiler.ts'
import { test } from '../fixtures/drawn.ts'
import { isMissing, unable } from './process-stands.ts'
import { openWhole } from './whole-wall.ts'

/**
 * Race of fork against RLIMIT_NPROC: without a pids cgroup each process has its own limit, which a fork copies when it
 * begins. Here a fork takes 0.1 s, so one is under way whenever processes are withdrawn.
 */
const lives = process.env['MAYFLY_LONG'] ? 30 : 3
const seed = Number(process.env['MAYFLY_SEED'] ?? Date.now() % 2 ** 31)

/** Tens of thousands of memory mappings, which make a fork slow; each child adds one from time to time. */
const slow = `
import ctypes, os, time
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
pages = 40000
at = libc.mmap(None, pages * 4096, 3, 0x22, -1, 0)
for n in range(0, pages, 2):
    ctypes.memset(at + n * 4096, 1, 1)
    libc.mprotect(at + n * 4096, 4096, 1)
def ask(end):
    while time.monotonic() < end:
        # One that was asked for before the order may be there after it.
        asked = time.monotonic()
        try: pid = os.fork()
        except OSError: pid = -1
        if pid == 0: os._exit(0)
        if pid > 0:
            print('forked %.3f' % (asked * 1000), flush=True)
            os.waitpid(pid, 0)
        time.sleep(0.02)
print('ready', flush=True)
end = time.monotonic() + 60
while time.monotonic() < end:
    began = time.monotonic()
    try: pid = os.fork()
    except OSError: time.sleep(0.02); continue
    if pid == 0:
        time.sleep(0.3)
        ask(time.monotonic() + 1)
        os._exit(0)
    print('took %.0f' % ((time.monotonic() - began) * 1000), flush=True)`

suite('Forks in progress when the process limit drops', { skip: unable('python') }, () => {
  for (const jailKind of jailKinds)
    test(
      `${jailKind}: no process forks after the limit, in ${lives} lives without a pids cgroup`,
      { skip: noCompiler },
      async (t) => {
        if (isMissing(t, { jailKind })) return
        t.diagnostic(`MAYFLY_SEED=${seed}`)
        const random = seeded(seed)
        await using whole = await openWhole({ hide: ['cgroup'] })
        for (let life = 0; life < lives; life++) {
          const wall = await whole.start('python', jailKind)
          await wall.claim({ processes: 64, memory: 2 ** 31 })
          wall.run(slow)
          // Children of the program can fork until then.
          await until(() => /forked/.test(wall.said.stdout), 'a fork of a child', 30_000)
          await sleep(random() * 150)
          const allow = callClasses.filter((name) => name !== 'process')
          await whole.warden.calls(wall.id, [{ afterMs: 0, allow }])
          const told = Number(process.hrtime.bigint()) / 1e6
          await sleep(1500)
          assert.equal(await Promise.race([wall.ended, Promise.resolve('runs')]), 'runs')
          const forked = [...wall.said.stdout.matchAll(/forked ([\d.]+)/g)].map(([, at]) =>
            Number(at),
          )
          const late = forked.filter((at) => at > told).map((at) => at - told)
          await wall.kill()
          t.diagnostic(`${/took \d+/.exec(wall.said.stdout)![0]} ms, ${forked.length} before`)
          assert.deepEqual(late, [])
        }
      },
    )
})
