import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as z from 'zod'
import { checked, invalid } from './checked.ts'
import { jobRequest } from './job.ts'

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

test('A limit out of range, or in a wrong unit, is refused in one message that names the range', () => {
  const messagesOf = (value: object) => {
    const read = jobRequest.safeParse({ code: '1', limits: value })
    return read.error?.issues.map(({ message }) => message)
  }
  const whole = ['expected a whole number from 1 to 100000']
  for (const processes of [0, -1, 1.5, 1e20, '4', NaN])
    assert.deepEqual(messagesOf({ processes }), whole)
  const share = ['expected a number of cores from 0.01 to 1024']
  for (const cpu of [0, -1, 0.001, 5000, '1']) assert.deepEqual(messagesOf({ cpu }), share)
  for (const timeout of ['25h', '1.5', '5x', '1MB', -1, 1e20])
    assert.match(messagesOf({ timeout })![0]!, /^expected a duration of 24h at most: whole milli/)
  for (const memory of ['2000GB', '64M', '5s', '100', -1, 1e20, Infinity])
    assert.match(messagesOf({ memory })![0]!, /^expected a size of 1024GB at most: whole bytes/)
  for (const memory of [0, 0.4, '0B', '0MB'])
    assert.deepEqual(messagesOf({ memory }), ['expected at least 1 byte'])
})

test('Labels with a name that no object keeps, a value that is no text, or too many of any kind are refused in one message', () => {
  const issuesOf = (labels: string) => {
    const read = jobRequest.safeParse(JSON.parse(`{"code":"1","labels":${labels}}`))
    return read.error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`)
  }
  assert.deepEqual(issuesOf('{"team":"blue","__proto__":"x"}'), [
    'labels.__proto__: expected another name',
  ])
  assert.match(issuesOf('{"team":1}')!.join(), /^labels\.team: .*expected string, received number$/)
  for (const value of ['"x"', '1', '{}']) {
    const many = Array.from({ length: 1000 }, (_, n) => `"l${n}":${value}`).join()
    assert.deepEqual(issuesOf(`{${many}}`), ['labels: expected 64 at most'])
  }
  for (const labels of ['[]', '"x"', 'null']) assert.equal(issuesOf(labels)?.length, 1, labels)
  assert.equal(issuesOf('{"constructor":"x","":""}'), undefined)
  assert.deepEqual(jobRequest.parse({ code: '1' }).labels, {})
})

test('A refusal reads no more issues than it tells', () => {
  const issues = Array.from({ length: 1000 }, (_, n) => ({
    code: 'custom',
    path: [n],
    message: 'no',
  }))
  let reads = 0
  const counted = new Proxy(issues, {
    get(target, name) {
      if (/^\d+$/.test(String(name))) reads++
      return Reflect.get(target, name)
    },
  })
  const { details } = invalid('job', { issues: counted } as never)
  assert.equal((details as readonly unknown[]).length, 20)
  assert.ok(reads <= 20, `${reads} reads`)
})
