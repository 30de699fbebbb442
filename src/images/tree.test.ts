import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { TarEntry } from './tar.ts'
import { ImageTree, modeOf } from './tree.ts'

const file = (path: string, mode = 0o644): TarEntry => ({
  kind: 'file',
  path,
  mode,
  size: 1,
  target: '',
})
const link = (path: string, target: string): TarEntry => ({
  ...file(path),
  kind: 'link',
  size: 0,
  target,
})
const same = (path: string, target: string): TarEntry => ({ ...link(path, target), kind: 'same' })
const folder = (path: string): TarEntry => ({ ...file(path), kind: 'folder', size: 0 })

suite('Files of an image', () => {
  test('Entries are sorted, with every parent, and writable only by their owner', () => {
    const tree = treeOf(file('./usr/bin/su', 0o4775), file('etc/b', 0o666), file('etc/a'))
    const entries = tree.sorted()
    assert.deepEqual(
      entries.map(([place, node]) => `${place} ${modeOf(node).toString(8)}`),
      ['etc 755', 'etc/a 644', 'etc/b 644', 'usr 755', 'usr/bin 755', 'usr/bin/su 755'],
    )
  })

  test('Folders that are links into usr resolve to usr', () => {
    const tree = treeOf(folder('lib'), file('lib/a'), link('lib', 'usr/lib'), folder('lib'))
    assert.deepEqual(tree.get('lib'), { kind: 'link', target: 'usr/lib' })
    assert.equal(tree.get('usr/lib/a')?.kind, 'file')
  })

  test('Globs remove files, except those that "keep" matches', () => {
    const tree = treeOf(file('doc/a/copyright'), file('doc/a/more/x'), file('docs/a'))
    tree.leaveOut(['doc/**'], ['doc/*/copyright'])
    const places = tree.sorted().map(([place]) => place)
    assert.deepEqual(places, ['doc', 'doc/a', 'doc/a/copyright', 'docs', 'docs/a'])
  })

  test('Links are followed inside the image, with a limit', () => {
    const tree = treeOf(file('usr/lib/a.1'), link('usr/lib/a', 'a.1'), link('b', '/lib/a'))
    assert.equal(tree.resolve('b'), tree.get('usr/lib/a.1'))
    assert.equal(treeOf(link('x', 'x')).resolve('x'), undefined)
    assert.equal(treeOf(link('x', 'gone')).resolve('x'), undefined)
  })

  test('Hard links have the bytes of the preceding file', () => {
    const tree = treeOf(file('a'), same('b', './a'))
    assert.equal(tree.get('b'), tree.get('a'))
  })

  const refused: Readonly<Record<string, readonly TarEntry[]>> = {
    'a file through a link': [link('a', '/etc'), file('a/passwd')],
    'a file through a link that comes later': [file('a/passwd'), link('a', '/etc')],
    'a file below a file': [file('a'), file('a/b')],
    'a second file of the same name': [file('a'), file('a')],
    'a second file by way of lib': [file('lib/a'), file('usr/lib/a')],
    'a hard link to a file of the machine': [same('a', '/etc/passwd')],
    'a hard link to a link': [link('a', '/etc/passwd'), same('b', 'a')],
    'a link that leaves the image': [link('a/b', '../../etc')],
    'a root that is a link': [link('./', '/etc')],
    'a folder in place of a file': [file('a'), folder('a')],
    'a folder bin that is a link elsewhere': [folder('bin'), file('bin/a'), link('bin', 'tmp')],
  }
  for (const [what, entries] of Object.entries(refused))
    test(`Attack: ${what} is refused`, () => {
      assert.throws(() => treeOf(...entries).sorted(), RangeError)
    })

  test('Attack: files above the size limit of an image are refused before a byte is written', () => {
    const tree = treeOf({ ...file('a'), size: 2 ** 32 - 1 })
    assert.throws(() => tree.add({ ...file('b'), size: 2 }, 0), /too large/)
  })
})

function treeOf(...entries: readonly TarEntry[]): ImageTree {
  const tree = new ImageTree()
  for (const entry of entries) tree.add(entry, 0)
  return tree
}
