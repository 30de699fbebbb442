import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { copyMachineState } from '../fixtures/machine-images.ts'
import { isQemuThere, noQemu } from '../walls/qemu-here.ts'
import { documentOf, makePlace, mayfly, type Place } from './program.ts'

/** Evidence of a job in a virtual machine, by the command line. The planted texts are nowhere in the job's source. */
const skip = isQemuThere() ? false : noQemu
const plants = `
held = '-'.join(['planted', 'in', 'memory', str(99 * 81)])
with open('/tmp/note', 'w') as file: file.write('-'.join(['planted', 'in', 'tmpfs', str(99 * 83)]))
print(len(held))
`

suite('Evidence of a virtual machine', { skip, timeout: 600_000 }, () => {
  let place: Place
  before(() => void (place = makePlace()))
  after(() => place.remove())

  test('S1-20: a run with --capture names a bundle, which verifies and in which a search finds what the job planted', async (t) => {
    const missing = await copyMachineState(place.state)
    if (missing !== undefined) return t.skip(missing)
    const file = join(place.cwd, 'plants.py')
    writeFileSync(file, plants)
    const words = ['run', file, '--tier', 'microvm', '--timeout', '120s', '--capture', '--json']
    const ran = await mayfly(place, words)
    const { id, status, tier, evidence } = documentOf(ran)
    assert.deepEqual([status, tier], ['ok', 'microvm'], ran.stderr)
    assert.ok(evidence.bundle, ran.stdout)
    const verified = await mayfly(place, ['evidence', 'verify', id])
    assert.equal(verified.code, 0, verified.stderr)
    for (const text of ['planted-in-memory-8019', 'planted-in-tmpfs-8217']) {
      const { places } = documentOf(await mayfly(place, ['evidence', 'search', id, text, '--json']))
      assert.ok(places.length > 0, text)
    }
    const none = await mayfly(place, ['evidence', 'search', id, 'planted-in-memory-8020', '--json'])
    assert.deepEqual([none.code, documentOf(none).places], [1, []])
  })
})
