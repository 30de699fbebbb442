import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { copyMachineState } from '../fixtures/machine-images.ts'
import { isQemuThere, noQemu } from '../walls/qemu-here.ts'
import { documentOf, makePlace, mayfly, type Place } from './program.ts'

/** Evidence of a job in a virtual machine, by the command line. The job's source does not contain the planted texts. */
const skip = isQemuThere() ? false : noQemu
const MIB = 2 ** 20
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
    assert.match(verified.stdout, new RegExp(`^ok: ${String(evidence.bundle)}/`, 'm'))
    for (const text of ['planted-in-memory-8019', 'planted-in-tmpfs-8217']) {
      const { places } = documentOf(await mayfly(place, ['evidence', 'search', id, text, '--json']))
      assert.ok(places.length > 0, text)
      // The text of the file is one of the heap too.
      if (text.includes('tmpfs'))
        assert.ok(
          places.some(({ part }: any) => part.endsWith('/guest-files.tar')),
          text,
        )
    }
    const none = await mayfly(place, ['evidence', 'search', id, 'planted-in-memory-8020', '--json'])
    assert.deepEqual([none.code, documentOf(none).places], [1, []])
    await namesReportedParts(place, id)
    await makesAnImage(place, id)
  })
})

/** Parts reported by the guest are listed as untrusted, and no archive contains a link of the guest. */
async function namesReportedParts(place: Place, id: string): Promise<void> {
  const shown = await mayfly(place, ['evidence', 'show', id])
  for (const part of ['guest-processes.json', 'guest-sockets.json', 'guest-files.json'])
    assert.match(shown.stdout, new RegExp(`/${part} .*reported by the guest, untrusted`))
  const folder = join(place.cwd, 'extracted')
  const extracted = await mayfly(place, ['evidence', 'extract', id, folder])
  assert.equal(extracted.code, 0, extracted.stderr)
  const archive = extracted.stdout.split('\n').find((path) => path.endsWith('/guest-files.tar'))!
  const { stdout } = spawnSync('tar', ['-xOf', archive, 'tmp/note'], { encoding: 'utf8' })
  assert.equal(stdout, 'planted-in-tmpfs-8217')
}

/** The ELF image contains texts of the job and of the template; without the template's memory no image is made. */
async function makesAnImage(place: Place, id: string): Promise<void> {
  const shown = await mayfly(place, ['evidence', 'show', id])
  const [, base = ''] = /(memory-bases\/[0-9a-f]{64})/.exec(shown.stdout)!
  const [, image = ''] = /(capture-\d+\/memory\.elf)/.exec(shown.stdout)!
  const folder = join(place.cwd, 'image')
  await mayfly(place, ['evidence', 'extract', id, folder, '--part', image])
  const { size, blocks } = statSync(join(folder, image))
  assert.ok(size > 100 * MIB && blocks * 512 < size, `${blocks} of ${size}`)
  for (const text of ['planted-in-memory-8019', 'Linux version 6.', 'ELF'])
    assert.equal(spawnSync('grep', ['-qaFz', '--', text, join(folder, image)]).status, 0, text)
  rmSync(join(place.state, base))
  const verified = await mayfly(place, ['evidence', 'verify', id])
  assert.equal(verified.code, 1)
  assert.match(verified.stdout, new RegExp(`bad: ${base}: .*not kept`))
}
