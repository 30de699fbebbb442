import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'

const root = join(import.meta.dirname, '../..')

test('The pages of the walls list the cases of the suite and those skipped', () => {
  const flags = ['--disable-warning=ExperimentalWarning', 'scripts/tiers.ts', '--check']
  const { status, stderr } = spawnSync(process.execPath, flags, { cwd: root, encoding: 'utf8' })
  assert.equal(stderr, '')
  assert.equal(status, 0)
})
