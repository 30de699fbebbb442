import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { declaredContents } from './dpkg-status.ts'
import { LayerTree } from './layer-tree.ts'
import type { Spool } from './spool.ts'

const release = 'ID=debian\nVERSION_CODENAME=trixie\n'
const stanza = (name: string, status = 'install ok installed') =>
  `Package: ${name}\nStatus: ${status}\nArchitecture: amd64\nVersion: 1.0-1`

/** Tree of an image whose files begin with these texts, and a spool that counts the bytes read. */
function imageOf(files: readonly (readonly [path: string, text: string, size?: number])[]) {
  const tree = new LayerTree()
  const texts = new Map<number, string>()
  let bytes = 0
  for (const [path, text, size = text.length] of files) {
    tree.add({ kind: 'file', path, mode: 0o644, size, target: '' }, texts.size)
    texts.set(texts.size, text)
  }
  tree.endLayer()
  const read = (at: number, size: number) => {
    bytes += size
    return Buffer.from(texts.get(at)!)
  }
  return { tree, spool: { read } as unknown as Spool, bytesRead: () => bytes }
}

suite('Packages that an imported image declares', () => {
  test('Installed packages of all status files are listed', () => {
    const { tree, spool } = imageOf([
      ['etc/os-release', release],
      [
        'var/lib/dpkg/status',
        `${stanza('zlib1g')}\n\n${stanza('gone', 'deinstall ok config-files')}\n`,
      ],
      ['var/lib/dpkg/status.d/base', stanza('base-files')],
    ])
    const found = declaredContents(tree, spool)
    assert.deepEqual(
      [found?.suite, found?.parts.map(({ name }) => name)],
      ['trixie', ['zlib1g', 'base-files']],
    )
  })

  test('A package whose files are there is listed, also if it was unpacked and not configured', () => {
    const there = ['half-installed', 'unpacked', 'half-configured', 'triggers-awaited']
    const gone = ['not-installed', 'config-files']
    const text = [...there, ...gone].map((word) => stanza(word, `install ok ${word}`)).join('\n\n')
    const { tree, spool } = imageOf([
      ['etc/os-release', release],
      ['var/lib/dpkg/status', text],
    ])
    assert.deepEqual(
      declaredContents(tree, spool)?.parts.map(({ name }) => name),
      there,
    )
  })

  test('Attack: of a hundred status files of 30 MiB one is read, and the image is none that can be scanned', () => {
    const large = Array.from(
      { length: 100 },
      (_, at) => [`var/lib/dpkg/status.d/${at}`, stanza(`p${at}`), 30 * 2 ** 20] as const,
    )
    const { tree, spool, bytesRead } = imageOf([['etc/os-release', release], ...large])
    assert.equal(declaredContents(tree, spool), undefined)
    assert.ok(bytesRead() < 2 ** 25, `${bytesRead()} bytes`)
  })

  test('Attack: millions of stanzas are refused before they are read', () => {
    const { tree, spool } = imageOf([
      ['etc/os-release', release],
      ['var/lib/dpkg/status', 'x\n\n'.repeat(5_000_000) + stanza('zlib1g')],
    ])
    assert.equal(declaredContents(tree, spool), undefined)
  })
})
