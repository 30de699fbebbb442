import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { diskOf, deviceNameOf } from './block.ts'

suite('Disks', { skip: process.platform !== 'linux' && 'names are those of Linux' }, () => {
  test('A device is named by major and minor', () => {
    assert.equal(deviceNameOf(65024), '254:0')
    assert.equal(deviceNameOf(0x801), '8:1')
    assert.equal(deviceNameOf(0x1_0000_0103), '1:1048579')
  })

  test('The disk of a partition is found: only whole disks take an io limit', () => {
    using sys = fake(true)
    assert.equal(diskOf('/', sys.links), '8:0')
  })

  test('A path on a disk gives that disk, and a path on none gives undefined', () => {
    using sys = fake(false)
    assert.equal(diskOf('/', sys.links), '8:0')
    rmSync(sys.links, { recursive: true })
    assert.equal(diskOf('/', sys.links), undefined)
    assert.equal(diskOf('/no/such/place'), undefined)
  })
})

/** The kernel's folders of a disk 8:0, on which the root lies, or a partition of it does. */
function fake(isPartition: boolean) {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-block-'))
  const links = join(folder, 'links')
  const [disk, part] = [join(folder, 'sda'), join(folder, 'sda/sda1')]
  mkdirSync(part, { recursive: true })
  mkdirSync(links)
  writeFileSync(join(disk, 'dev'), '8:0\n')
  writeFileSync(join(part, 'dev'), '8:1\n')
  if (isPartition) writeFileSync(join(part, 'partition'), '1\n')
  symlinkSync(isPartition ? part : disk, join(links, deviceNameOf(statSync('/').dev)))
  return { links, [Symbol.dispose]: () => rmSync(folder, { recursive: true }) }
}
