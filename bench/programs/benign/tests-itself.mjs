// memory: 512MB
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'

/** The tests of a small module, as its author runs them. */
export default () => {
  writeFileSync('add.mjs', 'export const add = (a, b) => a + b\n')
  writeFileSync(
    'add.test.mjs',
    `import assert from 'node:assert/strict'
import { test } from 'node:test'
import { add } from './add.mjs'
for (const n of [1, 2, 3]) test('adds ' + n, () => assert.equal(add(n, 1), n + 1))
`,
  )
  const { status, stdout } = spawnSync(process.execPath, ['--test'], { encoding: 'utf8' })
  return [status, /pass \d+/.exec(stdout)?.[0]]
}
