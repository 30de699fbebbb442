import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { drawn } from '../fixtures/drawn.ts'
import type { HelpPage } from '../fixtures/help-pages.ts'
import { bin } from './program.ts'

const golden = new URL('../golden/cli-help.txt', import.meta.url)
const helpPages = fileURLToPath(new URL('../fixtures/help-pages.ts', import.meta.url))
const pages = JSON.parse(printedBy(helpPages)) as readonly HelpPage[]

/** Run with MAYFLY_GOLDEN=write to update the golden; review its difference in the commit. */
test('Help equals its golden file', () => {
  const text = pages
    .map(({ words, text }) => `$ mayfly ${[...words, '--help'].join(' ')}\n\n${text}`)
    .join('\n')
  if (process.env['MAYFLY_GOLDEN'] === 'write') writeFileSync(golden, text)
  assert.equal(text, readFileSync(golden, 'utf8'))
})

test('Each command prints the same page in a process of its own', () => {
  for (const { words, text } of drawn(pages, 'pages'))
    assert.equal(printedBy(bin, ...words, '--help'), text)
})

function printedBy(...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1', COLUMNS: '80' },
  })
  assert.equal(status, 0, stderr)
  return stdout
}
