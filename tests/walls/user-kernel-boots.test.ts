import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { TestContext } from 'node:test'
import { isAlive } from '../../src/os/proc.ts'
import { UserKernelBoots } from '../../src/warden/engines/user-mode-linux/boots.ts'
import { suite, test } from '../fixtures/drawn.ts'
import { machineState } from '../fixtures/machine-images.ts'
import { guestHost } from './qemu-here.ts'
import { isUserKernelThere, noUserKernel } from './user-kernel-here.ts'

/** Guests of user-mode kernels with a parked runner. A boot takes some 350 ms of processor time, with the runner's start. */
const found = isUserKernelThere() ? await machineState() : { missing: noUserKernel }
const skip = 'missing' in found ? found.missing : false
const state = async () => ('missing' in found ? '' : found.state)
const key = { program: 'python', isWarm: true, memoryMiB: 384, scratchBytes: 2 ** 24 } as const
const timeout = 240_000
const WAIT_MS = 60_000

suite('A guest with a parked runner', { skip, timeout }, () => {
  for (const program of ['node', 'python'] as const)
    test(`"${program}" is parked behind its carrier, and a release leaves nothing`, async (t) => {
      const { guest, host } = await taken(t, { ...key, program })
      const nonce = guest.agent.nonce()
      guest.agent.send({ kind: 'status', nonce })
      const { processes } = await guest.agent.take('statused', WAIT_MS)
      const names = { node: 'node-MainThread', python: 'python3' }
      assert.deepEqual(
        processes.map(({ name }) => name).toSorted(),
        ['carrier', names[program]].toSorted(),
      )
      const { cgroup } = guest.process
      await guest.release()
      assert.deepEqual(
        guest.process.processes.filter(({ pid, startTime }) => isAlive(pid, startTime)),
        [],
      )
      assert.equal(host.leases.size, 0)
      assert.ok(!host.cgroups?.list().includes(cgroup?.name ?? ''))
    })

  test('A freeze stops a program in a loop until the thaw, and the guest continues', async (t) => {
    const { guest } = await taken(t, key)
    const { agent, process: kernel } = guest
    const script = 'while :; do :; done'
    agent.send({
      kind: 'run',
      program: 7,
      streams: [],
      uid: 1000,
      gid: 1000,
      stdoutCredit: 0,
      stderrCredit: 0,
      file: '/bin/sh',
      folder: '/',
      args: ['sh', '-c', script],
      variables: [],
      descriptors: [],
    })
    await agent.take('started', WAIT_MS, ({ program }) => program === 7)
    await kernel.freeze()
    const spent = kernel.cgroup?.cpuMs()
    const nonce = agent.nonce()
    agent.send({ kind: 'status', nonce })
    await assert.rejects(agent.take('statused', 100), { code: 'PROTOCOL' })
    if (spent !== undefined) assert.ok(kernel.cgroup!.cpuMs()! - spent < 5)
    await kernel.thaw()
    const { count } = await agent.take('statused', WAIT_MS, (one) => one.nonce === nonce)
    assert.equal(count, 3)
  })

  test('A source that closes ends a boot in flight, and rejects it', async () => {
    const host = guestHost()
    const leased = Promise.withResolvers<void>()
    const told = {
      ...host,
      lease: (...given: Parameters<typeof host.lease>) => {
        host.lease(...given)
        leased.resolve()
      },
    }
    const source = new UserKernelBoots({ host: told, options: {}, state })
    await source.facts()
    const taking = source.take(key)
    const refused = assert.rejects(taking, { code: 'DRAINING' })
    await Promise.race([leased.promise, refused])
    await source.close()
    await refused
    assert.equal(host.leases.size, 0)
  })

  test('Missing images and a missing kernel are reported with a fix', async (t) => {
    const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-test-'))
    t.after(() => rmSync(folder, { recursive: true, force: true }))
    mkdirSync(path.join(folder, 'state'))
    const host = guestHost()
    const empty = async () => path.join(folder, 'state')
    const without = new UserKernelBoots({ host, options: {}, state: empty })
    await assert.rejects(without.take(key), { code: 'UNAVAILABLE', hint: /images build/ })
    const options = { hide: ['user-mode-linux'] }
    const none = new UserKernelBoots({ host, options, state })
    await assert.rejects(none.take(key), { code: 'UNAVAILABLE', hint: /user-mode-linux/ })
  })
})

async function taken(t: TestContext, wanted: Parameters<UserKernelBoots['take']>[0]) {
  const host = guestHost()
  const source = new UserKernelBoots({ host, options: {}, state })
  const guest = await source.take(wanted)
  t.after(async () => {
    await guest.release()
    await source.close()
  })
  return { guest, host }
}
