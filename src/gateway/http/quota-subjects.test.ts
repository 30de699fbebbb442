import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VisitorSubjects } from './quota-subjects.ts'

const busy = new Set<string>()
const subjects = (max: number) => new VisitorSubjects(({ name }) => !busy.has(name), max)

test('S0-12: any number of visitors use bounded memory, and a visitor with a debt is not evicted by a new one', () => {
  const all = subjects(1_000)
  const names = new Set<string>()
  for (let n = 0; n < 50_000; n++) {
    const { name } = all.of('page', 'address', `2001:db8:0:${n.toString(16)}`)
    busy.add(name)
    names.add(name)
  }
  assert.ok(names.size <= 1_000 + 256, `${names.size} subjects`)
  const { name } = all.of('page', 'address', '2001:db8:0:0')
  assert.equal(name, 'page#address:2001:db8:0:0')
  assert.deepEqual(all.sweep(0), [])
})

test('S0-12: a visitor with a shared quota keeps sharing it until its debt is paid, also if there is space again', () => {
  const all = subjects(1)
  const first = all.of('page', 'token', 'a')
  busy.add(first.name)
  const shared = all.of('page', 'token', 'b')
  assert.match(shared.name, /^page#token:~\d+$/)
  busy.add(shared.name)
  busy.delete(first.name)
  assert.deepEqual(all.sweep(10_000), [first])
  assert.equal(all.of('page', 'token', 'b').name, shared.name)
  busy.delete(shared.name)
  assert.equal(all.of('page', 'token', 'b').name, 'page#token:b')
})

test('Subjects that are idle are dropped at most once a second', () => {
  const all = subjects(2)
  const [a, b] = [all.of('page', 'token', 'a'), all.of('page', 'token', 'b')]
  assert.ok(all.isFull)
  assert.deepEqual(all.sweep(5_000), [a, b])
  all.of('page', 'token', 'c')
  assert.deepEqual(all.sweep(5_999), [])
  assert.equal(all.sweep(6_000).length, 1)
})
