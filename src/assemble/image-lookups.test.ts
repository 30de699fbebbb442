import assert from 'node:assert/strict'
import { test } from 'node:test'
import { configOf, jobOf } from '../../tests/fixtures/profile-world.ts'
import { MayflyError } from '../contract/error.ts'
import { ImageLookups } from './image-lookups.ts'

/** A warden that admits the image, unless it was never scanned and a job names it; `told` are the dropped digests. */
function stand() {
  const told: string[] = []
  const world = { digest: 'a', isScanned: false }
  const lookups = new ImageLookups({
    config: () => configOf(),
    drop: (digest) => void told.push(digest),
    warden: {
      image(_name, _policy, isDefault = false) {
        if (isDefault || world.isScanned)
          return Promise.resolve({ digest: world.digest, scanned: '' })
        return Promise.reject(new MayflyError('IMAGE_REFUSED', 'NOT_SCANNED'))
      },
    },
  })
  return { lookups, told, world }
}

test('Attack: a job that names the default image, which is refused for it, ends no spares of others', async () => {
  const { lookups, told } = stand()
  for (let round = 0; round < 2; round++) {
    await lookups.lookUpDefault(jobOf(), 'python')
    const job = jobOf({ image: 'python' })
    await lookups.lookUp(job)
    assert.equal(lookups.answersOf(job)?.get('python')?.kind, 'refused')
  }
  assert.deepEqual(told, [])
})

test('Spares of an image are dropped once its name is of another one, or is refused', async () => {
  const { lookups, told, world } = stand()
  world.isScanned = true
  await lookups.lookUp(jobOf({ image: 'python' }))
  world.digest = 'b'
  await lookups.lookUp(jobOf({ image: 'python' }))
  world.isScanned = false
  await lookups.lookUp(jobOf({ image: 'python' }))
  assert.deepEqual(told, ['a', 'b'])
  await lookups.lookUpDefault(jobOf(), 'python')
  world.digest = 'c'
  await lookups.lookUpDefault(jobOf(), 'python')
  assert.deepEqual(told, ['a', 'b', 'b'])
})
