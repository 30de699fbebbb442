import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { MayflyError } from '../../src/contract/error.ts'
import { isAlive } from '../../src/os/proc.ts'
import { ColdBoots } from '../../src/warden/engines/qemu/cold-boot.ts'
import { AgentLink } from '../../src/agent-wire/agent-link.ts'
import { suite, test } from '../fixtures/drawn.ts'
import { machineState } from '../fixtures/machine-images.ts'
import { isQemuThere, guestHost, noQemu } from './qemu-here.ts'

/** Machines that are booted for one job each, with a parked runner. A boot takes some seven seconds of processor time. */
const found = isQemuThere() ? await machineState() : { missing: noQemu }
const skip = 'missing' in found ? found.missing : false
const state = async () => ('missing' in found ? '' : found.state)
const key = { program: 'python', isWarm: false, memoryMiB: 384, scratchBytes: 2 ** 24 } as const

suite('A cold boot', { skip, timeout: 600_000 }, () => {
  test('A booted machine has a parked runner of another user, in a jail, and its release leaves nothing', async () => {
    const host = guestHost()
    const { leases } = host
    const source = new ColdBoots({ host, options: {}, state })
    const machine = await source.take(key)
    const { processes, folder, cgroup } = machine.process
    assert.equal(machine.origin, 'boot')
    assert.ok(leases.has(machine.process.id))
    const nonce = machine.agent.nonce()
    machine.agent.send({ kind: 'status', nonce })
    const status = await machine.agent.take('statused', 60_000)
    assert.deepEqual(status.processes.map(({ name }) => name).toSorted(), ['carrier', 'python3'])
    assert.match(readFileSync(`/proc/${processes.at(-1)!.pid}/status`, 'utf8'), /^NoNewPrivs:\t1$/m)
    await machine.release()
    assert.deepEqual(
      processes.filter(({ pid, startTime }) => isAlive(pid, startTime)),
      [],
    )
    assert.ok(!existsSync(folder) && !leases.has(machine.process.id))
    assert.ok(!host.cgroups?.list().includes(cgroup?.name ?? ''))
    await source.close()
  })

  test('A connection resumed from a history refuses to start a program that the history already has', async () => {
    const host = guestHost()
    const source = new ColdBoots({ host, options: {}, state })
    const machine = await source.take(key)
    const { history } = machine.agent
    const resumed = AgentLink.resume(machine.takeJobChannel(), history)
    const again = history.turns.find((turn) => 'sent' in turn && turn.sent.kind === 'run')
    assert.ok(again && 'sent' in again)
    assert.throws(() => resumed.send(again.sent), RangeError)
    resumed.close()
    await machine.release()
    await source.close()
  })

  test('A source that closes ends a boot in flight, and rejects it', async () => {
    const host = guestHost()
    const { leases } = host
    const leased = Promise.withResolvers<void>()
    const told = {
      ...host,
      lease: (...given: Parameters<typeof host.lease>) => {
        host.lease(...given)
        leased.resolve()
      },
    }
    const source = new ColdBoots({ host: told, options: {}, state })
    const taking = source.take(key)
    const refused = assert.rejects(
      taking,
      (error) => error instanceof MayflyError && error.code === 'DRAINING',
    )
    await Promise.race([leased.promise, refused])
    await source.close()
    await refused
    assert.equal(leases.size, 0)
  })
})
