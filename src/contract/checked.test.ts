import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as z from 'zod'
import { checked } from './checked.ts'

const schema = z.strictObject({
  code: z.string().min(1),
  tier: z.enum(['isolate', 'process']).optional(),
  limit: z.coerce.number().optional(),
})

test('A refused request names the field, and what is missing or expected there, in plain words', () => {
  const cases = [
    [{}, '"code": missing: expected string'],
    [{ code: 1 }, '"code": expected string, received number'],
    [{ code: '' }, '"code": expected string to have >=1 characters'],
    [{ code: 'x', tier: 'y' }, '"tier": expected one of "isolate"|"process"'],
    [{ code: 'x', limit: 'y' }, '"limit": expected number'],
    [{ code: 'x', more: 1 }, '"more": unknown field'],
    [undefined, 'missing: expected object'],
  ] as const
  for (const [value, message] of cases)
    assert.throws(() => checked(schema, value, 'request'), {
      code: 'INVALID',
      message: `Cannot take the request: ${message}`,
    })
})
