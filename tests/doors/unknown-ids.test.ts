import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { documentOf, makePlace, mayfly } from './program.ts'

const place = makePlace()
after(() => place.remove())

/** Error of a command line, with its exit code. */
async function errorOf(...words: string[]) {
  const ran = await mayfly(place, [...words, '--json'])
  const { error } = documentOf(ran) as { error?: { code: string; message: string } }
  return { exit: ran.code, code: error?.code, message: error?.message ?? ran.stdout }
}

test('An empty or unusable id, as of an unset shell variable, finds nothing, and never means another or all', async () => {
  assert.equal((await mayfly(place, ['exec', '--dry-run', '--', 'true'])).stdout, '')
  mkdirSync(join(place.cwd, 'folder'))
  for (const [words, message] of [
    [['exec', '--diff', ''], /^Cannot find the view ""/],
    [['exec', '--commit', ''], /^Cannot find the view ""/],
    [['images', 'scan', ''], /^Cannot find image ""/],
    [['audit', 'verify', ''], /^Cannot find "": expected a file of "audit export"/],
    [['evidence', 'show', '..'], /^Cannot find /],
    [['keys', 'revoke', 'folder'], /^Cannot find the signer "folder"/],
    [['sandbox', 'show', ''], /^Cannot find this sandbox/],
    [['sandbox', 'kill', '..'], /^Cannot find this sandbox/],
    [['sandbox', 'files', '.'], /^Cannot find this sandbox/],
  ] as const) {
    const error = await errorOf(...words)
    assert.deepEqual(
      [error.exit, error.code],
      [1, 'NOT_FOUND'],
      `${words.join(' ')}: ${error.message}`,
    )
    assert.match(error.message, message)
  }
  const both = await mayfly(place, ['exec', '--discard', '', '--', 'touch', 'ran'])
  assert.deepEqual([both.code, both.stdout], [2, ''])
})
