import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { MayflyError } from '../contract/error.ts'
import { wallUids } from '../jail/facts.ts'
import { takeSlot } from './slots.ts'

suite('Uids for walls', { skip: process.platform !== 'linux' && 'only Linux has them' }, () => {
  test('No two walls have the same, until one gives its own back', () => {
    using folder = temporary()
    const slots = Array.from({ length: 20 }, () => takeSlot(folder.path)!)
    assert.equal(new Set(slots.map(({ uid }) => uid)).size, 20)
    for (const { uid } of slots) assert.ok(uid >= wallUids.first && uid <= wallUids.last)
    for (const slot of slots) slot.release()
  })

  test('When all are taken there is none, and then one again', () => {
    using folder = temporary()
    const slots = Array.from({ length: wallUids.last - wallUids.first + 1 }, () =>
      takeSlot(folder.path),
    )
    const taken = slots.filter((slot) => slot !== undefined)
    assert.equal(takeSlot(folder.path), undefined)
    taken[7]!.release()
    const again = takeSlot(folder.path)
    assert.equal(again?.uid, taken[7]!.uid)
    for (const slot of [...taken.toSpliced(7, 1), again]) slot.release()
  })

  test('A folder that others may write to, or a link, is refused', () => {
    using folder = temporary()
    chmodSync(folder.path, 0o777)
    assert.throws(() => takeSlot(folder.path), isState)
    chmodSync(folder.path, 0o700)
    const link = join(folder.path, 'link')
    symlinkSync(folder.path, link)
    assert.throws(() => takeSlot(link), isState)
  })
})

function isState(thrown: unknown): boolean {
  return thrown instanceof MayflyError && thrown.code === 'STATE'
}

function temporary() {
  const path = mkdtempSync(join(tmpdir(), 'mayfly-slots-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) }
}
