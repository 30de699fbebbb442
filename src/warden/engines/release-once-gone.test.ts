import assert from 'node:assert/strict'
import { test } from 'node:test'
import { releaseOnceGone } from './release-once-gone.ts'

/** A killed wall whose group is busy at the first `busy` attempts to remove it, and what was done about it. */
function wall(busy: number) {
  const done: string[] = []
  let attempts = 0
  const cgroup = {
    remove() {
      done.push('remove')
      return ++attempts > busy
    },
    processes: () => [],
  }
  const parts = {
    async removeFolder() {
      done.push('folder')
    },
    releaseLease: () => void done.push('lease'),
    killRest: () => void done.push('kill'),
  }
  // Without a uid: a release kills what else has it, and a test must not name one that others have.
  return { killed: { id: 'w1', slot: undefined, cgroup, processes: [] }, parts, done }
}

test('The cgroup is removed once, then the folder, then the lease', async () => {
  const { killed, parts, done } = wall(0)
  await releaseOnceGone(killed, parts)
  assert.deepEqual(done, ['remove', 'folder', 'lease'])
})

test('Remaining processes of a busy cgroup are killed before the next attempt', async () => {
  const { killed, parts, done } = wall(2)
  await releaseOnceGone(killed, parts)
  assert.deepEqual(done, ['remove', 'kill', 'remove', 'kill', 'remove', 'folder', 'lease'])
})

test('The lease of a group that stays busy is kept until the group is gone, so that a sweep finds it', async () => {
  let isBusy = true
  // An error of a look in the background, as for want of descriptors, is followed by another look.
  let failures = 0
  const leased = Promise.withResolvers<void>()
  const remove = () => {
    if (failures-- > 0) throw new Error('too many open files')
    return !isBusy
  }
  const cgroup = { remove, processes: () => [] }
  const parts = { async removeFolder() {}, releaseLease: () => leased.resolve() }
  await releaseOnceGone({ id: 'w1', slot: undefined, cgroup, processes: [] }, parts)
  let isReleased = false
  void leased.promise.then(() => (isReleased = true))
  await Promise.resolve()
  assert.equal(isReleased, false)
  isBusy = false
  failures = 1
  const keepAlive = setInterval(() => undefined, 1_000)
  await leased.promise.finally(() => clearInterval(keepAlive))
})

test('A slot with a uid outside the range of walls is refused: processes of that uid would be killed', async () => {
  const { killed, parts, done } = wall(0)
  // Above those of people, servers and walls, so that a failure of this test harms nobody.
  const slot = { uid: 2 ** 31 - 7, release: () => void done.push('uid') }
  await assert.rejects(releaseOnceGone({ ...killed, slot }, parts))
  assert.deepEqual(done, [])
})
