import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { MachineSave } from '../../../contract/machine-save.ts'
import { within } from '../../../lib/within.ts'
import { IncomingMachines, type IncomingParts } from './incoming.ts'
import { savedDevices } from './save-key.ts'

const machine = { accelerator: 'kvm', memoryMiB: 64 } as const
const save = { ...machine, program: 'python', devices: savedDevices(machine) } as MachineSave

test('Close ends a save that is being received, and leaves no folder and no lease', async () => {
  const leases: string[] = []
  const parts = {
    cold: {
      accelerator: async () => machine,
      files: { of: async () => ({ image: '/image' }) },
    },
    host: {
      lease: (id: string) => void leases.push(id),
      releaseLease: (id: string) => void leases.splice(leases.indexOf(id), 1),
    },
    options: {},
  } as unknown as IncomingParts
  const incoming = new IncomingMachines(parts)
  const { socket, resumed } = await incoming.resume(save)
  const ended = assert.rejects(resumed, { code: 'PROTOCOL' })
  assert.equal(leases.length, 1)
  const isClosed = within(
    incoming.close().then(() => true),
    10_000,
    false,
  )
  const wasInTime = await isClosed
  socket.destroy()
  await ended
  assert.equal(wasInTime, true)
  assert.deepEqual(leases, [])
})
