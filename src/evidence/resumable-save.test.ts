import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { isResumable, resumableSave } from './resumable-save.ts'

const digest = 'a'.repeat(64)
const save = {
  mechanism: 'other',
  program: 'python',
  accelerator: 'fast',
  memoryMiB: 256,
  image: digest,
  release: '10.0.2',
  devices: digest,
}
const position = { inputBytes: 65_536, abilities: ['watches'], seenCredit: 3, programs: [] }
const parts: Readonly<Record<string, unknown>> = {
  'machine.json': { format: 1, save },
  'agent.json': position,
  'devices.img': 'devices',
  'memory.zst': 'pages',
  'memory.json': {},
}

suite('The save of a capture', () => {
  test('has the machine and the position of its conversation', async () => {
    const found = await resumableSave(machineOf(parts))
    assert.deepEqual([found.save, found.position], [save, position])
  })

  test('is there if each of its parts is', async () => {
    for (const name of Object.keys(parts)) {
      const { [name]: _, ...others } = parts
      const machine = machineOf(others)
      assert.equal(isResumable(machine.capture), false)
      await assert.rejects(resumableSave(machine), { code: 'NOT_FOUND' })
    }
  })

  test('is refused where a part of it does not fit', async () => {
    const misfits = [
      { 'machine.json': { format: 1 } },
      { 'machine.json': { save: { ...save, memoryMiB: 2 ** 30 } } },
      { 'machine.json': { save: { ...save, mechanism: '../etc' } } },
      { 'machine.json': { save: { ...save, more: 1 } } },
      { 'agent.json': { ...position, seenCredit: -1 } },
      { 'agent.json': { ...position, programs: Array.from({ length: 17 }, () => ({})) } },
      { 'agent.json': [] },
      { 'agent.json': 'x'.repeat(2 ** 20 + 1) },
    ]
    for (const misfit of misfits)
      await assert.rejects(resumableSave(machineOf({ ...parts, ...misfit })), { code: 'STATE' })
  })
})

function machineOf(all: Readonly<Record<string, unknown>>) {
  const name = 'capture-1'
  const bytes = new Map(
    Object.entries(all).map(([part, value]) => [
      `${name}/${part}`,
      Buffer.from(JSON.stringify(value)),
    ]),
  )
  const described = [...bytes].map(([part, { length }]) => ({
    name: part,
    size: length,
    sha256: digest,
  }))
  return {
    capture: { name, parts: described },
    state: '/nowhere',
    async *read(part: string) {
      yield bytes.get(part)!
    },
  }
}
