import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { Outcome } from '../contract/outcome.ts'
import { runHints } from './run-hints.ts'

const folder = mkdtempSync(join(tmpdir(), 'mayfly-hints-'))
after(() => rmSync(folder, { recursive: true, force: true }))
mkdirSync(join(folder, 'lib'))
for (const name of ['sales.csv', 'helper.py', 'lib/util.js', '.env', 'id_rsa', 'two words.csv'])
  writeFileSync(join(folder, name), '')
const program = join(folder, 'program.py')

function hints(stderr: string, more: Partial<Outcome> = {}): string[] {
  return runHints({ status: 'error', stderr, ...more } as Outcome, program)
}

const files = (text: string) =>
  hints(text).map((line) => line.replace('The job has no files but those that it brings: ', ''))

test('A file beside the program that the job did not bring is named with its flag', () => {
  const bring = [`--file ${join(folder, 'sales.csv')}=sales.csv`]
  assert.deepEqual(
    files("FileNotFoundError: [Errno 2] No such file or directory: 'sales.csv'"),
    bring,
  )
  assert.deepEqual(files("Error: ENOENT: no such file or directory, open '/work/sales.csv'"), bring)
  assert.deepEqual(files('cat: sales.csv: No such file or directory\n'), bring)
})

test('A module beside the program is named, whether its suffix is given or not', () => {
  const module = [`--file ${join(folder, 'lib/util.js')}=lib/util.js`]
  assert.deepEqual(files("Error: Cannot find module './lib/util'"), module)
  assert.deepEqual(
    files("Cannot find module '/work/lib/util.js' imported from /work/a.mjs"),
    module,
  )
  const python = [`--file ${join(folder, 'helper.py')}=helper.py`]
  assert.deepEqual(files("ModuleNotFoundError: No module named 'helper'"), python)
})

test('A package that is neither a file nor of this machine is answered with the flag for packages', () => {
  const python = hints("ModuleNotFoundError: No module named 'tabulate'")
  assert.match(python.join(), /^Packages of Python .*--packages FOLDER/)
  for (const said of [
    "Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'left-pad' imported from /work/i.mjs",
    "Error: Cannot find module '@scope/name'",
  ])
    assert.match(hints(said).join(), /^Packages of Node .*--packages FOLDER/)
  assert.deepEqual(hints("Cannot find module './none'"), [])
})

test('A name with a space is quoted for a shell', () => {
  const path = join(folder, 'two words.csv')
  assert.deepEqual(files("No such file or directory: 'two words.csv'"), [
    `--file '${path}=two words.csv'`,
  ])
})

test('No secret, no file outside and no missing file is offered, although the program names it', () => {
  for (const name of ['.env', './.env', 'id_rsa', '/etc/passwd', '../x', 'lib/../.env', 'none.csv'])
    assert.deepEqual(files(`No such file or directory: '${name}'`), [], name)
})

test('A job that ended otherwise has no hints', () => {
  const missing = "ModuleNotFoundError: No module named 'tabulate'"
  assert.deepEqual(hints(missing, { status: 'ok' }), [])
  assert.deepEqual(hints(missing, { status: 'timeout' }), [])
})
