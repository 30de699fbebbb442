import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statfsSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import {
  Bodies,
  forgetExpired,
  openBodies,
  placesSql,
  readBodies,
  retentionMs,
  sweepEnded,
} from './bodies.ts'
import { bodiesBeyondShares, tenantSums } from './fair-eviction.ts'
import { keyLimitsOf, KeyRoom, keySums } from './key-room.ts'
import { ownHooks } from '../../tests/fixtures/own-hooks.ts'

const place = { tenant: 'acme', run: 'exec_1', name: 'result' }
const secret = Buffer.from('SECRET result '.repeat(20))

let folder: string
const { beforeEach, afterEach } = ownHooks(import.meta.filename)
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mayfly-bodies-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

test('A body is read back unchanged, and is nowhere in clear', () => {
  const bodies = openBodies(folder)
  bodies.put(place, secret, 1)
  assert.deepEqual(Buffer.from(bodies.get(place)!), secret)
  assert.deepEqual(bodies.names('acme', 'exec_1'), ['result'])
  assert.equal(bodies.get({ ...place, tenant: 'other' }), undefined)
  for (const file of readdirSync(folder))
    assert.ok(!readFileSync(join(folder, file)).includes('SECRET'), file)
  bodies.close()
})

test('A body put again replaces the old one', () => {
  const bodies = openBodies(folder)
  bodies.put(place, secret, 1)
  bodies.put(place, Buffer.from('new'), 2)
  assert.equal(Buffer.from(bodies.get(place)!).toString(), 'new')
  bodies.close()
})

test('Bodies of a run are found by name, of one tenant or of all, newest first', () => {
  const bodies = openBodies(folder)
  const all = ['acme', 'other', 'zeta'].flatMap((tenant) =>
    ['exec_1', 'exec_2'].flatMap((run) =>
      ['a/x', 'b/x', 'b/y'].map((name) => ({ tenant, run, name })),
    ),
  )
  for (const one of all) bodies.put(one, secret, 1)
  const found = (of: { tenant?: string; run?: string }, limit = 100) =>
    bodies.places({ like: '*/x', ...of, limit })
  const expected = ({ tenant, run }: { tenant?: string; run?: string }) =>
    all
      .filter((one) => one.name.endsWith('/x') && (tenant ?? one.tenant) === one.tenant)
      .filter((one) => (run ?? one.run) === one.run)
      .toReversed()
  for (const tenant of ['other', 'none', undefined])
    for (const run of ['exec_2', 'exec_0', undefined]) {
      const asked = { ...(tenant && { tenant }), ...(run && { run }) }
      assert.deepEqual(found(asked), expected(asked), JSON.stringify(asked))
    }
  assert.deepEqual(found({ run: 'exec_1' }, 1), expected({ run: 'exec_1' }).slice(0, 1))
  bodies.close()
})

test('A search of a run by name scans the store neither for a tenant nor for an admin', () => {
  openBodies(folder).close()
  using db = new DatabaseSync(join(folder, 'bodies.db'), { readOnly: true })
  for (const tenant of ['acme', undefined]) {
    const plan = db.prepare(`EXPLAIN QUERY PLAN ${placesSql({ tenant, run: 'exec_1' })}`)
    const steps = plan.all().map(({ detail }) => String(detail))
    assert.ok(
      steps.some((step) => /^SEARCH b USING .*\(tenant=\? AND run=\?/.test(step)),
      steps.join('; '),
    )
    assert.ok(!steps.some((step) => /^SCAN (b|bodies)/.test(step)), steps.join('; '))
  }
})

test('Several bodies are stored together, or none of them', () => {
  const bodies = openBodies(folder)
  const [outcome, row] = ['outcome', 'row'].map((name) => ({ ...place, name }))
  const both = [
    { place: outcome!, bytes: Buffer.from('one') },
    { place: row!, bytes: Buffer.from('two') },
  ]
  bodies.putAll(both, 1)
  bodies.putAll(both.slice(1), 2)
  assert.deepEqual(
    [outcome!, row!].map((one) => String(bodies.get(one))),
    ['one', 'two'],
  )
  const broken = {
    place: { ...place, run: 'r2', name: undefined as never },
    bytes: Buffer.from('x'),
  }
  const first = { place: { ...outcome!, run: 'r2' }, bytes: Buffer.from('one') }
  assert.throws(() => bodies.putAll([first, broken], 3), { code: 'STATE' })
  assert.deepEqual(bodies.names(place.tenant, 'r2'), [])
  bodies.close()
})

test('A forgotten body stays unreadable, even from a copy of its bytes', () => {
  const bodies = openBodies(folder)
  bodies.put(place, secret, 1)
  const key = rowsOf('body-keys.db', 'SELECT key FROM keys')[0]!['key'] as Uint8Array
  const copy = rowsOf('bodies.db', 'SELECT * FROM bodies')
  assert.equal(copy.length, 1)
  assert.equal(bodies.forget('acme', 'exec_1'), 1)
  assert.equal(bodies.get(place), undefined)
  bodies.close()
  for (const file of readdirSync(folder))
    assert.ok(!readFileSync(join(folder, file)).includes(Buffer.from(key)), file)
})

test('A body altered or moved to another run does not decrypt', () => {
  const bodies = openBodies(folder)
  bodies.put(place, secret, 1)
  const db = new DatabaseSync(join(folder, 'bodies.db'))
  db.exec("UPDATE bodies SET run = 'exec_2'")
  assert.throws(() => bodies.get({ ...place, run: 'exec_2' }), { code: 'STATE' })
  db.exec("UPDATE bodies SET run = 'exec_1', body = substr(body, 1, 20)")
  assert.throws(() => bodies.get(place), { code: 'STATE' })
  db.close()
  bodies.close()
})

test('Bodies are stored for a day, and the newest of them within a byte limit', () => {
  const bodies = openBodies(folder, { retainedBytesMax: 1000 })
  for (const [i, at] of [0, 10, 20, 30, 40].entries())
    bodies.put({ ...place, run: `exec_${i}` }, Buffer.alloc(300), at)
  assert.equal(forgotten(bodies, retentionMs + 5), 2)
  assert.deepEqual(
    [0, 1, 2, 3, 4].filter((i) => bodies.get({ ...place, run: `exec_${i}` })),
    [2, 3, 4],
  )
  assert.equal(forgotten(bodies, retentionMs + 41), 3)
  bodies.close()
})

test('A large deletion proceeds in pieces, oldest first, until all is deleted', () => {
  const bodies = openBodies(folder, { retainedBytesMax: 1000 })
  for (let n = 0; n < 9; n++)
    bodies.put({ ...place, run: `exec_${n}` }, Buffer.alloc(n === 0 ? 900 : 200), n)
  const left = () =>
    Array.from({ length: 9 }, (_, n) => n).filter((n) => bodies.get({ ...place, run: `exec_${n}` }))
  const passes: number[][] = []
  for (const _ of bodies.retain(retentionMs, 500)) passes.push(left())
  assert.deepEqual(passes, [
    [1, 2, 3, 4, 5, 6, 7, 8],
    [3, 4, 5, 6, 7, 8],
    [5, 6, 7, 8],
  ])
  bodies.close()
})

test('A store above its limit is summed up once for many deletions, by an index alone', () => {
  openBodies(folder).close()
  const sums: string[] = []
  class Watched extends DatabaseSync {
    override prepare(sql: string) {
      if (/sum\(/.test(sql)) sums.push(sql)
      return super.prepare(sql)
    }
  }
  const db = new Watched(join(folder, 'bodies.db'))
  const keys = new DatabaseSync(join(folder, 'body-keys.db'))
  const written = () => undefined
  const keyLimits = keyLimitsOf(Infinity)
  const limits = { retentionMs, retainedBytesMax: 1280, keyLimits, written }
  const bodies = new Bodies(db, keys, limits)
  const run = (n: number) => ({ tenant: `t${n % 3}`, run: `r${n}`, name: 'a' })
  for (let n = 0; n < 60; n++) bodies.put(run(n), Buffer.alloc(100), n)
  sums.length = 0
  assert.equal([...bodies.retain(100, 128)].length, 50)
  assert.ok(sums.length <= 3, `${sums.length} sums`)
  assert.deepEqual(
    Array.from({ length: 60 }, (_, n) => n).filter((n) => bodies.get(run(n))),
    [50, 51, 52, 53, 54, 55, 56, 57, 58, 59],
  )
  const plan = db.prepare(`EXPLAIN QUERY PLAN ${tenantSums}`).all()
  assert.match(
    plan.map(({ detail }) => String(detail)).join('; '),
    /^SCAN bodies USING COVERING INDEX/,
  )
  bodies.close()
})

test('The order of eviction steps over no key and reads no body, in a store of an earlier version too', () => {
  openBodies(folder).close()
  using db = new DatabaseSync(join(folder, 'bodies.db'))
  db.exec('DROP INDEX IF EXISTS bodies_evictable')
  db.exec('CREATE INDEX bodies_of_tenant_by_age ON bodies (tenant, at, size)')
  const bodies = openBodies(folder)
  const old = "SELECT name FROM sqlite_schema WHERE name = 'bodies_of_tenant_by_age'"
  assert.equal(db.prepare(old).get(), undefined)
  const newest = { ...place, name: 'outcome' }
  for (let n = 0; n < 9; n++)
    bodies.put({ ...place, run: `key_${n}`, name: 'key' }, Buffer.alloc(100), n)
  bodies.put(newest, Buffer.alloc(100), 9)
  const plans: string[] = []
  const watched = {
    prepare(sql: string) {
      const plan = db.prepare(`EXPLAIN QUERY PLAN ${sql}`)
      const given = sql.includes('?') ? [place.tenant] : []
      plans.push(
        plan
          .all(...given)
          .map(({ detail }) => String(detail))
          .join('; '),
      )
      return db.prepare(sql)
    },
  } as DatabaseSync
  assert.equal(bodiesBeyondShares(watched, { bytesMax: 1, rowsMax: 9 }).length, 1)
  assert.deepEqual(plans, [
    'SCAN bodies USING COVERING INDEX bodies_evictable',
    'SEARCH bodies USING COVERING INDEX bodies_evictable (tenant=?)',
  ])
  bodies.close()
})

test('Bodies that are not small leave room for the record, and for what the disk lacks yet', () => {
  const bodies = openBodies(folder)
  const { bavail, bsize } = statfsSync(folder)
  const free = bavail * bsize
  assert.equal(bodies.roomLack(2 ** 14), undefined)
  assert.equal(bodies.roomLack(2 ** 21), free > 2 ** 26 + 2 ** 22 ? undefined : 'disk')
  assert.equal(bodies.roomLack(2 ** 21, free), 'disk')
  assert.equal(bodies.roomLack(2 ** 31), 'store')
  bodies.close()
})

test('Idempotency keys have a room of their own: they take none of other bodies, which take none of theirs', () => {
  const bodies = openBodies(folder, { retainedBytesMax: 2 ** 18 })
  const keys = Array.from({ length: 2000 }, (_, n) => ({
    place: { tenant: 'acme', run: `key_${String(n).padStart(64, '0')}`, name: 'key' },
    bytes: Buffer.alloc(122),
  }))
  bodies.putAll(keys, 1)
  assert.ok(statSync(join(folder, 'bodies.db-wal')).size > 2 ** 19)
  assert.notEqual(bodies.roomLack(2 ** 15), 'store')
  assert.equal(forgotten(bodies, 2), 0)
  bodies.put({ ...place, name: 'artifact/a' }, Buffer.alloc(2 ** 20), 2)
  assert.equal(bodies.roomLack(2 ** 15), 'store')
  assert.equal(forgotten(bodies, 3), 1)
  assert.equal(bodies.runs({ ...place, name: 'key', before: undefined, limit: 9999 }).length, 2000)
  using db = new DatabaseSync(join(folder, 'bodies.db'), { readOnly: true })
  const plan = db.prepare(`EXPLAIN QUERY PLAN ${keySums}`).all()
  assert.match(
    plan.map(({ detail }) => String(detail)).join('; '),
    /^SCAN bodies USING COVERING INDEX bodies_keys/,
  )
  bodies.close()
})

test('Idempotency keys of a tenant have a limit, and an equal share once those of all have reached theirs', () => {
  // 128 bytes when sealed, and 288 beside them.
  const key = 416
  const bodies = openBodies(folder, { keyLimits: { each: 6 * key, all: 8 * key } })
  const put = (tenant: string, n: number) =>
    bodies.put({ tenant, run: `key_${n}`, name: 'key' }, Buffer.alloc(100), n)
  const claimed = (tenant: string) => {
    let keys = 0
    for (; keys < 20 && !bodies.keyLack(tenant); keys++) put(tenant, keys)
    return keys
  }
  assert.equal(claimed('greedy'), 6)
  bodies.forget('greedy', 'key_3')
  // A key that is stored again takes no room of others.
  for (let n = 0; n < 9; n++) put('greedy', 2)
  assert.equal(bodies.keyLack('greedy'), undefined)
  put('greedy', 3)
  assert.equal(bodies.keyLack('greedy'), 'tenant')
  assert.deepEqual([claimed('second'), claimed('third')], [4, 3])
  assert.equal(bodies.keyLack('second'), 'all')
  forgotten(bodies, retentionMs + 100)
  assert.equal(bodies.keyLack('greedy'), undefined)
  bodies.close()
})

test('A tenant that keys sixty starts a second, day and night, has room on a usual disk; on a small one keys leave most of it', () => {
  openBodies(folder).close()
  using db = new DatabaseSync(join(folder, 'bodies.db'))
  const room = new KeyRoom(db, keyLimitsOf(2 ** 36))
  assert.equal(room.lack('acme'), undefined)
  // 150 bytes each when sealed.
  const keys = 60 * 86_400
  room.add('acme', keys, keys * 150)
  assert.equal(room.lack('acme'), undefined)
  assert.deepEqual(keyLimitsOf(2 ** 33), { each: 2 ** 29, all: 2 ** 30 })
})

test('A store whose new index cannot be made opens all the same, and counts its keys', () => {
  openBodies(folder).close()
  using db = new DatabaseSync(join(folder, 'bodies.db'))
  // A name that is taken, in place of a disk that is full.
  db.exec('DROP INDEX bodies_keys; CREATE TABLE bodies_keys (taken INTEGER) STRICT')
  const bodies = openBodies(folder, { keyLimits: { each: 600, all: 600 } })
  for (const run of ['key_1', 'key_2'])
    bodies.put({ tenant: 'acme', run, name: 'key' }, Buffer.alloc(100), 1)
  assert.deepEqual([bodies.keyLack('acme'), bodies.keyLack('other')], ['tenant', undefined])
  bodies.close()
})

test('Room that evicted bodies took is returned to the disk', () => {
  const bodies = openBodies(folder, { retainedBytesMax: 2 ** 22 })
  for (let n = 0; n < 12; n++) bodies.put({ ...place, run: `exec_${n}` }, Buffer.alloc(2 ** 22), n)
  assert.equal(bodies.isSweepDue, true)
  forgotten(bodies, 20)
  assert.equal(bodies.isSweepDue, false)
  bodies.close()
  assert.ok(statSync(join(folder, 'bodies.db')).size < 2 ** 25)
})

test('A store is swept once at a time, and a sweep leaves later bodies to the next', async () => {
  const bodies = openBodies(folder)
  let begun = 0
  let last = 0
  const go = Promise.withResolvers<void>()
  const late = () => bodies.put({ ...place, run: `late_${++last}` }, secret, 0)
  for (let n = 0; n < 3; n++) late()
  const original = bodies.retain.bind(bodies)
  bodies.retain = function* (now) {
    begun++
    for (const count of original(now, 1)) {
      // Never ends unless it has a bound.
      if (last < 100) late()
      yield count
    }
    go.resolve()
  }
  const sweeps = [1, 2, 3].map(() => forgetExpired(bodies, 2 * retentionMs))
  await sweepEnded(bodies)
  await Promise.all([...sweeps, go.promise])
  assert.deepEqual([begun, last], [1, 6])
  bodies.close()
})

function forgotten(bodies: Bodies, now: number): number {
  return [...bodies.retain(now)].reduce((sum, count) => sum + count, 0)
}

test('Runs with a body of one name are listed in descending order, for one tenant', () => {
  const bodies = openBodies(folder)
  for (const run of ['exec_a', 'exec_c', 'exec_b']) {
    bodies.put({ ...place, tenant: 'ours', run, name: 'row' }, secret, 1)
    bodies.put({ ...place, tenant: 'theirs', run: `${run}x`, name: 'row' }, secret, 1)
  }
  const asked = { tenant: 'ours', name: 'row', before: undefined, limit: 2 }
  assert.deepEqual(bodies.runs(asked), ['exec_c', 'exec_b'])
  assert.deepEqual(bodies.runs({ ...asked, before: 'exec_b' }), ['exec_a'])
  assert.deepEqual(bodies.runs({ ...asked, name: 'outcome' }), [])
  bodies.close()
})

test('A reader sees the same, finds bodies by name, and creates no file', () => {
  assert.throws(() => readBodies(folder), { code: 'NOT_FOUND' })
  const bodies = openBodies(folder)
  for (const [tenant, run] of [
    ['ours', 'exec_1'],
    ['ours', 'exec_2'],
    ['theirs', 'exec_3'],
  ] as const)
    for (const name of ['a/x', 'b/x', 'c']) bodies.put({ tenant, run, name }, secret, 1)
  for (const isOpen of [true, false]) {
    if (!isOpen) bodies.close()
    const before = readdirSync(folder).sort()
    const looking = readBodies(folder)
    const runs = (asked: { tenant?: string; run?: string; limit?: number }) =>
      looking.places({ like: '?/x', limit: 9, ...asked }).map(({ run, name }) => `${run} ${name}`)
    assert.deepEqual(runs({ tenant: 'theirs' }), ['exec_3 b/x', 'exec_3 a/x'])
    assert.deepEqual(runs({ tenant: 'ours', run: 'exec_1' }), ['exec_1 b/x', 'exec_1 a/x'])
    assert.deepEqual(runs({ tenant: 'ours', run: 'exec_3' }), [])
    assert.deepEqual(runs({ limit: 1 }), ['exec_3 b/x'])
    const at = { tenant: 'ours', run: 'exec_2', name: 'c' }
    assert.deepEqual(Buffer.from(looking.get(at)!), secret)
    looking.close()
    assert.deepEqual(readdirSync(folder).sort(), before)
  }
})

function rowsOf(file: string, sql: string): Record<string, unknown>[] {
  using db = new DatabaseSync(join(folder, file))
  return db.prepare(sql).all()
}

test('Bodies of one tenant evict none of another', () => {
  const own = mkdtempSync(join(tmpdir(), 'mayfly-bodies-'))
  // 128 bytes each when sealed.
  const bodies = openBodies(own, { retainedBytesMax: 1280 })
  const put = (tenant: string, run: string, at: number) =>
    bodies.put({ tenant, run, name: 'a' }, Buffer.alloc(100), at)
  for (let n = 0; n < 3; n++) put('modest', `m${n}`, n)
  for (let n = 0; n < 40; n++) put('greedy', `g${n}`, 10 + n)
  forgotten(bodies, 100)
  const left = (tenant: string) =>
    bodies.runs({ tenant, name: 'a', before: undefined, limit: 100 }).length
  assert.deepEqual([left('modest'), left('greedy')], [3, 7])
  bodies.close()
  rmSync(own, { recursive: true })
})
