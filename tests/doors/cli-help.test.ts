import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { bin } from './program.ts'

const golden = new URL('../golden/cli-help.txt', import.meta.url)

/** Run with MAYFLY_GOLDEN=write to accept what changed; the difference is then there to be read in the commit. */
test('Help is what was last agreed on', () => {
  const text = pagesFrom([]).join('\n')
  if (process.env['MAYFLY_GOLDEN'] === 'write') writeFileSync(golden, text)
  assert.equal(text, readFileSync(golden, 'utf8'))
})

/** The page of a command, and of each command below it. */
function pagesFrom(words: readonly string[]): readonly string[] {
  const page = helpOf(words)
  const [, commands = ''] = /^Commands:\n((?:.+\n)*)/m.exec(page) ?? []
  const below = [...commands.matchAll(/^ {2}(\w+)/gm)].map(([, word = '']) => word)
  return [
    `$ mayfly ${[...words, '--help'].join(' ')}\n\n${page}`,
    ...below.filter((word) => word !== 'help').flatMap((word) => pagesFrom([...words, word])),
  ]
}

function helpOf(words: readonly string[]): string {
  const { status, stdout } = spawnSync(process.execPath, [bin, ...words, '--help'], {
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1', COLUMNS: '80' },
  })
  assert.equal(status, 0)
  return stdout
}
