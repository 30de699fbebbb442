import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { checkConfig } from '../../src/config/check.ts'
import { parseToml } from '../../src/config/parse.ts'
import { MayflyError } from '../../src/contract/error.ts'
import { fuzz, mutated } from './seeded.ts'

/** Each section of the example is a sample of its own, since parsing stops at the first error. */
const example = readFileSync(new URL('../../mayfly.example.toml', import.meta.url), 'utf8')
const samples = example.split(/\n(?=\[)/).map((text) => Buffer.from(text))
const pieces = [
  '\n__proto__ = 1\n',
  '\n"constructor" = { prototype = { x = 1 } }\n',
  '[[tenants]]\n',
  '[limits]\n',
  'a.b.c = ',
  '"""',
  "'''",
  '[',
  ']',
  '{',
  '}',
  '\n',
  '\\UFFFFFFFF',
  '9'.repeat(30),
  '1979-05-27T07:32:00Z',
  '['.repeat(70),
]

test('A damaged configuration is valid, or has faults with positions, or is a CONFIG error', (t) => {
  fuzz(t, {
    cases: 10_000,
    long: 100_000,
    attempt(random) {
      const parsed = reading(mutated(random, samples, pieces).toString())
      if (!parsed) return
      const checked = checkConfig(parsed.values, 'production')
      if (checked.ok) return assert.notEqual(checked.values.default_provider, 'mock')
      for (const { path, message } of checked.faults) {
        assert.ok(message.length > 0)
        const at = parsed.locate(path)
        assert.ok(at === undefined || (at.line >= 1 && at.column >= 1))
      }
    },
  })
})

function reading(text: string): ReturnType<typeof parseToml> | undefined {
  try {
    return parseToml(text, 'mayfly.toml')
  } catch (thrown) {
    assert.ok(thrown instanceof MayflyError && thrown.code === 'CONFIG', String(thrown))
    return undefined
  }
}
