import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { shownChanges } from './view-diff.ts'

test('All diffs of a view have 64 MiB at most, and later files are shown by their size', () => {
  const place = mkdtempSync(join(tmpdir(), 'mayfly-diff-'))
  try {
    mkdirSync(join(place, 'upper'))
    writeFileSync(join(place, 'upper/text'), `${'x'.repeat(2 ** 18 - 1)}\n`)
    const to = { kind: 'file', mode: 0o644 } as const
    const change = { path: 'text', to, was: null, isTorn: false }
    const facts = { format: 1, id: 'view', device: '0', inode: '0', createdAt: 0, sinceNs: '0' }
    const changes = Array.from({ length: 300 }, () => change)
    const view = {
      ...facts,
      format: 1,
      folder: place,
      command: [] as string[],
      place,
      changes,
    } as const
    const shown = shownChanges(view)
    assert.equal(shown.length, 300)
    assert.ok(shown[0]!.diff!.length > 2 ** 18)
    const total = shown.reduce((sum, { diff = '' }) => sum + diff.length, 0)
    assert.ok(total < 64 * 2 ** 20 + 300 * 100, `${total}`)
    assert.match(shown.at(-1)!.diff!, /0 bytes became 262144 bytes/)
  } finally {
    rmSync(place, { recursive: true })
  }
})
