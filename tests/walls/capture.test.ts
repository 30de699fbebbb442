import assert from 'node:assert/strict'
import { findJailFacts } from '../../src/jail/facts.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { jailKinds } from '../../src/contract/jail-kind.ts'
import { captureBytesMax } from '../../src/walls/memory-capture.ts'
import { capturedMax } from '../../src/warden/engines/processes/sentinel.ts'
import type { WardenOptions } from '../../src/contract/warden-options.ts'
import { inPython } from '../conformance/guests-of-programs.ts'
import { makeProcesses } from '../conformance/process.ts'
import { Stand, until } from '../conformance/stand.ts'
import { noCompiler } from '../fixtures/c-compiler.ts'
import { suite, test } from '../fixtures/drawn.ts'

/** Capture: the sentinel of a wall copies the memory of its processes while they are stopped. */
const MIB = 2 ** 20
const skip = !findJailFacts().namespaces && 'namespaces are forbidden here'

/** Planted in memory by the guest; its source does not contain the text. */
const planted = 'the-planted-text-of-a-child'
const hidden = JSON.stringify([...Buffer.from(planted)].map((byte) => byte ^ 0x55))
const holds = (mib: number) => `
import os, time
def main(input):
    heard, tells = os.pipe()
    child = os.fork()
    kept = bytes(b ^ 0x55 for b in ${hidden}) * 2 if child == 0 else b'x' * ${mib} * (1 << 20)
    if child == 0:
        os.write(tells, b'.')
        time.sleep(60)
        os._exit(0)
    os.read(heard, 1)
    print('holds', flush=True)
    for n in range(2000):
        print(n, flush=True)
        time.sleep(0.01)
    return len(kept)`

/** Starts more small processes than a capture may contain, and then the one with the planted text. */
const behindMany = `
import os, subprocess, time
def main(input):
    for n in range(${capturedMax + 26}): subprocess.Popen(['/bin/sleep', '60'])
    heard, tells = os.pipe()
    if os.fork() == 0:
        kept = bytes(b ^ 0x55 for b in ${hidden}) * 2
        os.write(tells, b'.')
        time.sleep(60)
    os.read(heard, 1)
    print('holds', flush=True)
    time.sleep(60)`

async function openStand(
  jailKind: (typeof jailKinds)[number],
  options: Omit<WardenOptions, 'stateFolder'>,
) {
  const made = await makeProcesses(jailKind, options, 'python')
  const stand = new Stand(made.provider, () => Promise.reject(new Error('no other')), inPython)
  return {
    stand,
    async [Symbol.asyncDispose]() {
      await made.provider.close?.()
      await made.close()
    },
  }
}

for (const jailKind of jailKinds)
  suite(
    `Memory of a program, ${jailKind}`,
    {
      skip: skip || (jailKind === 'bubblewrap' && !findProgram('bwrap')),
    },
    () => {
      test(
        'is copied twice, with that of its child, and the program continues after each copy',
        {
          skip: noCompiler,
        },
        async () => {
          await using opened = await openStand(jailKind, {})
          const running = await opened.stand.start(holds(1))
          await using sandbox = running.sandbox
          await running.said('holds')
          for (const _ of ['once', 'and again']) {
            const { kind, parts, why } = await sandbox.capture()
            assert.deepEqual([kind, why], ['memory', undefined])
            const [memory, places] = parts
            assert.deepEqual([memory!.name, places!.name], ['memory.bin', 'memory.json'])
            assert.ok(Buffer.concat(memory!.bytes).includes(planted + planted))
            const told = JSON.parse(Buffer.concat(places!.bytes).toString()) as {
              readonly pid?: number
              readonly bytes?: number
            }[]
            assert.ok(new Set(told.flatMap(({ pid }) => pid ?? [])).size >= 2)
            const bytes = told.reduce((sum, one) => sum + (one.bytes ?? 0), 0)
            assert.equal(bytes, Buffer.concat(memory!.bytes).byteLength)
            const before = running.stdout()
            await until(() => running.stdout() !== before, 'more output')
          }
          sandbox.kill({ status: 'cancelled' })
          await running.end
        },
      )

      test(
        'is copied up to the byte limit of a capture, and the reason names the limit',
        { skip: noCompiler },
        async () => {
          await using opened = await openStand(jailKind, {})
          const controls = { memory: 512 * MIB }
          const running = await opened.stand.start(holds(100), { controls })
          await using sandbox = running.sandbox
          await running.said('holds')
          const { kind, parts, why } = await sandbox.capture()
          assert.equal(kind, 'memory')
          assert.equal(Buffer.concat(parts[0]!.bytes).byteLength, captureBytesMax)
          assert.match(why!, /more than \d+ bytes/)
          sandbox.kill({ status: 'cancelled' })
          await running.end
        },
      )

      test(
        'is copied from the largest processes first, and the number of those left out is reported',
        { skip: noCompiler },
        async () => {
          await using opened = await openStand(jailKind, {})
          const running = await opened.stand.start(behindMany, { controls: { processes: 200 } })
          await using sandbox = running.sandbox
          await running.said('holds')
          const { parts, why } = await sandbox.capture()
          assert.ok(Buffer.concat(parts[0]!.bytes).includes(planted + planted))
          assert.match(why!, /^\d+ of its processes are left out$/)
          sandbox.kill({ status: 'cancelled' })
          await running.end
        },
      )

      test('is not copied without a sentinel, and the capture gives the reason', async () => {
        await using opened = await openStand(jailKind, { sentinel: false })
        const running = await opened.stand.start(holds(1))
        await using sandbox = running.sandbox
        await running.said('holds')
        const { kind, parts, why } = await sandbox.capture()
        assert.deepEqual([kind, parts], ['none', []])
        assert.match(why!, /sentinel: it is switched off/)
        assert.ok(!sandbox.tightens!.includes('syscalls'))
        sandbox.kill({ status: 'cancelled' })
        await running.end
      })
    },
  )
