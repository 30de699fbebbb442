import assert from 'node:assert/strict'
import { mkdtempSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { until } from '../../tests/conformance/stand.ts'
import { VerifiedFiles } from './verified-files.ts'

test('A file is hashed once, and again after each change, also of one that keeps its size and time', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-verified-'))
  try {
    const file = join(folder, 'image')
    const long = new Date(0)
    writeFileSync(file, 'one')
    utimesSync(file, long, long)
    const verified = new VerifiedFiles()
    let hashes = 0
    const check = (digest: string, isRight = true) =>
      verified.check(file, digest, () => (hashes++, isRight))
    for (let use = 0; use < 3; use++) assert.ok(check('a'))
    assert.equal(hashes, 1)
    assert.ok(check('b'))
    assert.equal(hashes, 2)
    // The clock of the file system moves in ticks of some milliseconds.
    await until(() => {
      const before = hashes
      writeFileSync(file, 'two')
      utimesSync(file, long, long)
      return !check('b', false) && hashes > before
    }, 'a change to be seen')
    assert.ok(!check('b', false) && check('b'))
    const seen = hashes
    assert.ok(check('b'))
    assert.equal(hashes, seen)
    writeFileSync(`${file}.new`, 'two')
    utimesSync(`${file}.new`, long, long)
    renameSync(`${file}.new`, file)
    assert.ok(check('b'))
    assert.equal(hashes, seen + 1)
    rmSync(file)
    assert.ok(!check('b', false))
  } finally {
    rmSync(folder, { recursive: true })
  }
})
