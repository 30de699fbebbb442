import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PageSessions, type PageSession } from './page-sessions.ts'

const sessionOf = (id: string, visitor: string) =>
  ({ visitor, held: { session: { id } } }) as unknown as PageSession
const refusedAs = (code: string) => (thrown: unknown) => (thrown as { code: string }).code === code

test('All visitors together have no more sessions than slots, and each slot is released once', () => {
  const sessions = new PageSessions(4)
  const [first] = ['a', 'b', 'c', 'd'].map((address) => sessions.begin(address))
  assert.throws(() => sessions.begin('e'), refusedAs('OVERLOADED'))
  first![Symbol.dispose]()
  first![Symbol.dispose]()
  sessions.begin('e')
  assert.throws(() => sessions.begin('f'), refusedAs('OVERLOADED'))
})

test('An address uses at most half of the slots, and a quarter if others use the rest', () => {
  const sessions = new PageSessions(16)
  const held = Array.from({ length: 8 }, () => sessions.begin('evil'))
  assert.throws(() => sessions.begin('evil'), refusedAs('RATE_LIMITED'))
  for (let n = 0; n < 4; n++) sessions.begin('evil twin')
  assert.throws(() => sessions.begin('evil twin'), refusedAs('RATE_LIMITED'))
  for (let n = 0; n < 4; n++) sessions.begin(`visitor ${n}`)
  assert.throws(() => sessions.begin('visitor 5'), refusedAs('OVERLOADED'))
  held[0]![Symbol.dispose]()
  assert.throws(() => sessions.begin('evil'), refusedAs('RATE_LIMITED'))
  sessions.begin('visitor 5')
})

test('A session, and the outcome of an ended one, is found by its visitor alone', () => {
  const sessions = new PageSessions(2)
  const own = sessionOf('exec_1', 'ada')
  sessions.add(own)
  assert.equal(sessions.find('exec_1', 'ada'), own)
  assert.throws(() => sessions.find('exec_1', 'alan'), refusedAs('NOT_FOUND'))
  assert.throws(() => sessions.find('exec_2', 'ada'), refusedAs('NOT_FOUND'))
  sessions.end('exec_1', { status: 'ok' })
  assert.throws(
    () => sessions.find('exec_1', 'ada'),
    (thrown: unknown) =>
      refusedAs('SESSION_ENDED')(thrown) &&
      (thrown as { details: { outcome: { status: string } } }).details.outcome.status === 'ok',
  )
  assert.throws(() => sessions.find('exec_1', 'alan'), refusedAs('NOT_FOUND'))
})

test('Outcomes of ended sessions are forgotten, the oldest first', () => {
  const sessions = new PageSessions(1)
  for (let n = 0; n <= 32; n++) {
    sessions.add(sessionOf(`exec_${n}`, 'ada'))
    sessions.end(`exec_${n}`, { status: 'ok' })
  }
  assert.throws(() => sessions.find('exec_0', 'ada'), refusedAs('NOT_FOUND'))
  assert.throws(() => sessions.find('exec_1', 'ada'), refusedAs('SESSION_ENDED'))
})
