import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { makeFolder } from './make-folder.ts'

test('A folder is made with those above it, and made twice is made once', () => {
  const root = mkdtempSync(join(tmpdir(), 'mayfly-folder-'))
  try {
    const path = join(root, 'a', 'b')
    makeFolder(path, 0o700)
    makeFolder(path, 0o755)
    assert.equal(statSync(path).mode & 0o777, 0o700)
  } finally {
    rmSync(root, { recursive: true })
  }
})

test('Where no folder can be made, it is an error and no endless try', () => {
  assert.throws(() => makeFolder('/dev/null/a/b', 0o700), { code: 'ENOTDIR' })
})
