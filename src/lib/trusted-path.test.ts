import assert from 'node:assert/strict'
import {
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { examinePath, type TrustedPath } from './trusted-path.ts'

const me = process.getuid?.() ?? 0
const owners = new Set([0, me])
const base = mkdtempSync(join(tmpdir(), 'mayfly-trusted-'))

/** A folder with one file, both of this user alone. */
function place(name: string): { readonly folder: string; readonly file: string } {
  const folder = join(base, name)
  mkdirSync(folder, { mode: 0o755 })
  const file = join(folder, 'wall.js')
  writeFileSync(file, '', { mode: 0o644 })
  return { folder, file }
}

const examine = (path: string) => examinePath(path, { owners, kind: 'file' })

function refused(found: TrustedPath): Extract<TrustedPath, { isTrusted: false }> {
  assert.equal(found.isTrusted, false)
  return found
}

suite('Trust in a path', { skip: process.platform === 'win32' }, () => {
  after(() => rmSync(base, { recursive: true }))

  test('a file of a trusted user is trusted below a sticky folder', () => {
    const found = examine(place('own').file)
    assert.equal(found.isTrusted, true)
  })

  test('a file that others may write is refused, with its mode and a fix', () => {
    const { file } = place('open-file')
    chmodSync(file, 0o666)
    const { at, reason, fix } = refused(examine(file))
    assert.equal(at, file)
    assert.match(reason, /everybody may write to ".*wall\.js" \(mode 0666\)/)
    assert.equal(fix, `chmod go-w ${file}`)
  })

  test('a folder that its group may write is refused, also further up', () => {
    const { folder, file } = place('open-folder')
    chmodSync(folder, 0o775)
    assert.match(refused(examine(file)).reason, /its group may write/)
    const below = join(folder, 'below')
    mkdirSync(below, { mode: 0o755 })
    writeFileSync(join(below, 'wall.js'), '', { mode: 0o644 })
    assert.equal(refused(examine(join(below, 'wall.js'))).at, folder)
  })

  test('the folder of the file itself may not be sticky and open', () => {
    const { folder, file } = place('sticky')
    chmodSync(folder, 0o1777)
    assert.equal(refused(examine(file)).at, folder)
    assert.equal(refused(examinePath(folder, { owners, kind: 'folder' })).at, folder)
  })

  test('a link to a writable folder is refused, and so is a path through such a link', () => {
    const { folder } = place('links')
    const other = place('target')
    chmodSync(other.folder, 0o777)
    symlinkSync(other.file, join(folder, 'link.js'))
    symlinkSync(other.folder, join(folder, 'through'))
    assert.equal(refused(examine(join(folder, 'link.js'))).at, other.folder)
    assert.equal(refused(examine(join(folder, 'through', 'wall.js'))).at, other.folder)
  })

  test('a link in a writable folder is refused, for any target', () => {
    const { folder } = place('writable')
    const good = place('good')
    symlinkSync(good.file, join(folder, 'link.js'))
    chmodSync(folder, 0o777)
    assert.equal(refused(examine(join(folder, 'link.js'))).at, folder)
  })

  test('a link between trusted folders resolves to its target', () => {
    const { folder } = place('from')
    const good = place('to')
    symlinkSync('../to', join(folder, 'relative'))
    const found = examine(join(folder, 'relative', 'wall.js'))
    assert.equal(found.isTrusted && found.real, good.file)
  })

  test('a loop of links ends', () => {
    const { folder } = place('loop')
    symlinkSync(join(folder, 'b'), join(folder, 'a'))
    symlinkSync(join(folder, 'a'), join(folder, 'b'))
    assert.throws(() => examine(join(folder, 'a')), /too many links/)
  })

  test(
    'a file of another user is refused',
    { skip: me !== 0 && 'only root gives files away' },
    () => {
      const { folder, file } = place('stranger')
      chownSync(file, 12_345, 12_345)
      assert.match(refused(examine(file)).reason, /belongs to uid 12345, not to root/)
      chownSync(file, 0, 0)
      chownSync(folder, 12_345, 12_345)
      assert.equal(refused(examine(file)).at, folder)
    },
  )

  test(
    'a link of another user is refused',
    { skip: me !== 0 && 'only root gives files away' },
    () => {
      const { folder, file } = place('strange-link')
      const link = join(folder, 'link.js')
      symlinkSync(file, link)
      lchownSync(link, 12_345, 12_345)
      assert.equal(refused(examine(link)).at, link)
    },
  )
})
