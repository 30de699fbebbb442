import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { playImage } from '../../tests/fixtures/images.ts'
import { MayflyError } from '../contract/error.ts'
import { openPackageCache } from './package-cache.ts'
import { ownHooks } from '../../tests/fixtures/own-hooks.ts'

let root: string
const { beforeEach, afterEach } = ownHooks(import.meta.filename)
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'mayfly-cache-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

suite('Cached packages', () => {
  test('A package is copied if its bytes match the lock', () => {
    const { cache, locked, to } = played()
    cache.take(locked, to)
    assert.equal(readFileSync(to, 'utf8'), 'package')
  })

  const attacks: Readonly<Record<string, readonly [text: string, why: RegExp]>> = {
    'a byte changed': ['Package', /SHA-256/],
    'a byte less': ['packag', /6 bytes, not 7/],
    'a byte more': ['package+', /more than 7 bytes/],
    'no byte': ['', /0 bytes/],
  }
  for (const [what, [text, why]] of Object.entries(attacks))
    test(`Attack: a package with ${what} is PACKAGE_BROKEN, and leaves no copy`, () => {
      const { cache, locked, to, file } = played()
      writeFileSync(file, text)
      assert.throws(() => cache.take(locked, to), broken(why))
      assert.equal(existsSync(to), false)
    })

  test('Attack: a link in place of a package is PACKAGE_BROKEN', () => {
    const { cache, locked, to, file } = played()
    rmSync(file)
    writeFileSync(join(root, 'elsewhere'), 'package')
    symlinkSync(join(root, 'elsewhere'), file)
    assert.throws(() => cache.take(locked, to), broken(/not a regular file/))
  })
})

function played() {
  const { cache, lock } = playImage(root, 'played', { one: Buffer.from('package') })
  const locked = lock.packages[0]!
  const file = join(cache, `${locked.sha256}.deb`)
  return { cache: openPackageCache(cache), locked, file, to: join(root, 'copy') }
}

function broken(why: RegExp) {
  return (thrown: unknown) =>
    thrown instanceof MayflyError && thrown.code === 'PACKAGE_BROKEN' && why.test(thrown.message)
}
