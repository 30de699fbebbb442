import assert from 'node:assert/strict'
import { after, before, suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Controls } from '../../src/contract/controls.ts'
import type { Sandbox } from '../../src/contract/provider.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { jailKinds, type JailKind } from '../../src/contract/jail-kind.ts'
import { inPython } from '../conformance/guests-of-programs.ts'
import { makeProcesses } from '../conformance/process.ts'
import { Stand, type Made } from '../conformance/stand.ts'
import { test } from '../fixtures/drawn.ts'
import { withNeither } from '../fixtures/half.ts'

/** Limits lowered on a running program, in each jail kind, with cgroups and without. */
const machines = {
  'with what there is': {},
  'without control groups': { hide: ['root', 'cgroup'] },
} as const

for (const jailKind of jailKinds)
  for (const [machine, options] of Object.entries(machines))
    suite(`${jailKind}, ${machine}`, { skip: unable(jailKind, machine) }, () => {
      let made: Made
      let stand: Stand
      before(async () => {
        made = await makeProcesses(jailKind, options, 'python')
        stand = new Stand(made.provider, () => Promise.reject(new Error('no other')), inPython)
      })
      after(async () => {
        await made.provider.close?.()
        await made.close()
      })

      test('A busy program gets less CPU time after the limit is lowered', async () => {
        const code = `import time
def main(input):
    def share(seconds):
        wall, cpu = time.monotonic(), time.process_time()
        while time.monotonic() - wall < seconds: pass
        return (time.process_time() - cpu) / (time.monotonic() - wall)
    before = share(0.5)
    print('half', flush=True)
    time.sleep(0.3)
    share(0.5)
    return [before, share(1.5)]`
        const controls = { cpu: 1 }
        const running = await stand.start(code, { controls })
        await using sandbox = running.sandbox
        await running.said('half')
        const held = await tightenTo(stand, sandbox, controls, { cpu: 0.2 })
        assert.equal(held.cpu, 0.2)
        const { resultText } = await running.end
        const [, later] = JSON.parse(resultText) as [number, number]
        assert.ok(later < 0.3, `it still gets ${later} of a core`)
      })

      const isUncounted = machine === 'without control groups' && process.getuid?.() === 0
      const skip = isUncounted && 'the kernel does not count the processes of uid 0'
      test(
        'A program cannot start more processes, and running ones continue',
        { skip },
        async () => {
          const code = `import subprocess, time
def main(input):
    first = subprocess.Popen(['sleep', '15'])
    print('one', flush=True)
    def refused():
        begun = []
        try:
            for n in range(8): begun.append(subprocess.Popen(['sleep', '15']))
        except OSError: return True
        finally:
            for one in begun: one.kill(); one.wait()
    for n in range(200):
        if refused(): break
        time.sleep(0.02)
    started = 0
    for n in range(20):
        try:
            subprocess.Popen(['sleep', '5']); started += 1
        except OSError: break
    return {'started': started, 'runs': first.poll() is None}`
          const controls = { processes: 40 }
          const running = await stand.start(code, { controls })
          await using sandbox = running.sandbox
          await running.said('one')
          const held = await tightenTo(stand, sandbox, controls, { processes: 2 })
          assert.equal(held.processes, 2)
          const { resultText } = await running.end
          const { started, runs } = JSON.parse(resultText) as { started: number; runs: boolean }
          assert.ok(runs)
          assert.ok(started < 8, `${started} were started`)
        },
      )

      test('A program that grows beyond a lowered memory limit is ended', async () => {
        const code = `import time
def main(input):
    held = bytearray(8 << 20)
    print('small', flush=True)
    time.sleep(0.3)
    for n in range(200):
        held += b'x' * (1 << 20)
        time.sleep(0.01)
    return len(held)`
        const controls = { memory: 512 * 2 ** 20 }
        const running = await stand.start(code, { controls })
        await using sandbox = running.sandbox
        await running.said('small')
        await tightenTo(stand, sandbox, controls, { memory: 32 * 2 ** 20 })
        const { status, error } = await running.end
        assert.deepEqual([status, error?.code], ['limit', 'MEMORY'])
      })

      test('A frozen program makes no progress, and continues after the thaw', async () => {
        const code = `import time
def main(input):
    for n in range(60):
        print(n, flush=True)
        time.sleep(0.02)
    return 'done'`
        const running = await stand.start(code)
        await using sandbox = running.sandbox
        await running.said('3')
        await sandbox.freeze()
        await sleep(50)
        const before = running.stdout()
        await sleep(300)
        assert.equal(running.stdout(), before)
        await sandbox.thaw()
        assert.equal((await running.end).resultText, '"done"')
      })
    })

function unable(jailKind: JailKind, machine: string): string | false {
  if (jailKind === 'bubblewrap' && !findProgram('bwrap')) return 'bwrap is missing'
  return machine === 'without control groups' && withNeither()
}

async function tightenTo(
  stand: Stand,
  sandbox: Sandbox,
  granted: Partial<Controls>,
  to: Partial<Controls>,
): Promise<Controls> {
  const { controls } = stand.profile({ controls: granted })
  const { controls: holds, unenforced } = await sandbox.tighten({ ...controls, ...to })
  assert.deepEqual(unenforced, [])
  return holds
}
