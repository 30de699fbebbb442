import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempDisposableSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { here } from './place.ts'
import { ownProcessOptions } from './run-tests.ts'

const manyTests = `
import { test } from 'node:test'
for (let at = 0; at < 2000; at++) test('number ' + at + ' ' + 'x'.repeat(100), () => {})
`

test('No report is lost of a test process that ends with its tests, however slow the runner is', async () => {
  using folder = mkdtempDisposableSync(join(tmpdir(), 'reports-'))
  const file = join(folder.path, 'many.test.mjs')
  writeFileSync(file, manyTests)
  // Several, because most but not all of them lose reports that were not yet written at their end.
  const passed = await Promise.all([1, 2, 3].map(() => passedSlowly(file)))
  assert.deepEqual(passed, [2000, 2000, 2000])
})

/** Tests that passed by the reports of a process that runs a file, read more slowly than they come. */
async function passedSlowly(file: string): Promise<number> {
  const env = { ...process.env, NODE_TEST_CONTEXT: 'child-v8' }
  const args = [...ownProcessOptions(here.folder), file]
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'inherit'] })
  child.stdout.setEncoding('latin1')
  let text = ''
  for await (const part of child.stdout) {
    text += part
    await setTimeout(5)
  }
  return text.split('test:pass').length - 1
}
