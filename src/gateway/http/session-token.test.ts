import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Clock } from '../../contract/clock.ts'
import { SessionTokens } from './session-token.ts'

const limits = { sessionMs: 1000, sessionRunning: 2, sessionPerMinute: 3 }
const nowhere = { origin: undefined, page: undefined }

function tokensAt(): { tokens: SessionTokens; pass: (ms: number) => void } {
  let now = 0
  const clock: Clock = {
    now: () => now,
    date: () => now,
    after: () => ({ cancel: () => undefined }),
  }
  return { tokens: new SessionTokens(() => limits, clock), pass: (ms) => void (now += ms) }
}

test('S0-8: a hundred thousand tokens have no duplicate', () => {
  const { tokens } = tokensAt()
  const seen = new Set<string>()
  for (let i = 0; i < 100_000; i++) seen.add(tokens.issue('http://a', '/'))
  assert.equal(seen.size, 100_000)
})

test('S0-8: a token is valid for its origin and page until it expires', () => {
  const { tokens, pass } = tokensAt()
  const token = tokens.issue('http://a', '/p')
  assert.equal(tokens.verify(token, { origin: 'http://a', page: '/p' }).page, '/p')
  assert.equal(tokens.verify(token, nowhere).origin, 'http://a')
  assert.throws(() => tokens.verify(token, { origin: 'http://b', page: '/p' }), /another origin/)
  assert.throws(() => tokens.verify(token, { origin: 'http://a', page: '/q' }), /another page/)
  pass(999)
  tokens.verify(token, nowhere)
  pass(1)
  assert.throws(() => tokens.verify(token, nowhere), {
    code: 'UNAUTHENTICATED',
    message: /expired/,
  })
})

test('S0-8: a token with one changed character is rejected as forged', () => {
  const { tokens } = tokensAt()
  const token = tokens.issue('http://a', '/')
  for (let i = 0; i < token.length; i++) {
    const forged = token.slice(0, i) + (token[i] === 'A' ? 'B' : 'A') + token.slice(i + 1)
    assert.throws(() => tokens.verify(forged, nowhere), { code: 'UNAUTHENTICATED' }, forged)
  }
})

test('Text that is no token is refused', () => {
  const { tokens } = tokensAt()
  for (const value of [undefined, null, 1, '', 'mfs_', 'mfs_.', {}, [], 'a'.repeat(100_000)]) {
    assert.throws(() => tokens.verify(value, nowhere), { code: 'UNAUTHENTICATED' })
  }
})

test('A session has its own job slots and rate limit, and releases its slots', () => {
  const { tokens } = tokensAt()
  const session = tokens.verify(tokens.issue('http://a', '/'), nowhere)
  const first = tokens.begin(session)
  tokens.begin(session)
  assert.throws(() => tokens.begin(session), { code: 'RATE_LIMITED', retryAfterMs: 1000 })
  first[Symbol.dispose]()
  tokens.begin(session)[Symbol.dispose]()
  assert.throws(() => tokens.begin(session), { code: 'RATE_LIMITED', retryAfterMs: 20_000 })
})
