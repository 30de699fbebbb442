import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { MayflyError } from '../contract/error.ts'
import { createHistory, scannedMax, type ExecutionRow, type HistoryStore } from './history.ts'

const keyOf = (tenant: string, run: string, name: string) => JSON.stringify([tenant, run, name])

/** Stores bytes in memory, in the order of the database. `lack` is what has no room beyond `bytesMax`. */
function memory(bytesMax = Infinity, lack: 'store' | 'disk' = 'disk', keysMax = 9): HistoryStore {
  const kept = new Map<string, Uint8Array>()
  return {
    putAll(bodies) {
      for (const { place, bytes } of bodies)
        kept.set(keyOf(place.tenant, place.run, place.name), bytes)
    },
    roomLack: (bytes) => (bytes <= bytesMax ? undefined : lack),
    keyLack(tenant) {
      const keys = this.runs({ tenant, name: 'key', before: undefined, limit: Infinity })
      return keys.length < keysMax ? undefined : 'tenant'
    },
    get: ({ tenant, run, name }) => kept.get(keyOf(tenant, run, name)),
    runs: ({ tenant, name, before = '~', limit }) =>
      [...kept.keys()]
        .map((key) => JSON.parse(key) as [string, string, string])
        .filter(([owner, run, key]) => owner === tenant && key === name && run < before)
        .map(([, run]) => run)
        .sort()
        .toReversed()
        .slice(0, limit),
    forget(tenant, run) {
      const keys = [...kept.keys()].filter((key) =>
        key.startsWith(JSON.stringify([tenant, run]).slice(0, -1)),
      )
      for (const key of keys) kept.delete(key)
      return keys.length
    },
  }
}

const rowOf = (id: string, more: Partial<ExecutionRow> = {}): ExecutionRow => ({
  id,
  status: 'ok',
  at: new Date(0).toISOString(),
  labels: {},
  ...more,
})

function filled(count: number, labelOf: (n: number) => Record<string, string> = () => ({})) {
  const store = memory()
  const history = createHistory(
    () => store,
    () => 0,
  )
  for (let n = 0; n < count; n++) {
    const id = `exec_${String(n).padStart(5, '0')}`
    history.end('acme', rowOf(id, { labels: labelOf(n) }), JSON.stringify({ id }))
  }
  return history
}

test('The history lists jobs newest first, page by page, each once', () => {
  const history = filled(25)
  const ids: string[] = []
  let before: string | undefined
  do {
    const { items, next } = history.list({ tenant: 'acme', limit: 10, before, labels: {} })
    ids.push(...items.map(({ id }) => id))
    before = next
  } while (before !== undefined)
  assert.equal(ids.length, 25)
  assert.deepEqual(ids, ids.toSorted().toReversed())
})

test('Another tenant finds nothing, neither in the list nor by id', () => {
  const history = filled(3)
  assert.deepEqual(history.list({ tenant: 'other', limit: 10, labels: {} }).items, [])
  assert.equal(history.outcome('other', 'exec_00001'), undefined)
  assert.equal(history.outcome('acme', 'exec_00001'), '{"id":"exec_00001"}')
})

test('An artifact is stored beside its outcome, for its tenant and its execution alone', () => {
  const history = filled(1)
  const files = [{ path: 'out/a.txt', bytes: Buffer.from('a') }]
  history.end('acme', rowOf('exec_1'), '{}', files)
  assert.equal(Buffer.from(history.artifact('acme', 'exec_1', 'out/a.txt') ?? []).toString(), 'a')
  assert.equal(history.artifact('other', 'exec_1', 'out/a.txt'), undefined)
  assert.equal(history.artifact('acme', 'exec_00000', 'out/a.txt'), undefined)
  assert.equal(history.artifact('acme', 'exec_1', 'out/b.txt'), undefined)
})

test('Artifacts that would take the room of the record are refused, and their outcome is stored', () => {
  const store = memory(2000)
  const history = createHistory(
    () => store,
    () => 0,
  )
  const files = [{ path: 'a', bytes: Buffer.alloc(2000) }]
  const end =
    (id: string, text: string, given = files) =>
    () =>
      history.end('acme', rowOf(id), text, given)
  assert.throws(end('exec_1', '{"id":1}'), { code: 'DISK_FULL' })
  assert.equal(history.outcome('acme', 'exec_1'), '{"id":1}')
  assert.equal(history.artifact('acme', 'exec_1', 'a'), undefined)
  assert.throws(end('exec_2', 'x'.repeat(2000), []), { code: 'DISK_FULL' })
  assert.throws(end('exec_3', 'x'.repeat(2000)), { code: 'DISK_FULL' })
  assert.equal(history.outcome('acme', 'exec_2') ?? history.outcome('acme', 'exec_3'), undefined)
})

test('An ended job whose outcome found no room has its own status, and is not reported as interrupted', () => {
  const store = memory(2000)
  const history = createHistory(
    () => store,
    () => 0,
  )
  const files = [{ path: 'a', bytes: Buffer.alloc(2000) }]
  for (const [id, given] of [
    ['exec_1', []],
    ['exec_2', files],
  ] as const) {
    history.begin('acme', rowOf(id, { status: 'queued' }))
    const end = () => history.end('acme', rowOf(id), 'x'.repeat(2000), given)
    assert.throws(end, { code: 'DISK_FULL' })
    assert.equal(history.outcome('acme', id), undefined)
    assert.equal(history.row('acme', id)?.status, 'ok')
  }
})

test('An ended job whose outcome was evicted is not reported as interrupted', () => {
  const store = memory()
  const history = createHistory(
    () => store,
    () => 0,
  )
  const bytes = Buffer.from(JSON.stringify(rowOf('exec_1')))
  store.putAll([{ place: { tenant: 'acme', run: 'exec_1', name: 'row' }, bytes }], 0)
  assert.equal(history.outcome('acme', 'exec_1'), undefined)
})

test('A rare label costs a bounded scan per page, and is found in the end', () => {
  const history = filled(2 * scannedMax + 10, (n) => (n === 3 ? { env: 'prod' } : { env: 'test' }))
  const asked = { tenant: 'acme', limit: 100, labels: { env: 'prod' } }
  const first = history.list(asked)
  assert.deepEqual(first.items, [])
  assert.ok(first.next)
  const second = history.list({ ...asked, before: first.next })
  const third = history.list({ ...asked, before: second.next })
  assert.deepEqual(
    third.items.map(({ id }) => id),
    ['exec_00003'],
  )
  assert.equal(third.next, undefined)
})

test('A label named like a member of Object.prototype matches nothing by itself', () => {
  const history = filled(2)
  const asked = { tenant: 'acme', limit: 10, labels: { constructor: 'x', toString: '' } }
  assert.deepEqual(history.list(asked).items, [])
})

test('A job that was begun and never ended is reported as failed', () => {
  const history = filled(0)
  history.begin('acme', rowOf('exec_1', { status: 'queued' }))
  const outcome = JSON.parse(history.outcome('acme', 'exec_1') ?? '{}') as Record<string, any>
  assert.deepEqual([outcome['status'], outcome['error'].code], ['failed', 'INTERRUPTED'])
  assert.equal(history.list({ tenant: 'acme', limit: 1, labels: {} }).items[0]?.status, 'failed')
})

test('An idempotency key belongs to its owner, and is forgotten when released', () => {
  const history = filled(0)
  history.claimKey('acme', 'key_1', { id: 'exec_1', digest: 'd' })
  assert.deepEqual(history.findKey('acme', 'key_1'), { id: 'exec_1', digest: 'd' })
  assert.equal(history.findKey('other', 'key_1'), undefined)
  assert.equal(history.outcome('acme', 'key_1'), undefined)
  history.releaseKey('acme', 'key_1')
  assert.equal(history.findKey('acme', 'key_1'), undefined)
})

test('A refusal for want of room names its cause: the disk, or the limit of the store', () => {
  for (const [lack, why, hint] of [
    ['disk', /: the disk has no room for it/, /on the disk/],
    ['store', /: outcomes and artifacts of all tenants are at their limit$/, /limits\.artifacts/],
  ] as const) {
    const store = memory(2000, lack)
    const history = createHistory(
      () => store,
      () => 0,
    )
    const files = [{ path: 'a', bytes: Buffer.alloc(2000) }]
    for (const [text, what] of [
      ['{}', /^Cannot store the artifacts of a job/],
      ['x'.repeat(2000), /^Cannot store the outcome of a job/],
    ] as const)
      assert.throws(
        () => history.end('acme', rowOf('exec_1'), text, files),
        (thrown: MayflyError) =>
          what.test(thrown.message) && why.test(thrown.message) && hint.test(thrown.hint ?? ''),
      )
  }
})

test('A new idempotency key beyond those of a tenant is refused, and a stored one gets its answer', () => {
  const store = memory(Infinity, 'disk', 2)
  const history = createHistory(
    () => store,
    () => 0,
  )
  const record = { id: 'exec_1', digest: 'd' }
  for (const owner of ['key_1', 'key_2']) history.claimKey('acme', owner, record)
  const refused = { code: 'RATE_LIMITED', details: { limit: 'idempotency_keys' } }
  assert.throws(() => history.claimKey('acme', 'key_3', record), refused)
  assert.equal(history.findKey('acme', 'key_3'), undefined)
  history.claimKey('other', 'key_3', record)
  history.claimKey('acme', 'key_2', { ...record, answer: '{}' })
  assert.equal(history.findKey('acme', 'key_2')?.answer, '{}')
  history.releaseKey('acme', 'key_1')
  history.claimKey('acme', 'key_3', record)
})

test('A key that is refused names whose keys are too many: those of its tenant, or those of all', () => {
  for (const [lack, message] of [
    ['tenant', /: this tenant has too many of/],
    ['all', /: all tenants have too many of .* its share of them$/],
  ] as const) {
    const store: HistoryStore = { ...memory(), keyLack: () => lack }
    const history = createHistory(
      () => store,
      () => 0,
    )
    const claim = () => history.claimKey('acme', 'key_1', { id: 'exec_1', digest: 'd' })
    assert.throws(claim, { code: 'RATE_LIMITED', message })
  }
})

test('A list of jobs steps over no idempotency key of its tenant', () => {
  const store = memory()
  const asked: (string | undefined)[] = []
  const watched: HistoryStore = {
    ...store,
    runs(of) {
      asked.push(of.before)
      return store.runs(of)
    },
  }
  const history = createHistory(
    () => watched,
    () => 0,
  )
  history.end('acme', rowOf(`exec_${'f'.repeat(32)}`), '{}')
  assert.equal(history.list({ tenant: 'acme', limit: 10, labels: {} }).items.length, 1)
  assert.ok(asked.length > 0)
  for (const before of asked) assert.ok(before !== undefined && before < 'key_', `${before}`)
})
