import assert from 'node:assert/strict'
import { chmodSync, closeSync, mkdtempSync, openSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { MayflyError } from '../contract/error.ts'
import { wallUids } from '../contract/uids.ts'
import { takeSlot, type Slot } from './slots.ts'

suite('Uids for walls', { skip: process.platform !== 'linux' && 'only Linux has them' }, () => {
  test('Two walls never have the same uid, until one releases it', () => {
    using folder = temporary()
    const slots = Array.from({ length: 20 }, () => takeSlot(folder.path)!)
    assert.equal(new Set(slots.map(({ uid }) => uid)).size, 20)
    for (const { uid } of slots) assert.ok(uid >= wallUids.first && uid <= wallUids.last)
    for (const slot of slots) slot.release()
  })

  test('If all slots are in use, none is returned until one is released', () => {
    using folder = temporary()
    // Walls of others on this machine have some of them, and may give them back meanwhile.
    const slots: Slot[] = []
    for (let slot = takeSlot(folder.path); slot; slot = takeSlot(folder.path)) slots.push(slot)
    assert.ok(slots.length > 20 && slots.length <= wallUids.last - wallUids.first + 1)
    const [given] = slots.splice(7, 1)
    given!.release()
    const again = takeSlot(folder.path)
    assert.ok(again && !slots.some(({ uid }) => uid === again.uid))
    for (const slot of [...slots, again]) slot.release()
  })

  test('A second release leaves a descriptor open that has the number by then', () => {
    using folder = temporary()
    const slot = takeSlot(folder.path)!
    slot.release()
    const fd = openSync('/dev/null', 'r')
    slot.release()
    closeSync(fd)
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
