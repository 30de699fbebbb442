import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { tarOf, type PlayedEntry } from '../../tests/fixtures/images.ts'
import { LayerTree } from './layer-tree.ts'
import { TarReader } from './tar.ts'

suite('Layers of an OCI image', () => {
  test('A whiteout removes entries of lower layers, and none of its own layer', () => {
    const below = [
      { path: 'a/one', text: 'x' },
      { path: 'a/two', text: 'x' },
      { path: 'b/x', text: 'x' },
    ]
    assert.deepEqual(places(below, [{ path: 'a/.wh.one' }, { path: '.wh.b' }]), ['a', 'a/two'])
    assert.deepEqual(places(below, [{ path: 'a/one', text: 'y' }, { path: 'a/.wh.one' }]), [
      'a',
      'a/one',
      'a/two',
      'b',
      'b/x',
    ])
    assert.deepEqual(places(below, [{ path: 'gone/.wh.x' }, { path: '.wh.gone' }]), [
      'a',
      'a/one',
      'a/two',
      'b',
      'b/x',
    ])
  })

  test('An opaque folder hides entries of lower layers, in any order with its own entries', () => {
    const below = [
      { path: 'a/one', text: 'x' },
      { path: 'a/deep/two', text: 'x' },
    ]
    const own = { path: 'a/new', text: 'y' }
    for (const layer of [
      [{ path: 'a/.wh..wh..opq' }, own],
      [own, { path: 'a/.wh..wh..opq' }],
    ])
      assert.deepEqual(places(below, layer), ['a', 'a/new'])
  })

  test('A folder in place of a link may be opaque, as overlays write it, and hides nothing elsewhere', () => {
    const below = [
      { path: 'b/x', text: 'x' },
      { path: 'a', type: '2', target: 'b' },
    ]
    const own = [{ path: 'a', type: '5' }, { path: 'a/.wh..wh..opq' }, { path: 'a/c/.wh.d' }]
    for (const layer of [own, own.toReversed()])
      assert.deepEqual(places(below, layer), ['a', 'b', 'b/x'])
  })

  test('A file replaces a folder with its content, and a folder a file', () => {
    assert.deepEqual(places([{ path: 'a/b/c', text: 'x' }], [{ path: 'a', text: 'y' }]), ['a'])
    assert.deepEqual(
      places(
        [{ path: 'a', text: 'x' }],
        [
          { path: 'a', type: '5' },
          { path: 'a/b', text: 'y' },
        ],
      ),
      ['a', 'a/b'],
    )
  })

  test('A folder that a later layer repeats keeps its content', () => {
    assert.deepEqual(places([{ path: 'a/b', text: 'x' }], [{ path: 'a', type: '5' }]), ['a', 'a/b'])
  })

  test('A hard link is a file with the same bytes, in its layer or a lower one', () => {
    const tree = treeOf([{ path: 'a', text: 'hello' }], [{ path: 'b', type: '1', target: 'a' }])
    assert.deepEqual(tree.get('b'), tree.get('a'))
  })

  test('A hard link to a symbolic link is that link, as podman writes it, in its layer or a later one', () => {
    const link = { path: 'opt/a', type: '2', target: 'x' }
    const one = treeOf([link, { path: 'opt/b', type: '1', target: 'opt/a' }])
    const two = treeOf([link], [{ path: 'opt/b', type: '1', target: 'opt/a' }])
    for (const tree of [one, two])
      assert.deepEqual(tree.get('opt/b'), { kind: 'link', target: 'x' })
  })

  test('Setuid, setgid and sticky bits, and write access for others, are removed and counted', () => {
    const tree = treeOf([
      { path: 'a', text: 'x', mode: 0o4777 },
      { path: 'tmp', type: '5', mode: 0o1777 },
      { path: 'b', mode: 0o644 },
    ])
    assert.equal(tree.stripped, 2)
    const node = tree.get('a')
    assert.equal(node?.kind === 'file' && node.mode, 0o755)
  })

  const attacks: Readonly<Record<string, readonly (readonly PlayedEntry[])[]>> = {
    'a path that climbs': [[{ path: 'a/../../x', text: 'x' }]],
    'an absolute path': [[{ path: '/etc/x', text: 'x' }]],
    'a whiteout that climbs': [[{ path: '../.wh.x' }]],
    'a whiteout of nothing': [[{ path: 'a/.wh.' }]],
    'a whiteout of another form': [[{ path: '.wh..wh.plnk' }]],
    'a whiteout with bytes': [[{ path: '.wh.a', text: 'x' }]],
    'a whiteout twice': [[{ path: '.wh.a' }, { path: '.wh.a' }]],
    'a whiteout that is a link': [[{ path: '.wh.a', type: '2', target: 'b' }]],
    'one path twice': [
      [
        { path: 'a', text: 'x' },
        { path: './a', text: 'y' },
      ],
    ],
    'a file and a folder of one path': [
      [
        { path: 'a', text: 'x' },
        { path: 'a', type: '5' },
      ],
    ],
    'a hard link to a folder': [
      [
        { path: 'a', type: '5' },
        { path: 'b', type: '1', target: 'a' },
      ],
    ],
    'a hard link to a symbolic link that leads out from its place': [
      [
        { path: 'a/b/c', type: '2', target: '../../x' },
        { path: 'd', type: '1', target: 'a/b/c' },
      ],
    ],
    'a path through a link of its own layer': [
      [
        { path: 'a', type: '2', target: '/etc' },
        { path: 'a/x', text: 'x' },
      ],
    ],
    'a path through a link of a layer below': [
      [{ path: 'a', type: '2', target: '/etc' }],
      [{ path: 'a/x', text: 'x' }],
    ],
    'a path through a file': [
      [
        { path: 'a', text: 'x' },
        { path: 'a/x', text: 'x' },
      ],
    ],
    'a whiteout through a link of a layer below': [
      [
        { path: 'b/x', text: 'x' },
        { path: 'a', type: '2', target: 'b' },
      ],
      [{ path: 'a/.wh.x' }],
    ],
    'a whiteout through a link that the layer removes': [
      [
        { path: 'b/x', text: 'x' },
        { path: 'a', type: '2', target: 'b' },
      ],
      [{ path: '.wh.a' }, { path: 'a/.wh.x' }],
    ],
    'a whiteout through a link of its own layer': [
      [
        { path: 'a/x', text: 'x' },
        { path: 'b/x', text: 'x' },
      ],
      [{ path: 'a', type: '2', target: 'b' }, { path: 'a/.wh.x' }],
    ],
    'a whiteout through a file': [[{ path: 'a', text: 'x' }], [{ path: 'a/b/.wh.x' }]],
    'a link that climbs above the root': [[{ path: 'a', type: '2', target: '../../etc/passwd' }]],
    'a hard link to nothing': [[{ path: 'a', type: '1', target: 'b' }]],
    'a hard link that climbs': [[{ path: 'a', type: '1', target: '../../etc/passwd' }]],
    'a device': [[{ path: 'dev/sda', type: '4' }]],
    'a character device': [[{ path: 'dev/mem', type: '3' }]],
    'a FIFO': [[{ path: 'run/x', type: '6' }]],
    'a root that is a file': [[{ path: './', text: 'x' }]],
  }
  for (const [what, layers] of Object.entries(attacks))
    test(`Attack: a layer with ${what} is refused`, () => {
      assert.throws(() => treeOf(...layers).sorted(), RangeError)
    })

  test('Attack: a large file with many hard links is refused', () => {
    const tree = new LayerTree()
    const file = { mode: 0o644, target: '' } as const
    tree.add({ ...file, kind: 'file', path: 'a', size: 2 ** 30 }, 0)
    for (const path of ['b', 'c', 'd'])
      tree.add({ ...file, kind: 'same', path, size: 0, target: 'a' }, 0)
    tree.endLayer()
    assert.equal(tree.sorted().length, 4)
    tree.add({ ...file, kind: 'same', path: 'e', size: 0, target: 'a' }, 0)
    tree.endLayer()
    assert.throws(() => tree.sorted(), /too many or too large files/)
  })

  test('Attack: layers with too many long paths, or with too many entries that a later one removes, are refused', () => {
    const link = { kind: 'link', mode: 0o777, size: 0, target: 'x' } as const
    const deep = new LayerTree()
    for (let at = 0; at < 1100; at += 1) deep.add({ ...link, path: `${at}${'/d'.repeat(500)}` }, 0)
    assert.throws(() => deep.endLayer(), /too many entries/)
    const tree = new LayerTree()
    const whiteout = { ...link, kind: 'file', path: '.wh..wh..opq' } as const
    const layer = (): void => {
      tree.add(whiteout, 0)
      for (let at = 0; at < 100_000; at += 1) tree.add({ ...link, path: String(at) }, 0)
      tree.endLayer()
    }
    for (let at = 0; at < 5; at += 1) layer()
    assert.throws(layer, /too many entries/)
  })

  const record = (text: string) => `${String(text.length + 3)} ${text}\n`
  const paxes: Readonly<Record<string, readonly PlayedEntry[]>> = {
    'a path that climbs': [
      { path: 'x', type: 'x', text: record('path=../../x') },
      { path: 'a', text: 'x' },
    ],
    'a sparse file': [
      { path: 'x', type: 'x', text: '22 GNU.sparse.major=1\n' },
      { path: 'a', text: 'x' },
    ],
    'a path for all entries': [
      { path: 'x', type: 'g', text: record('path=abc') },
      { path: 'a', text: 'x' },
    ],
    'a wrong length': [
      { path: 'x', type: 'x', text: '99 path=a\n' },
      { path: 'a', text: 'x' },
    ],
    'no entry after it': [{ path: 'x', type: 'x', text: record('path=abcd') }],
  }
  for (const [what, layer] of Object.entries(paxes))
    test(`Attack: a layer with pax records of ${what} is refused`, () => {
      assert.throws(() => treeOf(layer).sorted(), RangeError)
    })

  test('Pax records name a long path, and extended attributes are counted', () => {
    const long = `${'d/'.repeat(100)}end`
    const tree = treeOf([
      { path: 'x', type: 'x', text: `${long.length + 10} path=${long}\n` },
      { path: 'a', text: 'x' },
      { path: 'x', type: 'x', text: '35 SCHILY.xattr.user.something=abc\n' },
      { path: 'b', text: 'x' },
    ])
    assert.equal(tree.get(long)?.kind, 'file')
    assert.equal(tree.stripped, 1)
  })
})

function treeOf(...layers: readonly (readonly PlayedEntry[])[]): LayerTree {
  const tree = new LayerTree()
  let size = 0
  for (const layer of layers) {
    const reader = new TarReader(
      { entry: (entry) => tree.add(entry, size), data: (bytes) => (size += bytes.length) },
      { pax: true },
    )
    reader.push(tarOf(layer))
    reader.end()
    tree.endLayer()
  }
  return tree
}

function places(...layers: readonly (readonly PlayedEntry[])[]): readonly string[] {
  return treeOf(...layers)
    .sorted()
    .map(([place]) => place)
}
