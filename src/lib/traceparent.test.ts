import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newSpanId, newTraceId, readTraceparent, writeTraceparent } from './traceparent.ts'

const traceId = '0af7651916cd43dd8448eb211c80319c'
const spanId = 'b7ad6b7169203331'

test('A traceparent round-trips', () => {
  const text = `00-${traceId}-${spanId}-01`
  assert.deepEqual(readTraceparent(text), { traceId, spanId, sampled: true })
  assert.equal(writeTraceparent(readTraceparent(text)!), text)
  assert.equal(readTraceparent(`00-${traceId}-${spanId}-00`)?.sampled, false)
})

test('An invalid traceparent is ignored', () => {
  const wrong = [
    undefined,
    '',
    `00-${traceId}-${spanId}`,
    `00-${traceId}-${spanId}-01-x`,
    `00-${traceId.toUpperCase()}-${spanId}-01`,
    `00-${'0'.repeat(32)}-${spanId}-01`,
    `00-${traceId}-${'0'.repeat(16)}-01`,
    `ff-${traceId}-${spanId}-01`,
    `00-${traceId}-${spanId}-01\n`,
    `cc-${traceId}-${spanId}-01.x`,
  ]
  for (const text of wrong) assert.equal(readTraceparent(text), undefined, String(text))
})

test('A later version is parsed as far as it is known', () => {
  assert.deepEqual(readTraceparent(`cc-${traceId}-${spanId}-01-later`), {
    traceId,
    spanId,
    sampled: true,
  })
})

test('New ids are hex of their length and differ', () => {
  assert.match(newTraceId(), /^[0-9a-f]{32}$/)
  assert.match(newSpanId(), /^[0-9a-f]{16}$/)
  assert.notEqual(newTraceId(), newTraceId())
})
