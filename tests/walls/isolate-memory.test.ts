import assert from 'node:assert/strict'
import { suite } from 'node:test'
import type { WardenOptions } from '../../src/contract/warden-options.ts'
import { makeIsolates } from '../conformance/isolated-vm.ts'
import { inJs, messageIn, Stand } from '../conformance/stand.ts'
import { test } from '../fixtures/drawn.ts'

/** Small limits of isolates, which V8 enforces to some mebibytes: the end of a job compares what it holds. */

const MiB = 2 ** 20

const machines: Readonly<Record<string, Omit<WardenOptions, 'stateFolder'>>> = {
  'this machine': {},
  'a machine without control groups': { hide: ['root', 'cgroup'] },
}

const pieces = (bytes: number) => `const held = (globalThis.held = [])
for (let taken = 0; taken < ${bytes}; taken += 131072) held.push(new Uint8Array(131072).fill(1))`
const holds = (bytes: number) => `${pieces(bytes)}\nreturn held.length`
const drops = (bytes: number) => `${pieces(bytes)}\nheld.length = 0\nreturn 1`

suite('A limit on the memory of an isolate', () => {
  for (const [name, options] of Object.entries(machines))
    test(`on ${name} of 16 and 32 MB leaves a job three quarters of it, and a job that holds 2 MiB more than its limit of 2 to 32 MB ends limit, also where V8 lets it`, async () => {
      const { provider, close } = await makeIsolates(options)
      try {
        const stand = new Stand(provider, () => Promise.reject(new Error('no other')), inJs)
        const run = async (code: string, memory: number) =>
          (await stand.run(code, { controls: { memory } })).end
        for (const memory of [16 * MiB, 32 * MiB]) {
          const within = await run(holds(memory * 0.75), memory)
          assert.equal(within.status, 'ok', messageIn(within))
          assert.ok(within.memory!.used <= memory, `${within.memory!.used} of ${memory}`)
        }
        for (const memory of [2 * MiB, 8 * MiB, 16 * MiB, 32 * MiB]) {
          const beyond = await run(holds(memory + 2 * MiB), memory)
          assert.equal(beyond.status, 'limit', `${memory}: ${messageIn(beyond)}`)
          assert.equal(beyond.error?.code, 'MEMORY')
          assert.equal(beyond.resultText, 'null')
          assert.ok(beyond.memory!.used > memory, `${beyond.memory!.used} of ${memory}`)
        }
        const dropped = await run(drops(10 * MiB), 8 * MiB)
        assert.equal(dropped.status, 'ok', `garbage counts: ${messageIn(dropped)}`)
      } finally {
        await provider.close?.()
        await close()
      }
    })
})
