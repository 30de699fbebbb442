import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { tarOf } from '../../tests/fixtures/images.ts'
import { zipOf } from '../../tests/fixtures/zip.ts'
import { MayflyError } from '../contract/error.ts'
import { affects } from './advisory.ts'
import { importFeed, listFeeds, readAdvisories, type FeedFacts } from './feed.ts'
import { openImageStore } from './store.ts'
import { ownHooks } from '../../tests/fixtures/own-hooks.ts'

const now = Date.parse('2026-11-20T00:00:00Z')
let root: string
let folder: string

const { beforeEach, afterEach } = ownHooks(import.meta.filename)
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'mayfly-feed-'))
  folder = join(root, 'images')
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const record = (id: string, more: object = {}) =>
  JSON.stringify({
    id,
    modified: '2026-11-01T00:00:00Z',
    affected: [
      {
        package: { ecosystem: 'Debian:13', name: 'zlib' },
        ranges: [{ type: 'ECOSYSTEM', events: [{ introduced: '0' }, { fixed: '1.3' }] }],
      },
    ],
    ...more,
  })
const tracker = JSON.stringify({
  zlib: {
    'CVE-2026-0001': {
      releases: {
        trixie: { status: 'resolved', fixed_version: '1:1.3-2', urgency: 'low**' },
        bookworm: { status: 'open', urgency: 'unimportant' },
        sid: { status: 'open', urgency: 'high' },
      },
    },
    'CVE-2026-0002': { releases: { trixie: { status: 'resolved', fixed_version: '0' } } },
  },
})

suite('Feeds', () => {
  const entries = [
    { path: 'a/OSV-1.json', text: record('OSV-1') },
    { path: 'OSV-2.json', text: record('OSV-2') },
    { path: 'README.md', text: 'no record' },
  ]
  const archives: Readonly<Record<string, Buffer>> = {
    'osv.zip': zipOf(entries),
    'osv.tar': tarOf(entries),
    'osv.tar.gz': gzipSync(tarOf(entries)),
    'osv.tar.zst': zstdCompressSync(tarOf(entries)),
  }
  for (const [name, bytes] of Object.entries(archives))
    test(`Records are read from ${name}`, async () => {
      const facts = await imported(name, bytes)
      assert.deepEqual([facts.name, facts.records, facts.advisories], ['osv', 2, 2])
      assert.deepEqual(facts.ecosystems, ['Debian:13'])
      assert.equal(facts.asOf, Date.parse('2026-11-01T00:00:00Z'))
      assert.deepEqual(
        known('Debian:13\tzlib')
          .map(({ id }) => id)
          .sort(),
        ['OSV-1', 'OSV-2'],
      )
      assert.deepEqual(known('Debian:13\tzli'), [])
    })

  test('Records are read from a folder, and from one file', async () => {
    mkdirSync(join(root, 'osv', 'deep'), { recursive: true })
    for (const { path, text } of entries)
      writeFileSync(join(root, 'osv', path.replace('a/', 'deep/')), text)
    assert.equal((await importedFrom(join(root, 'osv'))).records, 2)
    assert.equal((await imported('one.json', record('OSV-3'))).name, 'one')
  })

  test('The JSON of the tracker is read; a release that was never affected has no advisory', async () => {
    const place = join(root, 'debian.json')
    writeFileSync(place, tracker)
    utimesSync(place, new Date(now - 86_400_000), new Date(now - 86_400_000))
    const facts = await importedFrom(place)
    assert.deepEqual([facts.kind, facts.records, facts.advisories], ['debian-tracker', 2, 2])
    assert.equal(facts.asOf, now - 86_400_000)
    const [one] = known('Debian:13\tzlib')
    assert.deepEqual([one?.id, one?.severity], ['CVE-2026-0001', 'low'])
    assert.equal(known('Debian:12\tzlib')[0]?.severity, 'negligible')
  })

  test('A feed dated in the future counts as of its import', async () => {
    const facts = await imported('one.json', record('OSV-1', { modified: '2099-01-01T00:00:00Z' }))
    assert.equal(facts.asOf, now)
  })

  test('A withdrawn record, or one of another ecosystem, yields no advisory', async () => {
    const other = { affected: [{ package: { ecosystem: 'PyPI', name: 'zlib' } }] }
    const facts = await imported(
      'osv.zip',
      zipOf([
        { path: 'a.json', text: record('OSV-1', { withdrawn: '2026-01-01T00:00:00Z' }) },
        { path: 'b.json', text: record('OSV-2', other) },
      ]),
    )
    assert.deepEqual([facts.records, facts.advisories], [2, 0])
  })

  test('A feed of the same name is replaced, and a refused one keeps the previous feed', async () => {
    await imported('osv.zip', zipOf([{ path: 'a.json', text: record('OSV-1') }]))
    await imported('osv.zip', zipOf([{ path: 'a.json', text: record('OSV-2') }]))
    await refused('osv.zip', zipOf([{ path: 'a.json', text: '{' }]))
    assert.deepEqual(
      known('Debian:13\tzlib').map(({ id }) => id),
      ['OSV-2'],
    )
    assert.deepEqual(readdirSync(join(folder, 'feeds')), ['osv.json'])
  })

  test('A range without a beginning is undetermined, and hides no vulnerability', async () => {
    for (const events of [[{ fixed: '1.3' }], [{ limit: '2' }], [{}]]) {
      const ranges = [{ type: 'ECOSYSTEM', events }]
      const affected = [{ package: { ecosystem: 'Debian:13', name: 'zlib' }, ranges }]
      await imported('osv.json', record('OSV-1', { affected }))
      const [one] = known('Debian:13\tzlib')
      assert.equal(one && affects(one, 'Debian:13', '1.2'), 'undetermined')
    }
  })

  test('Attack: an ecosystem with an escape sequence is not displayed', async () => {
    const affected = [{ package: { ecosystem: 'Debian\x1b[2J', name: 'zlib' } }]
    const { ecosystems } = await imported('osv.json', record('OSV-1', { affected }))
    assert.deepEqual(ecosystems, [])
  })

  test('Attack: a link, a FIFO or a folder in place of a stored feed is FEED_BROKEN', async () => {
    await imported('osv.json', record('OSV-1'))
    const feeds = join(folder, 'feeds')
    renameSync(join(feeds, 'osv.json'), join(root, 'outside.json'))
    const plants = [
      () => symlinkSync(join(root, 'outside.json'), join(feeds, 'osv.json')),
      () => execFileSync('mkfifo', [join(feeds, 'osv.json')]),
      () => mkdirSync(join(feeds, 'osv.json')),
      () => writeFileSync(join(feeds, 'O SV.json'), '{}'),
    ]
    for (const plant of plants) {
      plant()
      assert.throws(() => listFeeds(folder), ended('FEED_BROKEN'))
      rmSync(join(feeds, 'osv.json'), { recursive: true, force: true })
    }
  })

  test('A broken feed is refused with the file, and the line and byte of what is no JSON', async () => {
    const told = (why: RegExp) => ({ code: 'FEED_BROKEN', message: why })
    const osv = record('OSV-1').replace('{', '{\n"aliases": [1 2],\n')
    await assert.rejects(imported('osv.json', osv), told(/: "osv\.json": line 2, byte 15: /))
    const zip = zipOf([{ path: 'deep/a.json', text: osv }])
    await assert.rejects(imported('osv.zip', zip), told(/: "deep\/a\.json": line 2, byte 15: /))
    const entry = '{"CVE-2026-0001": {"releases": {}}}'
    // Larger than an OSV record, so its entries are parsed one by one.
    const tracker = `${' '.repeat(2 ** 23)}{\n"openssl": ${entry},\n"zlib": {"CVE-2026-0002":\n  x}}`
    await assert.rejects(
      imported('debian.json', tracker),
      told(/"debian\.json": line 3, byte 9: a syntax error in the record that begins here/),
    )
    const apart = `{\n"openssl": ${entry}\n"zlib": ${entry}}`
    await assert.rejects(imported('debian.json', apart), told(/"debian\.json": line 3, byte 1: /))
  })

  test('A stored feed that is broken names the line', async () => {
    const { name } = await imported('osv.json', record('OSV-1'))
    const file = join(folder, 'feeds', `${name}.json`)
    const [facts = '', first = ''] = readFileSync(file, 'utf8').split('\n')
    const key = first.split('\t').slice(0, 2).join('\t')
    writeFileSync(file, `${facts}\n${key}\t[{\n`)
    const read = () => [...readAdvisories(listFeeds(folder)[0]!, new Set([key]))]
    assert.throws(read, { code: 'FEED_BROKEN', message: /: line 2 is broken/ })
    writeFileSync(file, `${facts}\n${first}`)
    assert.throws(read, { code: 'FEED_BROKEN', message: /truncated in line 2/ })
    writeFileSync(file, 'x\n')
    assert.throws(read, { code: 'FEED_BROKEN', message: /its line 1/ })
  })

  test('A truncated stored feed is FEED_BROKEN', async () => {
    await imported('osv.zip', zipOf([{ path: 'a.json', text: record('OSV-1') }]))
    const file = join(folder, 'feeds', 'osv.json')
    writeFileSync(file, '{"format":1')
    assert.throws(() => listFeeds(folder), ended('FEED_BROKEN'))
  })
})

suite('Hostile feeds', () => {
  const whole = record('OSV-1')
  const zip = (change: (directory: Buffer, local: Buffer) => void, path = 'a.json') =>
    zipOf([{ path, text: whole, change }])
  const attacks: Readonly<Record<string, () => Buffer | string>> = {
    'a key twice': () => whole.replace('{', '{"id":"OSV-2",'),
    'a key twice in a deeper object': () =>
      whole.replace('"fixed":"1.3"', '"fixed":"1.3","fixed":"1.4"'),
    'bytes that are no UTF-8': () =>
      Buffer.from(whole.replace('{', '{"details":"\xff",'), 'latin1'),
    'a byte order mark': () => `\ufeff${whole}`,
    'a depth of thousands': () =>
      whole.replace('{', `{"x":${'['.repeat(5000)}${']'.repeat(5000)},`),
    'no end': () => whole.slice(0, -5),
    'nothing in it': () => '',
    'another form': () => '[]',
    'a version that is no text': () => whole.replace('"1.3"', '{}'),
    'an id with an escape sequence': () => whole.replace('OSV-1', 'OSV-1\\u001b[2J'),
    'a name with a line break': () => whole.replace('"zlib"', '"zlib\\nDebian:13"'),
    'a tracker with a source twice': () => `{"a":{},"\\u0061":{}}`,
    'a tracker with a source that is no name': () => '{"../a":{}}',
    'a tracker with another status': () => tracker.replace('"open"', '"fine"'),
    'a tracker with text after its end': () => `${tracker}{}`,
    'a ZIP archive that ends early': () =>
      zipOf([{ path: 'a.json', text: whole }]).subarray(0, -10),
    'a path that climbs': () => zipOf([{ path: '../a.json', text: whole }]),
    'an absolute path': () => zipOf([{ path: '/a.json', text: whole }]),
    'one path twice': () =>
      zipOf([
        { path: 'a.json', text: whole },
        { path: 'a.json', text: whole },
      ]),
    'a link': () => zip((head) => head.writeUInt32LE((0o120777 << 16) >>> 0, 38)),
    'a file that is encrypted': () => zip((head) => head.writeUInt16LE(1, 8)),
    'another compression': () => zip((head) => head.writeUInt16LE(12, 10)),
    'a wrong checksum': () => zip((head) => head.writeUInt32LE(1, 16)),
    'a file larger than it says': () => zip((head) => head.writeUInt32LE(10, 24)),
    'a file that says it is larger': () => zip((head) => head.writeUInt32LE(2 ** 31, 24)),
    'another method in its local header': () => zip((_, local) => local.writeUInt16LE(0, 8)),
    'files that overlap': () =>
      zipOf([
        { path: 'a.json', text: whole },
        { path: 'b.json', text: whole, change: (head) => head.writeUInt32LE(0, 42) },
      ]),
    'a tar archive with a link': () =>
      tarOf([
        { path: 'a.json', text: whole },
        { path: 'b.json', type: '2', target: '/etc/passwd' },
      ]),
    'a tar archive with a path that climbs': () => tarOf([{ path: '../a.json', text: whole }]),
    'a tar archive with one path twice': () =>
      tarOf([
        { path: 'a.json', text: whole },
        { path: 'a.json', text: whole },
      ]),
    'a tar archive that ends early': () =>
      gzipSync(tarOf([{ path: 'a.json', text: whole }])).subarray(0, 50),
  }
  for (const [what, bytes] of Object.entries(attacks))
    test(`Attack: a feed with ${what} is FEED_BROKEN, and is not stored`, async () => {
      await refused('feed.json', bytes())
    })

  test('Attack: a record of less than 2 MB that would be stored as 10 GB is refused', async () => {
    const aliases = Array.from({ length: 1000 }, (_, at) => `${at}`.padEnd(1000, 'a'))
    const affected = Array.from({ length: 10_000 }, (_, at) => ({
      package: { ecosystem: 'npm', name: `p${at}` },
      versions: ['1'],
    }))
    const text = record('OSV-1', { aliases, affected })
    assert.ok(text.length < 2_000_000)
    await refused('feed.json', text)
  })

  test('Attack: an archive whose only file declares 8 GiB is refused at its header', async () => {
    const zeros = gzipSync(Buffer.alloc(2 ** 20))
    const head = tarOf([{ path: 'a', text: '' }])
    // Concatenated gzip members form one stream: a tar archive whose only file is too large.
    head.write('77777777777\0', 124, 'latin1')
    await refused(
      'feed.json',
      Buffer.concat([gzipSync(head.subarray(0, 512)), ...Array<Buffer>(4).fill(zeros)]),
    )
  })

  test('Attack: a folder with a link is refused', async () => {
    mkdirSync(join(root, 'osv'))
    writeFileSync(join(root, 'secret.json'), record('OSV-1'))
    symlinkSync(join(root, 'secret.json'), join(root, 'osv', 'a.json'))
    await assert.rejects(importedFrom(join(root, 'osv')), ended('FEED_BROKEN'))
    symlinkSync(join(root, 'osv'), join(root, 'linked'))
    await assert.rejects(importedFrom(join(root, 'linked')), ended('FEED_BROKEN'))
  })

  test('A missing path is NOT_FOUND, and a malformed name INVALID', async () => {
    await assert.rejects(importedFrom(join(root, 'gone')), ended('NOT_FOUND'))
    writeFileSync(join(root, 'a b.json'), record('OSV-1'))
    await assert.rejects(importedFrom(join(root, 'a b.json')), ended('INVALID'))
  })
})

async function imported(name: string, bytes: Buffer | string): Promise<FeedFacts> {
  const place = join(root, name)
  writeFileSync(place, bytes)
  return importedFrom(place)
}

async function importedFrom(place: string): Promise<FeedFacts> {
  using store = openImageStore(folder)
  return await importFeed({ place, name: undefined, asOf: undefined, store, now: () => now })
}

async function refused(name: string, bytes: Buffer | string): Promise<void> {
  const before = feedsIn()
  await assert.rejects(imported(name, bytes), ended('FEED_BROKEN'))
  assert.deepEqual(feedsIn(), before)
}

function feedsIn(): readonly string[] {
  try {
    return readdirSync(join(folder, 'feeds'))
  } catch {
    return []
  }
}

function known(key: string) {
  return listFeeds(folder).flatMap((feed) =>
    [...readAdvisories(feed, new Set([key]))].map(({ advisory }) => advisory),
  )
}

function ended(code: string) {
  return (thrown: unknown) => thrown instanceof MayflyError && thrown.code === code
}
