import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { tarEnd, tarEntry } from './tar.ts'

const long = `${'folder with a long name/'.repeat(9)}file\nof two lines`

test('An archive that tar extracts has the same files, also with long names, with owner, mode and time of its own', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-tar-'))
  try {
    const files = [
      { path: 'a/empty', bytes: Buffer.alloc(0), modifiedMs: 0 },
      { path: 'odd', bytes: Buffer.alloc(700, 'x'), modifiedMs: 1_700_000_000_999 },
      { path: long, bytes: Buffer.alloc(512, 'y'), modifiedMs: -5 },
      { path: 'ünï', bytes: Buffer.from('z'), modifiedMs: 2 ** 60 },
    ]
    const input = Buffer.concat([...files.flatMap(tarEntry), tarEnd])
    assert.equal(input.length % 512, 0)
    const { status, stderr } = spawnSync('tar', ['-x', '--no-same-owner', '-C', folder], { input })
    assert.equal(status, 0, stderr.toString())
    for (const { path: name, bytes } of files)
      assert.ok(readFileSync(path.join(folder, name)).equals(bytes), name)
    const { mode, mtimeMs } = statSync(path.join(folder, 'odd'))
    assert.deepEqual([mode & 0o777, mtimeMs], [0o600, 1_700_000_000_000])
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('Paths that lead out of the folder of an archive are refused', () => {
  for (const name of ['', '/etc/passwd', '../a', 'a/../b', 'a//b', './a', 'a/', 'a\0b'])
    assert.throws(
      () => tarEntry({ path: name, bytes: Buffer.alloc(0), modifiedMs: 0 }),
      RangeError,
      JSON.stringify(name),
    )
})
