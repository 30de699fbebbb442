import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { shell } from '../../examples/provider/shell.ts'
import { conformance, inShell } from './suite.ts'

/** S4-1: a third-party provider, written against the public names alone. */
conformance('shell, the example', shell, inShell)

test('S4-1: the example of a provider has no more than 30 lines', () => {
  const file = join(import.meta.dirname, '../../examples/provider/shell.ts')
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
  assert.ok(lines.length <= 30, `${lines.length} lines`)
})
