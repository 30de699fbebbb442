import assert from 'node:assert/strict'
import {
  chmodSync,
  closeSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { inDeepFolder } from '../../../../tests/fixtures/deep-folder.ts'
import { scratchInodesMax } from '../../../jail/whole.ts'
import { ScratchWatch } from './scratch-watch.ts'

const bytesMax = 2 ** 20
const large = Buffer.alloc(2 * bytesMax, 1)
/** More entries than one look, so that a walk pauses before it is in the folders. */
const files = 300
const folders = 40

suite('The disk of a wall in a folder of this machine', () => {
  test('A folder that a link replaces during a walk leads the walk nowhere, and no mode outside changes', () => {
    using stand = place()
    const { scratch, outside } = stand
    // Half of them before the files: a file system may list in the order of making, or the other way round.
    for (let n = 0; n < folders / 2; n++) mkdirSync(join(scratch, `d${n}`))
    for (let n = 0; n < files; n++) writeFileSync(join(scratch, `f${n}`), '')
    for (let n = folders / 2; n < folders; n++) mkdirSync(join(scratch, `d${n}`))
    const watch = new ScratchWatch(scratch, bytesMax, undefined)
    assert.equal(watch.check([], 0), false)
    assert.ok(watch.isWalking)
    for (let n = 0; n < folders; n++) {
      renameSync(join(scratch, `d${n}`), join(stand.base, `d${n}`))
      symlinkSync(outside, join(scratch, `d${n}`))
    }
    const before = lstatSync(outside).mode
    assert.equal(walk(watch), false, 'files outside were counted')
    assert.equal(lstatSync(outside).mode, before)
  })

  test('A folder whose entries alone are too many exceeds the limit at the first look', () => {
    using stand = place()
    assert.equal(scratchInodesMax, 16_384)
    for (let n = 0; n <= scratchInodesMax; n++) writeFileSync(join(stand.scratch, `${n}`), '')
    assert.equal(new ScratchWatch(stand.scratch, bytesMax, undefined).check([], 0), true)
  })

  test('Files in a folder that its owner may not enter or read are counted', () => {
    for (const mode of [0o000, 0o400, 0o100]) {
      using stand = place()
      const closed = join(stand.scratch, 'closed')
      mkdirSync(closed)
      writeFileSync(join(closed, 'large'), large)
      chmodSync(closed, mode)
      assert.equal(walk(new ScratchWatch(stand.scratch, bytesMax, undefined)), true, `${mode}`)
      chmodSync(closed, mode)
      assert.equal(walk(new ScratchWatch(stand.scratch, 8 * bytesMax, undefined)), false)
    }
  })

  test('A tree deeper than a path can name exceeds the limit, whatever is in it', () => {
    using stand = place()
    inDeepFolder(stand.scratch, () => undefined)
    assert.equal(walk(new ScratchWatch(stand.scratch, bytesMax, undefined)), true)
  })

  test('Files whose names are no UTF-8 are counted, and those below a folder of such a name', () => {
    for (const folder of ['', 'folder\xff/']) {
      using stand = place()
      const name = (below: string) => Buffer.from(join(stand.scratch, below), 'latin1')
      mkdirSync(name(folder), { recursive: true })
      writeFileSync(name(`${folder}large\xff`), large)
      assert.equal(walk(new ScratchWatch(stand.scratch, bytesMax, undefined)), true, folder)
      assert.equal(walk(new ScratchWatch(stand.scratch, 8 * bytesMax, undefined)), false, folder)
    }
  })

  test('A path that is too long for the kernel in bytes, and not in characters, exceeds the limit', () => {
    using stand = place()
    inDeepFolder(stand.scratch, () => undefined, '\u4e00'.repeat(83))
    assert.equal(walk(new ScratchWatch(stand.scratch, bytesMax, undefined)), true)
  })

  test('A folder that its owner may read and enter, and not change, keeps its mode', () => {
    using stand = place()
    const folder = join(stand.scratch, 'read-only')
    mkdirSync(folder, { mode: 0o500 })
    assert.equal(walk(new ScratchWatch(stand.scratch, bytesMax, undefined)), false)
    assert.equal(lstatSync(folder).mode & 0o777, 0o500)
  })

  test('A removed file that is open is counted, also if its folder was deeper than a path can name', () => {
    using stand = place()
    const fd = inDeepFolder(stand.scratch, () => openSync('removed', 'w'))
    rmSync(stand.scratch, { recursive: true })
    mkdirSync(stand.scratch)
    writeSync(fd, large)
    const watch = new ScratchWatch(stand.scratch, bytesMax, undefined)
    assert.equal(watch.check([process.pid], 0), true)
    const wide = new ScratchWatch(stand.scratch, 8 * bytesMax, undefined)
    assert.equal(wide.check([process.pid], 0), false)
    closeSync(fd)
  })
})

/** Looks until the walk is over, or the limit exceeded. */
function walk(watch: ScratchWatch): boolean {
  do if (watch.check([], 0)) return true
  while (watch.isWalking)
  return false
}

/** A scratch folder, and beside it a folder with a large file that its owner may not read. */
function place() {
  const base = mkdtempSync(join(tmpdir(), 'scratch-watch-'))
  const [scratch, outside] = [join(base, 'scratch'), join(base, 'outside')]
  for (const one of [scratch, outside]) mkdirSync(one)
  writeFileSync(join(outside, 'large'), large)
  chmodSync(outside, 0o000)
  return {
    base,
    scratch,
    outside,
    [Symbol.dispose]() {
      chmodSync(outside, 0o700)
      rmSync(base, { recursive: true, force: true })
    },
  }
}
