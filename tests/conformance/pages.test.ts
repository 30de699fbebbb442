import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'

const root = join(import.meta.dirname, '../..')

test('The pages of the walls say what the suite tries and what it skips', () => {
  const flags = ['--disable-warning=ExperimentalWarning', 'scripts/tiers.ts', '--check']
  const { status, stderr } = spawnSync(process.execPath, flags, { cwd: root, encoding: 'utf8' })
  assert.equal(stderr, '')
  assert.equal(status, 0)
})
