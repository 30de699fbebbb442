import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, suite, test } from 'node:test'
import { buildImage } from '../../src/images/build.ts'
import { openPackageCache } from '../../src/images/package-cache.ts'
import { listImages, openImageStore } from '../../src/images/store.ts'
import { packageOf, playedSigner, playImage, tarOf, type PlayedEntry } from '../fixtures/images.ts'

const hasTools = existsSync('/usr/bin/dpkg-deb') && existsSync('/usr/bin/setpriv')
// Without these programs CI fails, instead of skipping the attacks.
const skip = !hasTools && process.env['CI'] !== 'true' && 'dpkg-deb or setpriv is missing'
let root: string
let outside: string

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'mayfly-archives-'))
  outside = join(root, 'outside')
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

suite('Hostile packages, unpacked by dpkg-deb', { skip }, () => {
  const hostile: Readonly<Record<string, readonly [why: RegExp, made: () => PlayedEntry[]]>> = {
    'an absolute path': [/is absolute/, () => [{ path: outside, text: 'x' }]],
    'a path that climbs': [
      /has a name "\.\."/,
      () => [{ path: `./usr/../../../../../../../..${outside}`, text: 'x' }],
    ],
    'a link, and a file through it': [
      /leads through a link/,
      () => [
        { path: './a', type: '2', target: root },
        { path: './a/outside', text: 'x' },
      ],
    ],
    'a relative link that climbs': [
      /its link "a" leaves the image/,
      () => [{ path: './a', type: '2', target: '../../etc' }],
    ],
    'a hard link to a file of the machine': [
      /"\/etc\/passwd" is absolute/,
      () => [{ path: './a', type: '1', target: '/etc/passwd' }],
    ],
    'a device': [/of type "4"/, () => [{ path: './dev/sda', type: '4' }]],
    'a character device': [/of type "3"/, () => [{ path: './dev/mem', type: '3' }]],
    'a FIFO': [/of type "6"/, () => [{ path: './run/x', type: '6' }]],
    'a sparse file': [/of type "S"/, () => [{ path: './x', type: 'S' }]],
    'one path twice': [
      /in the image already/,
      () => [
        { path: './a', text: 'x' },
        { path: './a', text: 'y' },
      ],
    ],
    'a name with an escape sequence': [
      /has a control character/,
      () => [{ path: './a\x1b[2J', text: 'x' }],
    ],
  }
  for (const [what, [why, made]] of Object.entries(hostile))
    test(`Attack: a package with ${what} is refused, and leaves nothing`, async () => {
      await refused({ one: packageOf(tarOf(made())) }, why)
    })

  test('Attack: a package that ends early is refused, and leaves nothing', async () => {
    const bytes = tarOf([{ path: './a', text: 'x'.repeat(5000) }])
    await refused({ one: packageOf(bytes.subarray(0, 2048)) }, /is truncated/)
  })

  test('Attack: a package that is not an archive is refused, and leaves nothing', async () => {
    await refused({ one: Buffer.from('#!/bin/sh\nid\n') }, /is truncated/)
    await refused({ one: packageOf(Buffer.from('no tar')) }, /is truncated/)
  })

  test('Attack: a package whose bytes changed after its lock was made is refused', async () => {
    const bytes = packageOf(tarOf([{ path: './a', text: 'x' }]))
    await refused({ one: bytes }, /has \d+ bytes, not \d+/, (cache) => {
      for (const name of readdirSync(cache)) writeFileSync(join(cache, name), bytes.subarray(1))
    })
  })

  test('Attack: packages that hold the same file are refused', async () => {
    const one = packageOf(tarOf([{ path: './usr/bin/a', text: 'x' }]))
    const two = packageOf(tarOf([{ path: './bin/a', text: 'y' }]))
    await refused({ one, two }, /"usr\/bin\/a" is in the image already/)
  })
})

/** Builds, and expects PACKAGE_BROKEN with this cause, an empty store, no scratch and no file outside. */
async function refused(
  packages: Readonly<Record<string, Buffer>>,
  why: RegExp,
  change?: (cache: string) => void,
): Promise<void> {
  const name = 'played'
  const { recipes, cache } = playImage(root, name, packages)
  playImage(root, 'maker', packages)
  change?.(cache)
  const folder = join(root, 'images')
  {
    using store = openImageStore(folder)
    const build = buildImage({
      name,
      recipes,
      makers: recipes,
      store,
      cache: openPackageCache(cache),
      signer: playedSigner(),
      tags: [],
      now: Date.now,
      note: () => undefined,
    })
    await assert.rejects(build, { name: 'MayflyError', code: 'PACKAGE_BROKEN', message: why })
    assert.deepEqual(readdirSync(store.work), [])
  }
  assert.deepEqual(listImages(folder), { images: [], faults: [] })
  assert.deepEqual(readdirSync(join(folder, 'blobs')), [])
  assert.equal(existsSync(outside), false)
}
