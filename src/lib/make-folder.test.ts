import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { makeFolder } from './make-folder.ts'

test('A folder is created with its parents, and creating it again changes nothing', () => {
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

test('An impossible path is an error and no endless loop', () => {
  assert.throws(() => makeFolder('/dev/null/a/b', 0o700), { code: 'ENOTDIR' })
})
