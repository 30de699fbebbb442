import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { exportOci } from '../../src/images/export-oci.ts'
import { openPackageCache, packageFolder } from '../../src/images/package-cache.ts'
import { ownMakers } from '../../src/images/recipe.ts'
import { findImage, openImageStore } from '../../src/images/store.ts'
import { signerFolder, wardenFolder } from '../../src/lib/state-folder.ts'
import { imageKey, openImageSigner } from '../../src/warden/image-signer.ts'
import { whyNotBuilt } from '../fixtures/buildable.ts'
import { tarOf } from '../fixtures/images.ts'
import { plantImage } from '../fixtures/plant-image.ts'
import { playLayout, type PlayedLayout } from '../fixtures/oci.ts'

const bin = fileURLToPath(new URL('../../bin/mayfly.js', import.meta.url))
const status = `Package: libssl3t64
Status: install ok installed
Architecture: amd64
Source: openssl
Version: 3.5.1-1

Package: gone
Status: deinstall ok config-files
Version: 1
`
const layers = [
  tarOf([
    { path: 'usr/lib/os-release', text: 'ID=debian\nVERSION_CODENAME=trixie\n' },
    { path: 'var/lib/dpkg/status', text: status },
    { path: 'usr/bin/tool', text: 'old', mode: 0o4755 },
    { path: 'gone/x', text: 'x' },
  ]),
  tarOf([
    { path: '.wh.gone' },
    { path: 'usr/bin/tool', text: 'new', mode: 0o755 },
    { path: 'usr/bin/other', type: '2', target: 'tool' },
  ]),
]
let root: string
let count = 0
/** Reason why nothing can be built here. */
let reason = ''
let digest = ''

before(() => {
  root = mkdtempSync(join(tmpdir(), 'mayfly-oci-'))
  const built = images('first', 'build', 'minimal', '--json')
  const said = JSON.parse(built.stdout)
  reason = whyNotBuilt('minimal', said)
  if (!reason) digest = said.images[0].digest
})
after(() => rmSync(root, { recursive: true, force: true }))

suite('OCI image layouts', () => {
  test('An exported image is imported elsewhere with the same digest, from a folder and from an archive', (t) => {
    if (reason) return t.skip(reason)
    const [folder, archive] = [join(root, 'minimal'), join(root, 'minimal.tar')]
    const one = JSON.parse(images('first', 'export', 'minimal', folder, '--json').stdout)
    const other = JSON.parse(images('first', 'export', 'minimal', archive, '--json').stdout)
    assert.match(one.manifest, /^sha256:[0-9a-f]{64}$/)
    assert.equal(one.manifest, other.manifest)
    assert.deepEqual(readdirSync(folder).sort(), ['blobs', 'index.json', 'oci-layout'])
    assert.equal(codeOf(images('first', 'export', 'minimal', folder, '--json')), 'CONFLICT')
    for (const [state, place] of [
      ['second', folder],
      ['third', archive],
    ] as const) {
      assert.equal(JSON.parse(images(state, 'import', place, '--json').stdout).digest, digest)
      assert.equal(images(state, 'verify').status, 0)
    }
    assert.deepEqual(
      readdirSync(root).filter((name) => name.startsWith('.')),
      [],
    )
  })

  test('An image that is an archive is not exported, and no file is created', () => {
    const state = join(root, 'archive')
    plantImage({
      folder: join(wardenFolder(state), 'images'),
      signer: openImageSigner(signerFolder(state)),
      parts: [],
      text: 'kernel',
      form: 'archive',
    })
    const to = join(root, 'kernel.tar')
    assert.equal(codeOf(images('archive', 'export', 'kernel', to, '--json')), 'INVALID')
    assert.equal(existsSync(to), false)
  })

  test('An image that was built here keeps its manifest when it is imported', (t) => {
    if (reason) return t.skip(reason)
    const folder = join(root, 'again')
    images('first', 'export', 'minimal', folder)
    const { origin, packages } = JSON.parse(images('first', 'import', folder, '--json').stdout)
    assert.deepEqual([origin, packages.length], [undefined, 3])
  })

  test('The same layers give the same image, however they are packed', (t) => {
    if (reason) return t.skip(reason)
    const digests = (['', '+gzip', '+zstd'] as const).map((packing) => {
      const { stdout, stderr } = imported({ layers, packing })
      assert.match(stderr, /2 layers, \d+ files/)
      assert.match(stderr, /1 files without their setuid/)
      return JSON.parse(stdout).digest
    })
    assert.equal(new Set(digests).size, 1)
  })

  test('The bill of materials of an imported image is its package list, marked incomplete', (t) => {
    if (reason) return t.skip(reason)
    const name = playedFolder({ layers })
    const state = `state-${name}`
    const { origin } = JSON.parse(images(state, 'import', join(root, name), '--json').stdout)
    assert.equal(origin.layers.length, 2)
    const sbom = JSON.parse(images(state, 'show', name, '--sbom').stdout)
    assert.deepEqual(
      sbom.components.map((one: { purl: string }) => one.purl),
      ['pkg:deb/debian/libssl3t64@3.5.1-1?arch=amd64&distro=trixie'],
    )
    assert.equal(sbom.components[0].pedigree.ancestors[0].name, 'openssl')
    assert.equal(sbom.compositions[0].aggregate, 'incomplete')
  })

  const changes: Readonly<Record<string, Omit<PlayedLayout, 'layers'>>> = {
    'a layer of another digest than its configuration says': {
      change: { config: (config) => (config.rootfs.diff_ids[1] = `sha256:${'0'.repeat(64)}`) },
    },
    'a layer less in its configuration': {
      change: { config: (config) => config.rootfs.diff_ids.pop() },
    },
    'a layer of another size': {
      change: { manifest: (manifest) => (manifest.layers[0]!.size += 1) },
    },
    'a layer that is missing': {
      change: { manifest: (manifest) => (manifest.layers[0]!.digest = `sha256:${'0'.repeat(64)}`) },
    },
    'a layer whose type names another packing': {
      change: {
        manifest: (manifest) =>
          (manifest.layers[0]!.mediaType = 'application/vnd.oci.image.layer.v1.tar+zstd'),
      },
    },
    'a layer of a type that is none': {
      change: { manifest: (manifest) => (manifest.layers[0]!.mediaType = 'text/plain') },
    },
    'a digest with a path': {
      change: { index: (index) => (index.manifests[0]!.digest = 'sha256:../../../../etc/passwd') },
    },
    'another digest algorithm': {
      change: { index: (index) => (index.manifests[0]!.digest = `md5:${'0'.repeat(32)}`) },
    },
    'another system': { change: { config: (config) => (config.os = 'windows') } },
  }
  for (const [what, given] of Object.entries(changes))
    test(`Attack: a layout with ${what} is LAYOUT_BROKEN, and no image is left`, () => {
      refused({ layers, ...given })
    })

  test('Attack: a layer whose bytes were changed is LAYOUT_BROKEN', () => {
    const name = `played-${(count += 1)}`
    const blob = playLayout(join(root, name), { layers, packing: '' })
    const bytes = readFileSync(blob)
    writeFileSync(blob, bytes.fill('O', 512, 513))
    assert.equal(
      codeOf(images(`state-${name}`, 'import', join(root, name), '--json')),
      'LAYOUT_BROKEN',
    )
  })

  test('Attack: a layer that leaves the image is LAYOUT_BROKEN, and writes nothing outside', () => {
    const outside = join(root, 'outside')
    refused({ layers: [tarOf([{ path: `../../../../../../..${outside}`, text: 'x' }])] })
    refused({
      layers: [
        tarOf([{ path: 'a', type: '2', target: root }]),
        tarOf([{ path: 'a/outside', text: 'x' }]),
      ],
    })
    assert.equal(existsSync(outside), false)
  })

  test('Attack: an archive with a link, or that ends early, is LAYOUT_BROKEN', () => {
    const hostile = {
      link: tarOf([{ path: 'index.json', type: '2', target: '/etc/passwd' }]),
      twice: tarOf([
        { path: 'oci-layout', text: '{}' },
        { path: 'oci-layout', text: '{}' },
      ]),
      early: gzipSync(tarOf([{ path: 'oci-layout', text: '{}' }])).subarray(0, 40),
    }
    for (const [name, bytes] of Object.entries(hostile)) {
      writeFileSync(join(root, `${name}.tar`), bytes)
      assert.equal(
        codeOf(images('hostile', 'import', join(root, `${name}.tar`), '--json')),
        'LAYOUT_BROKEN',
        name,
      )
    }
    assert.deepEqual(blobsOf('hostile'), [])
  })

  test('Attack: an index that lists a thousand large indexes is LAYOUT_BROKEN', () => {
    const name = `played-${(count += 1)}`
    const inner = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [] }).padEnd(2 ** 22))
    const hex = createHash('sha256').update(inner).digest('hex')
    const named = {
      mediaType: 'application/vnd.oci.image.index.v1+json',
      digest: `sha256:${hex}`,
      size: inner.length,
    }
    playLayout(join(root, name), {
      layers,
      change: { index: (index) => (index.manifests = Array.from({ length: 1000 }, () => named)) },
    })
    writeFileSync(join(root, name, 'blobs', 'sha256', hex), inner)
    assert.equal(
      codeOf(images(`state-${name}`, 'import', join(root, name), '--json')),
      'LAYOUT_BROKEN',
    )
  })

  test('Attack: a link planted in the folder of an export is not followed', async (t) => {
    if (reason) return t.skip(reason)
    const [outside, to] = [join(root, 'planted'), join(root, 'shared')]
    for (const folder of [outside, to]) mkdirSync(folder)
    // Names that an attacker could guess for a draft: those of this process and of the export.
    for (const name of ['.one', `.one.${process.pid}`]) symlinkSync(outside, join(to, name))
    const state = join(root, 'first')
    const folder = join(wardenFolder(state), 'images')
    using store = openImageStore(folder)
    await exportOci({
      image: findImage(folder, 'minimal'),
      key: imageKey(signerFolder(state)),
      to: join(to, 'one'),
      name: 'minimal',
      makers: ownMakers,
      store,
      cache: openPackageCache(packageFolder()),
      note: () => undefined,
    })
    assert.deepEqual(readdirSync(outside), [])
    assert.ok(lstatSync(join(to, 'one')).isDirectory())
  })

  test('An index with several images needs the name of one', () => {
    const name = playedFolder({
      layers,
      change: { index: (index) => index.manifests.push(index.manifests[0]!) },
    })
    assert.equal(codeOf(images('several', 'import', join(root, name), '--json')), 'INVALID')
    assert.equal(
      codeOf(images('several', 'import', join(root, name), '--ref', 'a', '--json')),
      'NOT_FOUND',
    )
    assert.equal(codeOf(images('several', 'import', join(root, 'gone'), '--json')), 'NOT_FOUND')
  })
})

function playedFolder(layout: PlayedLayout): string {
  const name = `played-${(count += 1)}`
  playLayout(join(root, name), layout)
  return name
}

function imported(layout: PlayedLayout) {
  const name = playedFolder(layout)
  return images(`state-${name}`, 'import', join(root, name), '--json')
}

function refused(layout: PlayedLayout): void {
  const name = playedFolder(layout)
  assert.equal(
    codeOf(images(`state-${name}`, 'import', join(root, name), '--json')),
    'LAYOUT_BROKEN',
  )
  assert.deepEqual(blobsOf(`state-${name}`), [])
}

function blobsOf(state: string): readonly string[] {
  return readdirSync(join(wardenFolder(join(root, state)), 'images', 'blobs'))
}

function images(state: string, ...words: readonly string[]) {
  const args = [bin, 'images', ...words, '--state', join(root, state)]
  return spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 300_000 })
}

function codeOf({ stdout }: { readonly stdout: string }): unknown {
  return JSON.parse(stdout).error?.code
}
