import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { suite, test } from 'node:test'

/** Commands that S3 gives for its own tests, in this checkout. */
const root = join(import.meta.dirname, '../..')
const run = promisify(execFile)
const runMsMax = 1_800_000
const outputBytesMax = 2 ** 26
const skip = process.env['MAYFLY_LONG'] ? false : 'minutes of other tests, only with MAYFLY_LONG'

/** Runs npm without a sign of the test run around it: a file then runs all of its tests, with usual counts. */
async function npm(...args: readonly string[]): Promise<string> {
  const own = Object.entries(process.env).filter(
    ([name]) => !/^(?:NODE_TEST_CONTEXT|NODE_OPTIONS|MAYFLY_|CI_|npm_)/.test(name),
  )
  const env = Object.fromEntries(own)
  const options = { cwd: root, env, timeout: runMsMax, maxBuffer: outputBytesMax }
  // Rejects for any exit code but 0, with the output.
  return (await run('npm', args, options)).stdout
}

suite('Commands of npm for the tests of the secure sandbox', { skip }, () => {
  test('S3-36: "npm run test:unit -- secure-sandbox" runs the tests of both classes, and they pass', async () => {
    const said = await npm('run', 'test:unit', '--', 'secure-sandbox')
    const [, passed = '0'] = /^(\d+) passed, 0 failed/m.exec(said) ?? []
    assert.ok(Number(passed) >= 30, said)
  })

  test('S3-36: "npm run test:coverage -- secure-sandbox" runs them too, and prints the coverage of their sources', async () => {
    const said = await npm('run', 'test:coverage', '--', 'secure-sandbox')
    assert.match(said, /^\d+ passed, 0 failed/m)
    for (const file of ['src/sdk/secure-sandbox.ts', 'src/sdk/threat-detector.ts'])
      assert.ok(said.includes(file), `${file} is not in:\n${said}`)
  })
})
