import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { systemClock } from '../../src/contract/clock.ts'
import type { AuditPage, RecordLine } from '../../src/contract/evidence.ts'
import type { LogQuery } from '../../src/evidence/log-page.ts'
import { readLogPage } from '../../src/evidence/log-reader.ts'
import { openRecord } from '../../src/evidence/record.ts'
import { openKeys } from '../../src/gateway/http/keys.ts'
import { sha256 } from '../../src/lib/hash.ts'
import { auditFile } from '../../src/lib/state-folder.ts'
import { event, facts, job, plan, verdict } from '../fixtures/record.ts'
import { adminKey, bearer, call, openDoor, type TestDoor } from './http-door.ts'

const [acmeKey, otherKey] = [
  'mfy_acme_0123456789abcdefghijklmnopqr',
  'mfy_other_0123456789abcdefghijklmnop',
]
const idOf = (digit: string): string => `exec_${digit.repeat(32)}`

let state: string
before(async () => {
  state = mkdtempSync(join(tmpdir(), 'mayfly-audit-http-'))
  const record = openRecord({ stateFolder: state, clock: systemClock })
  record.begin(job(idOf('a')), verdict, plan).end(facts)
  record.begin({ ...job(idOf('b')), tenant: 'other' }, verdict, plan).end(facts)
  record.append(event({ fields: { name: 'of no tenant' } }))
  record.begin(job(idOf('c')), verdict, plan).end({ ...facts, status: 'error' })
  await record.close()
})
after(() => rmSync(state, { recursive: true, force: true }))

test('A tenant reads the audit lines of its own jobs, newest first, and an admin all lines', async () => {
  await using door = await open()
  const [acme, other, admin] = await Promise.all(
    [acmeKey, otherKey, adminKey].map((key) => read(door, '', key)),
  )
  const runsOf = ({ items }: AuditPage) => items.map(({ run, kind }) => [run, kind])
  const [a, b, c] = ['a', 'b', 'c'].map((digit) => [
    [idOf(digit), 'ended'],
    [idOf(digit), 'admitted'],
  ])
  assert.deepEqual(runsOf(acme!), [...c!, ...a!])
  assert.deepEqual(runsOf(other!), b)
  assert.deepEqual(
    admin!.items.map(({ seq }) => seq),
    [8, 7, 6, 5, 4, 3, 2, 1],
  )
})

test('Each line has the fields of "audit list --json", and its chain can be followed', async () => {
  await using door = await open()
  const { items } = await read(door, '?limit=100')
  const keys = 'at body format hash kind previous run seq status tenant'.split(' ')
  for (const line of items) assert.deepEqual(Object.keys(line).toSorted(), keys)
  for (const [at, line] of items.slice(0, -1).entries())
    assert.equal(line.previous, items[at + 1]!.hash)
  assert.equal((items[1]!.body as any).plan.tier, 'isolate')
  const text = JSON.stringify(items)
  assert.ok(!text.includes('SECRET'), 'commitments alone, no code, input or result')
})

test('Pages of the audit log are joined by "next", also of one run', async () => {
  await using door = await open()
  const first = await read(door, '?limit=3', acmeKey)
  const second = await read(door, `?limit=3&cursor=${first.next}`, acmeKey)
  const runs = [...first.items, ...second.items].map((line: RecordLine) => line.run)
  assert.deepEqual(runs, [idOf('c'), idOf('c'), idOf('a'), idOf('a')])
  assert.equal(second.next, null)
  const one = await read(door, `?run=${idOf('a')}`, acmeKey)
  assert.deepEqual(
    one.items.map(({ kind }) => kind),
    ['ended', 'admitted'],
  )
})

test('The run of another tenant is empty, as an unknown run is', async () => {
  await using door = await open()
  const foreign = await read(door, `?run=${idOf('b')}`, acmeKey)
  const unknown = await read(door, `?run=${idOf('f')}`, acmeKey)
  assert.deepEqual([foreign, unknown], [{ items: [], next: null }, unknown])
})

test('A bad query of the audit log is 422 INVALID with its field', async () => {
  await using door = await open()
  for (const [query, field] of [
    ['limit=0', 'limit'],
    ['limit=101', 'limit'],
    ['limit=x', 'limit'],
    ['cursor=0', 'cursor'],
    ['cursor=-1', 'cursor'],
    ["cursor=1'--", 'cursor'],
    [`cursor=${'9'.repeat(40)}`, 'cursor'],
    ['run=exec_1', 'run'],
    ['tenant=other', 'tenant'],
  ] as const) {
    const answer = await ask(door, `?${query}`, acmeKey)
    assert.deepEqual([answer.status, answer.json['code']], [422, 'INVALID'], query)
    assert.ok(answer.text.includes(field), `${query}: ${answer.text}`)
  }
})

test('The audit log needs a key of scope "read"; without the part it is 503', async () => {
  await using door = await open()
  assert.equal((await call(`${door.gateway.activeUrl}/v1/audit`)).status, 401)
  const mayRun = { id: 'k', tenant: 'acme', principal: 'p', scopes: ['run', 'operate'] as const }
  await using narrow = await openDoor({ keys: { find: () => mayRun }, audit })
  assert.equal((await ask(narrow, '', acmeKey)).status, 403)
  const post = { method: 'POST', headers: bearer(adminKey) }
  assert.equal((await call(`${door.gateway.activeUrl}/v1/audit`, post)).status, 405)
  await using bare = await openDoor()
  const answer = await ask(bare, '', adminKey)
  assert.deepEqual([answer.status, answer.json['code']], [503, 'UNAVAILABLE'])
})

const audit = (query: LogQuery) => readLogPage(auditFile(state), query)

async function open(): Promise<TestDoor> {
  const { keys } = await openKeys({
    first: adminKey,
    tenants: [
      { name: 'acme', keys: [`sha256:${sha256(acmeKey)}`] },
      { name: 'other', keys: [`sha256:${sha256(otherKey)}`] },
    ],
  })
  return openDoor({ keys, audit })
}

const ask = (door: TestDoor, query: string, key: string) =>
  call(`${door.gateway.activeUrl}/v1/audit${query}`, { headers: bearer(key) })

async function read(door: TestDoor, query: string, key = adminKey): Promise<AuditPage> {
  const { status, json } = await ask(door, query, key)
  assert.equal(status, 200)
  return json as AuditPage
}
