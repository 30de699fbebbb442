import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { signerFolder, wardenFolder } from '../../src/lib/state-folder.ts'
import { openImageSigner } from '../../src/warden/image-signer.ts'
import { plantImage } from '../fixtures/plant-image.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const bin = join(root, 'bin/mayfly.js')
const part = {
  kind: 'deb',
  name: 'libssl3t64',
  version: '3.5.1-1',
  architecture: 'amd64',
  source: { name: 'openssl', version: '3.5.1-1' },
} as const
let folder: string
let digest: string

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'mayfly-scans-'))
  const state = join(folder, 'state')
  digest = plantImage({
    folder: join(wardenFolder(state), 'images'),
    signer: openImageSigner(signerFolder(state)),
    parts: [part],
    text: 'python',
  })
})
after(() => rmSync(folder, { recursive: true, force: true }))

suite('Scans by command', () => {
  test('S0-28: An image with a planted old package is found by an imported feed, and refused', () => {
    assert.equal(codeOf(images('scan', '--json')), 'NOT_FOUND', 'no feed yet')
    feed('debian.json', '3.5.1-2')
    const imported = images('feeds', 'import', join(folder, 'debian.json'), '--json')
    assert.deepEqual(JSON.parse(imported.stdout).ecosystems, ['Debian:13'])
    const scanned = images('scan', 'python', '--json')
    assert.equal(scanned.status, 3, scanned.stderr)
    assert.match(scanned.stderr, /Feed "debian" is 0 hours old/)
    const [image] = JSON.parse(scanned.stdout).images
    assert.equal(image.image, digest)
    assert.deepEqual(
      image.findings.map((one: { id: string; severity: string; fixed: string }) => [
        one.id,
        one.severity,
        one.fixed,
      ]),
      [['CVE-2026-0001', 'high', '3.5.1-2']],
    )
    assert.deepEqual([image.counts.high, image.gate.code], [1, 'TOO_SEVERE'])
    const shown = images('scan')
    assert.equal(shown.status, 3)
    assert.match(
      shown.stdout,
      /high +CVE-2026-0001 +openssl 3\.5\.1-1 +fixed in 3\.5\.1-2 +libssl3t64/,
    )
    assert.match(shown.stdout, /the gate refuses it: TOO_SEVERE/)
    assert.equal(images('scan', '--max-severity', 'high').status, 0)
  })

  test('A feed without a vulnerability admits the image, and an outdated feed does not', () => {
    feed('debian.json', '3.5.1-1')
    images('feeds', 'import', join(folder, 'debian.json'))
    const scanned = images('scan', 'python')
    assert.equal(scanned.status, 0, scanned.stdout)
    assert.match(scanned.stdout, /no known vulnerability\n +the gate admits it/)
    images('feeds', 'import', join(folder, 'debian.json'), '--as-of', '2026-01-01')
    const old = images('scan', 'python')
    assert.equal(old.status, 3)
    assert.match(old.stderr, /Feed "debian" is \d+ days old: import a newer one/)
    assert.match(old.stdout, /FEED_OLD/)
    assert.match(images('feeds', 'list').stdout, /debian +debian-tracker +\d+ days \(too old\)/)
  })

  test('The threshold of the configuration applies, and an invalid one is an error with line and column', () => {
    feed('debian.json', '3.5.1-2')
    images('feeds', 'import', join(folder, 'debian.json'))
    const config = join(folder, 'gate.toml')
    writeFileSync(config, '[images]\nmax_severity = "high"\nmax_feed_age = "2d"\n')
    assert.equal(images('scan', '--config', config).status, 0)
    writeFileSync(config, '[images]\nmax_severity = "urgent"\nmax_feed_age = "2 weeks"\n')
    const wrong = images('scan', '--config', config, '--json')
    assert.equal(wrong.status, 2)
    const { details } = JSON.parse(wrong.stdout).error
    assert.deepEqual(
      details.issues.map(({ key, line }: { key: string; line: number }) => [key, line]),
      [
        ['images.max_severity', 2],
        ['images.max_feed_age', 3],
      ],
    )
  })

  test('An image without a bill of materials, and a changed one, do not hide the others', () => {
    feed('debian.json', '3.5.1-2')
    images('feeds', 'import', join(folder, 'debian.json'))
    const state = join(folder, 'state')
    const store = join(wardenFolder(state), 'images')
    const signer = openImageSigner(signerFolder(state))
    // Images are scanned in the order of their digests: some of these come before the others, and some after.
    const bare = ['bare-1', 'bare-2', 'bare-3', 'bare-4'].map((text) =>
      plantImage({ folder: store, signer, parts: [], text, hasNoSbom: true }),
    )
    const broken = plantImage({ folder: store, signer, parts: [], text: 'broken' })
    writeFileSync(join(store, 'sboms', `${broken}.json`), '{}')
    const last = plantImage({ folder: store, signer, parts: [], text: 'last-3' })
    assert.ok(bare.some((one) => digest < one && one < last))
    const scanned = images('scan', '--max-severity', 'critical', '--json')
    assert.equal(scanned.status, 3, scanned.stderr)
    const told = JSON.parse(scanned.stdout)
    assert.deepEqual(
      told.images.map((one: { image: string; gate: { kind: string } }) => [
        one.image,
        one.gate.kind,
      ]),
      [
        [digest, 'admitted'],
        [last, 'admitted'],
      ],
    )
    const codes = new Map<string, string>(
      told.unscannable.map((one: { image: string; code: string }) => [one.image, one.code]),
    )
    assert.equal(codes.size, 5)
    for (const one of bare) assert.equal(codes.get(one), 'NOT_FOUND')
    assert.equal(codes.get(broken), 'IMAGE_BROKEN')
    const shown = images('scan')
    assert.equal(shown.status, 3)
    assert.match(shown.stdout, /CVE-2026-0001/)
    assert.match(
      shown.stdout,
      /^bare-1 sha256:[0-9a-f]{64}\n +cannot be scanned: NOT_FOUND: .*it has none\. Build the image again/m,
    )
    assert.equal(codeOf(images('scan', 'bare-1', '--json')), 'NOT_FOUND', 'an error if named')
    for (const name of ['bare-1', 'bare-2', 'bare-3', 'bare-4', 'broken', 'last-3'])
      assert.equal(images('untag', name).status, 0)
    assert.equal(images('gc').status, 0)
  })

  test('Attack: an image whose packages cannot be evaluated, or have the names of methods, does not hide the others', () => {
    feed('debian.json', '3.5.1-2')
    images('feeds', 'import', join(folder, 'debian.json'))
    const state = join(folder, 'state')
    const store = join(wardenFolder(state), 'images')
    const signer = openImageSigner(signerFolder(state))
    const source = { name: 'constructor', version: '1' }
    const method = { ...part, name: 'constructor', version: '1', source }
    const malformed = { ...part, version: undefined as never }
    // Images are scanned in the order of their digests: some of these come before the others.
    const names = ['odd-38', 'odd-49', 'odd-1', 'odd-2']
    const planted = names.map((text, at) =>
      plantImage({ folder: store, signer, parts: [at % 2 === 0 ? method : malformed], text }),
    )
    assert.ok(planted[0]! < digest && planted[1]! < digest)
    const scanned = images('scan', '--max-severity', 'critical', '--json')
    assert.equal(scanned.status, 3, scanned.stdout)
    const told = JSON.parse(scanned.stdout)
    assert.deepEqual(
      new Set(told.images.map((one: { image: string }) => one.image)),
      new Set([digest, planted[0], planted[2]]),
    )
    assert.deepEqual(
      new Map(
        told.unscannable.map((one: { image: string; code: string }) => [one.image, one.code]),
      ),
      new Map([planted[1], planted[3]].map((one) => [one, 'INTERNAL'])),
    )
    assert.match(images('scan').stdout, /cannot be scanned: INTERNAL: Cannot scan: /)
    for (const name of names) assert.equal(images('untag', name).status, 0)
    assert.equal(images('gc').status, 0)
  })

  test('Attack: a hostile feed is FEED_BROKEN, and the previous feed stays', () => {
    writeFileSync(join(folder, 'debian.json'), '{"openssl":{},"openssl":{}}')
    assert.equal(
      codeOf(images('feeds', 'import', join(folder, 'debian.json'), '--json')),
      'FEED_BROKEN',
    )
    assert.equal(JSON.parse(images('feeds', 'list', '--json').stdout).feeds.length, 1)
  })

  test('Removing a feed twice is an error', () => {
    assert.equal(images('feeds', 'remove', 'debian').status, 0)
    assert.equal(codeOf(images('feeds', 'remove', 'debian', '--json')), 'NOT_FOUND')
    assert.equal(codeOf(images('feeds', 'remove', '../tags/python', '--json')), 'NOT_FOUND')
  })

  test('Every command of the how-to is tested here or in its own block', () => {
    const page = readFileSync(join(root, 'docs/how-to/scan-images.md'), 'utf8')
    const shown = [...page.matchAll(/^npx mayfly images (\S+(?: \S+)?)/gm)].map(
      ([, words]) => words,
    )
    const tried = [
      'feeds import',
      'feeds list',
      'feeds remove',
      'scan',
      'scan python',
      'scan --max-severity',
    ]
    assert.deepEqual(
      shown.filter((words) => !tried.includes(words!)),
      [],
    )
    assert.ok(shown.length >= 4)
  })
})

/** JSON of the tracker with a vulnerability that this version fixes. */
function feed(name: string, fixed: string): void {
  const release = { status: 'resolved', fixed_version: fixed, urgency: 'high' }
  const entry = { 'CVE-2026-0001': { releases: { trixie: release } } }
  writeFileSync(join(folder, name), JSON.stringify({ openssl: entry }))
}

function images(...words: readonly string[]) {
  const args = [bin, 'images', ...words, '--state', join(folder, 'state')]
  return spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 120_000 })
}

function codeOf({ stdout }: { readonly stdout: string }): unknown {
  return JSON.parse(stdout).error?.code
}
