import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { plantedManifest } from '../../tests/fixtures/plant-image.ts'
import { playedSigner } from '../../tests/fixtures/images.ts'
import { MayflyError } from '../contract/error.ts'
import { manifestStatement } from './manifest.ts'
import {
  findImage,
  listImages,
  openImageStore,
  readSbom,
  whyImageBroken,
  type ImageStore,
} from './store.ts'
import { ownHooks } from '../../tests/fixtures/own-hooks.ts'

const signer = playedSigner()
const key = signer.publicKey
const sbom = '{}\n'
let root: string
let folder: string

const { beforeEach, afterEach } = ownHooks(import.meta.filename)
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'mayfly-store-'))
  folder = join(root, 'images')
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

suite('The image store', () => {
  test('An image is found by tag, digest or digest prefix', () => {
    const digest = inStore((store) => add(store, 'first', ['one', 'two']))
    for (const name of ['one', 'two', digest, `sha256:${digest}`, digest.slice(0, 8)])
      assert.equal(findImage(folder, name).digest, digest)
    for (const name of ['three', digest.slice(0, 7), '../tags/one', ''])
      assert.throws(() => findImage(folder, name), ended('NOT_FOUND'))
    assert.equal(whyImageBroken(findImage(folder, 'one'), key), undefined)
  })

  test('A tag that is the beginning of the digest of another image names neither without "sha256:"', () => {
    const first = inStore((store) => add(store, 'first', ['one']))
    const short = first.slice(0, 12)
    inStore((store) => store.tag(first, short))
    assert.equal(findImage(folder, short).digest, first)
    inStore((store) => add(store, 'second', [short]))
    assert.throws(() => findImage(folder, short), ended('INVALID'))
    assert.equal(findImage(folder, `sha256:${short}`).digest, first)
  })

  test('Collection removes untagged images only', () => {
    const [first, second] = inStore((store) => [
      add(store, 'first', ['one']),
      add(store, 'second', ['one', 'two']),
    ])
    assert.deepEqual(inStore((store) => store.collect()).digests, [first])
    assert.deepEqual(
      listImages(folder).images.map(({ digest }) => digest),
      [second],
    )
    assert.equal(whyImageBroken(findImage(folder, 'two'), key), undefined)
    inStore((store) => [store.untag('one'), store.untag('two')])
    assert.deepEqual(inStore((store) => store.collect()).digests, [second])
    for (const sub of ['blobs', 'sboms', 'manifests'])
      assert.deepEqual(readdirSync(join(folder, sub)), [], sub)
  })

  test('Collection removes nothing while a tag is unreadable', () => {
    const digest = inStore((store) => add(store, 'first', []))
    const [tag, elsewhere] = [join(folder, 'tags', 'broken'), join(root, 'elsewhere')]
    writeFileSync(elsewhere, digest)
    for (const breaks of [
      () => writeFileSync(tag, ''),
      () => writeFileSync(tag, digest.slice(1)),
      () => writeFileSync(tag, digest.padEnd(100)),
      () => symlinkSync(elsewhere, tag),
    ]) {
      breaks()
      assert.throws(() => inStore((store) => store.collect()), ended('IMAGE_BROKEN'))
      assert.equal(whyImageBroken(findImage(folder, digest), key), undefined)
      assert.ok(inStore((store) => store.untag('broken')))
    }
    assert.equal(inStore((store) => store.collect()).digests.length, 1)
  })

  test('A concurrent change is BUSY', () => {
    using store = openImageStore(folder)
    assert.throws(() => openImageStore(folder), ended('BUSY'))
    add(store, 'first', ['one'])
    assert.equal(listImages(folder).images.length, 1)
  })

  test('Scratch files of a killed build are removed by the next command', () => {
    mkdirSync(join(folder, 'work', 'left'), { recursive: true, mode: 0o700 })
    writeFileSync(join(folder, 'work', 'left', 'image'), 'half')
    inStore((store) =>
      assert.deepEqual(readdirSync(join(folder, 'work')), [store.work.split('/').at(-1)]),
    )
    assert.equal(existsSync(join(folder, 'work')), false)
  })

  test('An image whose build was killed before its manifest was written is not listed, and is collected', () => {
    inStore((store) => add(store, 'first', ['one']))
    writeFileSync(join(folder, 'blobs', `${'a'.repeat(64)}.erofs`), 'half')
    assert.equal(listImages(folder).images.length, 1)
    assert.deepEqual(inStore((store) => store.collect()).digests, ['a'.repeat(64)])
  })

  const attacks: Readonly<Record<string, (digest: string) => void>> = {
    'a byte changed': (digest) => rewrite(digest, 'First'),
    'a byte more': (digest) => rewrite(digest, 'first+'),
    'a link in place of the file': (digest) => {
      rmSync(blob(digest))
      writeFileSync(join(root, 'elsewhere'), 'first')
      symlinkSync(join(root, 'elsewhere'), blob(digest))
    },
    'no file': (digest) => rmSync(blob(digest)),
  }
  for (const [what, attack] of Object.entries(attacks))
    test(`Attack: an image with ${what} does not verify`, () => {
      const digest = inStore((store) => add(store, 'first', ['one']))
      attack(digest)
      assert.match(whyImageBroken(findImage(folder, 'one'), key) ?? '', /^its /)
    })

  test('Attack: a manifest stored under the name of another image does not verify', () => {
    const [first, second] = inStore((store) => [
      add(store, 'first', ['one']),
      add(store, 'second', ['two']),
    ])
    writeFileSync(
      join(folder, 'manifests', `${first}.json`),
      JSON.stringify(findImage(folder, second).signed),
    )
    assert.match(whyImageBroken(findImage(folder, 'one'), key) ?? '', /belongs to another image/)
  })

  test('A bill of materials must match the signed manifest', () => {
    inStore((store) => add(store, 'first', ['one']))
    assert.equal(readSbom(findImage(folder, 'one'), key), sbom)
    assert.throws(() => readSbom(findImage(folder, 'one'), undefined), ended('IMAGE_BROKEN'))
  })

  for (const [what, attack] of Object.entries<(file: string) => void>({
    changed: (file) => writeFileSync(file, '{"components":[]}\n'),
    missing: (file) => rmSync(file),
    'a link': (file) => {
      writeFileSync(join(root, 'elsewhere'), sbom)
      rmSync(file)
      symlinkSync(join(root, 'elsewhere'), file)
    },
  }))
    test(`Attack: an image whose bill of materials is ${what} does not verify`, () => {
      const digest = inStore((store) => add(store, 'first', ['one']))
      attack(join(folder, 'sboms', `${digest}.json`))
      assert.throws(() => readSbom(findImage(folder, 'one'), key), ended('IMAGE_BROKEN'))
      assert.match(whyImageBroken(findImage(folder, 'one'), key) ?? '', /bill of materials/)
    })

  test('A bill of 20,000 packages is read back, and a larger one is TOO_LARGE', () => {
    const large = `"${'x'.repeat(15 * 2 ** 20)}"\n`
    using store = openImageStore(folder)
    const digest = add(store, 'large', [], large)
    assert.equal(readSbom(findImage(folder, digest), key), large)
    assert.throws(() => add(store, 'larger', [], `"${'x'.repeat(2 ** 25)}"`), ended('TOO_LARGE'))
    assert.equal(listImages(folder).images.length, 1)
  })

  test('Attack: links in place of files and folders of the store are not followed', () => {
    const outside = join(root, 'outside')
    mkdirSync(outside)
    const digest = inStore((store) => add(store, 'first', ['one']))
    for (const [place, code] of [
      [join('tags', 'one'), 'NOT_FOUND'],
      [join('manifests', `${digest}.json`), 'IMAGE_BROKEN'],
    ] as const) {
      renameSync(join(folder, place), join(outside, 'file'))
      symlinkSync(join(outside, 'file'), join(folder, place))
      assert.throws(() => findImage(folder, 'one'), ended(code))
      rmSync(join(folder, place))
      renameSync(join(outside, 'file'), join(folder, place))
    }
    symlinkSync(outside, join(folder, 'work'))
    for (const name of ['blobs', 'sboms', 'manifests', 'tags', 'feeds', 'scans']) {
      renameSync(join(folder, name), join(root, 'kept'))
      symlinkSync(outside, join(folder, name))
      assert.throws(() => inStore((store) => add(store, 'second', ['two'])), ended('STATE'), name)
      assert.deepEqual(readdirSync(outside), [], name)
      rmSync(join(folder, name))
      renameSync(join(root, 'kept'), join(folder, name))
    }
    assert.equal(findImage(folder, 'one').digest, digest)
  })

  test('An unreadable manifest is IMAGE_BROKEN, and the other images are listed', () => {
    const [first] = inStore((store) => [
      add(store, 'first', ['one']),
      add(store, 'second', ['two']),
    ])
    for (const text of ['{', '{}', '[]', '']) {
      writeFileSync(join(folder, 'manifests', `${first}.json`), text)
      assert.throws(() => findImage(folder, 'one'), ended('IMAGE_BROKEN'))
      const { images, faults } = listImages(folder)
      assert.deepEqual([images.length, faults.length], [1, 1])
    }
  })
})

function inStore<T>(work: (store: ImageStore) => T): T {
  using store = openImageStore(folder)
  return work(store)
}

function add(
  store: ImageStore,
  text: string,
  tags: readonly string[],
  bill: string = sbom,
): string {
  const file = join(store.work, 'image')
  writeFileSync(file, text)
  const digest = createHash('sha256').update(text).digest('hex')
  const manifest = plantedManifest({
    digest,
    size: text.length,
    recipe: digest,
    sbom: createHash('sha256').update(bill).digest('hex'),
  })
  store.add(
    file,
    { manifest, key, signature: signer.sign(manifestStatement(manifest, key)) },
    { tags, sbom: bill },
  )
  return digest
}

function blob(digest: string): string {
  return join(folder, 'blobs', `${digest}.erofs`)
}

function rewrite(digest: string, text: string): void {
  chmodSync(blob(digest), 0o644)
  writeFileSync(blob(digest), text)
}

function ended(code: string) {
  return (thrown: unknown) => thrown instanceof MayflyError && thrown.code === code
}
