import assert from 'node:assert/strict'
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs'
import path from 'node:path'
import type { TestContext } from 'node:test'
import { MayflyError } from '../../src/contract/error.ts'
import { isAlive } from '../../src/os/proc.ts'
import { renewAgent } from '../../src/agent-wire/make-unique.ts'
import { Clones } from '../../src/warden/engines/qemu/clones.ts'
import { ColdBoots } from '../../src/warden/engines/qemu/cold-boot.ts'
import type { LiveMachine } from '../../src/warden/engines/agent-guest/source.ts'
import { TemplateStore } from '../../src/warden/engines/qemu/template-store.ts'
import type { GuestHost } from '../../src/warden/engines/agent-guest/jailed-guest.ts'
import { wallFolder } from '../../src/warden/engines/wall-folder.ts'
import { suite, test } from '../fixtures/drawn.ts'
import { claimed, cloneState } from './clone-stand.ts'
import { guestHost } from './qemu-here.ts'

/** Machines as the engine takes them: cloned from a template with a parked runner. Each test makes one, of six seconds. */
const found = await cloneState()
const skip = 'missing' in found ? found.missing : false
const state = () => Promise.resolve('missing' in found ? '' : found.state)
const key = { program: 'python', isWarm: true, memoryMiB: 256, scratchBytes: 2 ** 24 } as const
const atOnce = 4
const WAIT_MS_MAX = 60_000

suite('A source of clones', { skip, timeout: 600_000 }, () => {
  test('S1-13: machines of a key are cloned from one template, each with a parked runner; release and close leave nothing', async () => {
    const { source, cold, host, close } = stand()
    const machines = await Promise.all(Array.from({ length: atOnce }, () => source.take(key)))
    assert.deepEqual(new Set(machines.map(({ origin }) => origin)), new Set(['clone']))
    assert.deepEqual([source.templateCounts.started, source.counts.started], [1, atOnce])
    assert.equal(cold.counts.started, 0)
    const names = new Set<string>()
    for (const { agent } of machines) {
      const nonce = agent.nonce()
      agent.send({ kind: 'status', nonce })
      const { processes } = await agent.take('statused', WAIT_MS_MAX)
      assert.deepEqual(processes.map(({ name }) => name).toSorted(), ['carrier', 'python3'])
      await renewAgent(agent, WAIT_MS_MAX)
      names.add((await claimed({ agent })).bootId)
    }
    assert.equal(names.size, atOnce)
    const processes = machines.flatMap(({ process }) => process.processes)
    assert.ok(
      processes.length >= atOnce && processes.every((one) => isAlive(one.pid, one.startTime)),
    )
    const folders = [...host.leases.keys()].filter((id) => existsSync(wallFolder(id)))
    // Folders of four machines and their template.
    assert.equal(folders.length, atOnce + 1)
    await Promise.all(machines.map((machine) => machine.release()))
    assert.deepEqual(
      processes.filter(({ pid, startTime }) => isAlive(pid, startTime)),
      [],
    )
    await close()
    assert.equal(host.leases.size, 0)
    assert.deepEqual(
      [...host.leased].filter((id) => existsSync(wallFolder(id))),
      [],
    )
  })

  test('A modified template is reported, and the next machine is a clone of a new one', async () => {
    const { source, host, notes, close } = stand()
    await (await source.take(key)).release()
    const [template = ''] = [...host.leases.keys()].filter((id) => id.startsWith('t'))
    const memory = path.join(wallFolder(template), 'memory')
    chmodSync(memory, 0o600)
    truncateSync(memory, 2 ** 20)
    const machine = await source.take(key)
    assert.equal(machine.origin, 'clone')
    assert.equal(existsSync(wallFolder(template)), false)
    assert.equal(source.templateCounts.started, 2)
    assert.match(notes.join(), /a template is given up: .*memory" was changed/)
    await claimed(machine)
    await machine.release()
    await close()
    assert.equal(host.leases.size, 0)
  })

  test('A machine is booted if no template can be made, with the reason', async () => {
    const { source, cold, notes, close } = stand((id) => {
      if (id.startsWith('t')) throw new MayflyError('UNAVAILABLE', 'Cannot keep a template: played')
    })
    const machine = await source.take(key)
    assert.equal(machine.origin, 'boot')
    assert.match(machine.whyBooted!, /Cannot keep a template: played/)
    assert.equal(cold.counts.started, 1)
    assert.match(notes.join(), /a template could not be made: .*played/)
    await claimed(machine)
    await machine.release()
    await close()
  })

  test('A close ends a template that is being made, and rejects pending requests', async () => {
    const leased = Promise.withResolvers<void>()
    const { source, host, close } = stand((id) => id.startsWith('w') && leased.resolve())
    const taking = source.take(key)
    const refused = assert.rejects(taking, { code: 'DRAINING' })
    await Promise.race([leased.promise, refused])
    await close()
    await refused
    assert.equal(host.leases.size, 0)
    assert.deepEqual(
      [...host.leased].filter((id) => existsSync(wallFolder(id))),
      [],
    )
  })
})

suite('Templates that outlive their warden', { skip, timeout: 600_000 }, () => {
  test('The next warden clones the template of a closed warden, and both leave nothing else', async (t) => {
    const folder = shelfFolder(t)
    const first = stand(undefined, shelfIn(folder))
    const one = await first.source.take(key)
    const { bootId } = await claimedAfterRenewal(one)
    await one.release()
    await first.close()
    assert.equal(readdirSync(folder).length, 1)
    assert.equal(statSync(folder).mode & 0o777, 0o700)
    const second = stand(undefined, shelfIn(folder))
    const [next, after] = await Promise.all([second.source.take(key), second.source.take(key)])
    assert.deepEqual([next.origin, second.source.templateCounts.started], ['clone', 0])
    assert.deepEqual(readdirSync(folder), [])
    const ids = [bootId, (await claimedAfterRenewal(next)).bootId]
    ids.push((await claimedAfterRenewal(after)).bootId)
    assert.equal(new Set(ids).size, 3)
    await Promise.all([next.release(), after.release()])
    await second.close()
    for (const { host } of [first, second]) {
      assert.equal(host.leases.size, 0)
      assert.deepEqual(
        [...host.leased].filter((id) => existsSync(wallFolder(id))),
        [],
      )
    }
    assert.equal(readdirSync(folder).length, 1)
  })

  test('Attack: modified files of a stored template are never run, and another template is made', async (t) => {
    const folder = shelfFolder(t)
    const first = stand(undefined, shelfIn(folder))
    await (await first.source.take(key)).release()
    await first.close()
    const [name = ''] = readdirSync(folder)
    const memory = path.join(folder, name, 'memory')
    chmodSync(memory, 0o600)
    const fd = openSync(memory, 'r+')
    writeSync(fd, Buffer.from('planted'), 0, 7, 2 ** 20)
    closeSync(fd)
    const second = stand(undefined, shelfIn(folder))
    const machine = await second.source.take(key)
    assert.deepEqual([machine.origin, second.source.templateCounts.started], ['clone', 1])
    await machine.release()
    chmodSync(folder, 0o777)
    await second.close()
    assert.deepEqual([second.host.leases.size, readdirSync(folder)], [0, []])
  })
})

function shelfIn(folder: string): TemplateStore {
  return new TemplateStore(600_000, folder)
}

/** On the file system of the walls' folders, because templates are renamed. */
function shelfFolder(t: TestContext): string {
  const folder = mkdtempSync('/tmp/mayfly-shelf-')
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

async function claimedAfterRenewal({ agent }: LiveMachine) {
  await renewAgent(agent, WAIT_MS_MAX)
  return await claimed({ agent })
}

function stand(onLease: (id: string) => unknown = () => undefined, shelf?: TemplateStore) {
  const played = guestHost()
  const leased = new Set<string>()
  const lease: GuestHost['lease'] = (id, remains) => {
    onLease(id)
    leased.add(id)
    played.lease(id, remains)
  }
  const host = { ...played, lease, leased }
  const notes: string[] = []
  const cold = new ColdBoots({ host, options: {}, state })
  const note = (cause: string) => notes.push(cause)
  const source = new Clones({ cold, host, options: {}, note, ...(shelf && { store: shelf }) })
  const close = async () => {
    await source.close()
    await cold.close()
  }
  return { source, cold, host, notes, close }
}
