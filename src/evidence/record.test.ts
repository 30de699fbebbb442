import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '../contract/clock.ts'
import { MayflyError } from '../contract/error.ts'
import { event, facts, job, plan, verdict } from '../../tests/fixtures/record.ts'
import { lastSigned, openSigner, type HeadSigner } from '../warden/sign.ts'
import { forgetExpired, openBodies, readBodies } from './bodies.ts'
import { digestOf, draft, type StoredLine } from './chain.ts'
import { commit, opens } from './commitment.ts'
import type { CheckpointSigner } from './checkpoint.ts'
import { sha256 } from '../lib/hash.ts'
import { exportRows } from './export.ts'
import { thisOwner } from '../lib/owner.ts'
import { guestEventsMax } from './line-room.ts'
import { openLog } from './log-reader.ts'

import { openRecord, type AuditRecord, type RecordOptions } from './record.ts'
import { openStore } from './store.ts'
import { verifyFile } from './verify.ts'
import { ownHooks } from '../../tests/fixtures/own-hooks.ts'

let folder: string
const { beforeEach, afterEach } = ownHooks(import.meta.filename)
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mayfly-record-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

test('A job leaves two lines: admitted before it runs, ended with its status', async () => {
  const record = open()
  const entry = record.begin(job(), verdict, plan)
  const ended = entry.end(facts)
  await record.close()

  const lines = linesIn(folder)
  assert.deepEqual(
    lines.map(({ seq, kind, run, tenant, status }) => [seq, kind, run, tenant, status]),
    [
      [1, 'genesis', null, null, null],
      [2, 'admitted', 'exec_1', 'acme', null],
      [3, 'ended', 'exec_1', 'acme', 'ok'],
    ],
  )
  assert.equal(entry.seq, 2)
  assert.deepEqual(ended, { seq: 3, hash: lines[2]!.hash })
})

test('A record continues when the clock is set back, is signed, and verifies', async () => {
  let wall = 2_000_000
  const record = open({
    clock: { ...systemClock, date: () => wall },
    signer: asked(openSigner(join(folder, 'keys'))),
  })
  const entry = record.begin(job(), verdict, plan)
  wall = 1_000_000
  entry.end(facts)
  const { seq } = (await record.checkpoint())!
  assert.equal(seq, 3)
  record.begin(job('exec_2'), verdict, plan).end(facts)
  await record.close()
  assert.deepEqual(
    linesIn(folder).map(({ at }) => at),
    [2_000_000, 2_000_000, 1_000_000, 1_000_000, 1_000_000],
  )
  assert.ok(verifyFile(join(folder, 'audit.db')).ok)
})

test('Lines hold commitments, never code, input, result, principal or text of a guest', async () => {
  const record = open()
  const error = { code: 'SECRET text', name: 'SECRETError', message: 'SECRET', stack: 'SECRET' }
  record.begin(job(), verdict, plan).end({ ...facts, status: 'error', error })
  await record.close()

  const text = [...exportRows(join(folder, 'audit.db'))].join('')
  assert.doesNotMatch(text, /SECRET/)
  assert.match(text, /"error":"OTHER"/)
})

test('A holder of the salt can prove a body, until the salt is forgotten', async () => {
  const record = open()
  const { seq } = record.begin(job(), verdict, plan)
  const line = [...record.store.lines(1, 2)][0]!
  const { commitments } = JSON.parse(line.bodyText) as { commitments: Record<string, string> }
  const salts = record.store.salts(seq)!
  assert.ok(opens(commitments['code']!, salts, 'code', 'SECRET code'))
  assert.ok(opens(commitments['principal']!, salts, 'principal', 'SECRET key'))
  assert.ok(!opens(commitments['code']!, salts, 'code', 'another'))
  assert.notEqual(commit(salts, 'code', 'x'), commit(salts, 'input', 'x'))
  assert.equal(record.store.forgetSalts(seq + 1), 1)
  assert.equal(record.store.salts(seq), undefined)
  await record.close()
  assert.ok(verifyFile(join(folder, 'audit.db')).ok)
})

test('S0-13: a line holds the SHA-256 of the code, and no digest of the input without a salt', async () => {
  const record = open()
  record.begin(job(), verdict, plan).end({ ...facts, resultText: '"SECRET result"' })
  await record.close()
  const text = [...exportRows(join(folder, 'audit.db'))].join('')
  assert.ok(text.includes(`"codeSha256":"${sha256('SECRET code')}"`), text)
  for (const one of ['"SECRET input"', 'SECRET input', 'SECRET key', '"SECRET result"'])
    assert.ok(!text.includes(sha256(one)), one)
})

test('The same code twice leaves two different commitments', async () => {
  const record = open()
  record.begin(job('a'), verdict, plan)
  record.begin(job('b'), verdict, plan)
  const [a, b] = Array.from(record.store.lines(1, 3), (line) => JSON.parse(line.bodyText))
  assert.notEqual(a.commitments.code, b.commitments.code)
  await record.close()
})

test('A crash leaves an admitted line, closed as failed at the next start', async () => {
  const before = open({ owner: { ...thisOwner(), startTime: '1' } })
  const { seq } = before.begin(job('lost'), verdict, plan)
  before.begin(job('done'), verdict, plan).end(facts)
  before.store.close()

  const said: unknown[] = []
  const emitter = { emit: (...all: unknown[]) => said.push(all) }
  const record = open({ emitter })
  assert.deepEqual(record.closeDead(), ['lost'])
  assert.deepEqual(record.closeDead(), [])
  await record.close()

  const last = linesIn(folder).at(-1)!
  assert.deepEqual(
    [last.kind, last.run, last.tenant, last.status],
    ['closed', 'lost', 'acme', 'failed'],
  )
  assert.equal(JSON.parse(last.bodyText).admitted, seq)
  assert.deepEqual(said, [['record/closed', { admitted: seq, seq: 5 }, { run: 'lost' }]])
})

test('Admissions of another boot are closed, those of a living process stay open', async () => {
  const gone = open({ owner: { ...thisOwner(), bootId: 'another' } })
  gone.begin(job('gone'), verdict, plan)
  const living = open()
  living.begin(job('living'), verdict, plan)
  assert.deepEqual(living.closeDead(), ['gone'])
  await Promise.all([gone.close(), living.close()])
})

test('A job that ended cannot end again', async () => {
  const record = open()
  const entry = record.begin(job(), verdict, plan)
  entry.end(facts)
  assert.throws(() => entry.end(facts), /ended already/)
  await record.close()
  assert.equal(linesIn(folder).length, 3)
})

test('Numbers that JSON cannot represent do not prevent the ended line', async () => {
  const record = open()
  const metrics = { ...facts.metrics, executionTime: Number.NaN }
  record.begin(job(), verdict, plan).end({ ...facts, metrics })
  const circular: Record<string, unknown> = {}
  circular['self'] = circular
  record.append(event({ fields: { big: 1n } }))
  record.append(event({ fields: circular }))
  record.append(event({ fields: { long: 'x'.repeat(5000) } }))
  await record.close()
  assert.ok(verifyFile(join(folder, 'audit.db')).ok)
  assert.equal(linesIn(folder)[2]!.status, 'ok')
  assert.ok(linesIn(folder).every((line) => line.bodyText.length < 4500))
})

test('A guest that triggers endless events gets a bounded number of lines, and the rest is counted', async () => {
  const record = open()
  const entry = record.begin(job(), verdict, plan)
  for (let i = 0; i < guestEventsMax + 7; i += 1) record.sink(event({ run: 'exec_1' }))
  record.sink(event({ run: 'exec_1', point: 'phase/opened' }))
  entry.end(facts)
  await record.close()
  const lines = linesIn(folder)
  assert.equal(lines.filter((line) => line.kind === 'event').length, guestEventsMax)
  assert.equal(lines.find((line) => line.kind === 'event')!.tenant, 'acme')
  assert.equal(JSON.parse(lines.at(-1)!.bodyText).eventsDropped, 7)
})

test('A guest that fills its room hides no anomaly, unenforced control, limit or end', async () => {
  const record = open()
  const entry = record.begin(job(), verdict, plan)
  const of = { run: 'exec_1' }
  const anomaly = { ...of, point: 'anomaly/found', trust: 'host' } as const
  for (let i = 0; i < 500; i += 1) {
    record.sink(event(of))
    record.sink(event({ ...anomaly, fields: { severity: 'low' } }))
    record.sink(event({ ...anomaly, trust: 'guest', fields: { severity: 'high' } }))
  }
  record.sink(event({ ...anomaly, fields: { severity: 'high', name: 'fork-storm' } }))
  record.sink(event({ ...of, point: 'control/unenforced' }))
  record.sink(event({ ...of, point: 'limit/hit' }))
  const denied = { at: 1, zone: 'main', event: 'denied' } as const
  const flood = Array.from({ length: 500 }, () => denied)
  const closing = { at: 2, zone: 'main', event: 'tightened', phase: 'late' } as const
  const high = {
    at: 3,
    zone: 'b',
    event: 'anomaly',
    fields: { severity: 'high' },
    reason: 'storm',
  } as const
  const last = { at: 4, zone: 'main', event: 'terminated', reason: 'anomaly high' } as const
  const timeline = [...facts.timeline, ...flood, closing, high, last]
  entry.end({ ...facts, status: 'terminated', timeline })
  await record.close()

  const lines = linesIn(folder)
  const bodies = lines.map(({ bodyText }) => JSON.parse(bodyText))
  assert.equal(bodies.filter(({ fields }) => fields?.name === 'fork-storm').length, 1)
  for (const point of ['control/unenforced', 'limit/hit'])
    assert.equal(bodies.filter((body) => body.point === point).length, 1, point)
  const ended = bodies.at(-1)!
  assert.deepEqual(
    ended.timeline
      .slice(-3)
      .map((entry: { reason?: string; phase?: string }) => [entry.reason, entry.phase]),
    [
      [undefined, 'late'],
      ['storm', undefined],
      ['anomaly high', undefined],
    ],
  )
  assert.equal(ended.timeline.length + ended.timelineDropped, timeline.length)
  assert.ok(lines.length < 300 && lines.every(({ bodyText }) => bodyText.length < 50_000))
})

test('Long evidence of an anomaly leaves its name and reason in the record', async () => {
  const record = open()
  const evidence = Array.from({ length: 8 }, () => ({ path: '"'.repeat(300) }))
  const fields = { name: 'sensitive-data', severity: 'high', reason: 'It opened a key', evidence }
  record.append(event({ point: 'anomaly/found', fields }))
  await record.close()
  const kept = JSON.parse(linesIn(folder).at(-1)!.bodyText).fields
  assert.deepEqual(
    [kept.name, kept.severity, kept.reason],
    ['sensitive-data', 'high', 'It opened a key'],
  )
  assert.ok(kept.charsLeftOut > 4096)
})

test('A job with thousands of network attempts has a line of bounded length, with the first of each verdict', async () => {
  const record = open()
  const host = `${'x'.repeat(249)}.com`
  const attempt = { port: 443, sent: 0, received: 0, because: `the name "${host}" has no address` }
  const network = Array.from({ length: 4_096 }, (_, n) => ({
    ...attempt,
    host,
    verdict: n < 4_000 ? ('allowed' as const) : ('denied' as const),
  }))
  const metrics = { ...facts.metrics, network }
  record.begin(job(), verdict, plan).end({ ...facts, metrics })
  await record.close()
  const { bodyText } = linesIn(folder).at(-1)!
  const { network: listed, networkLeftOut } = JSON.parse(bodyText).metrics
  const denied = listed.filter((one: { verdict: string }) => one.verdict === 'denied')
  assert.deepEqual([listed.length, denied.length, networkLeftOut], [224, 96, 4_096 - 224])
  assert.ok(bodyText.length < 200_000, `${bodyText.length}`)
})

test('An export that has a line of 2.5 MB verifies', async () => {
  const record = open()
  // As a job with 4,096 network attempts left it before fewer were listed.
  const body = { network: 'x'.repeat(2_500_000) }
  const about = { kind: 'event', run: null, tenant: null, status: null } as const
  record.store.append(draft({ ...about, at: 1, body }))
  record.begin(job(), verdict, plan).end(facts)
  await record.close()
  const file = join(folder, 'export')
  writeFileSync(file, [...exportRows(join(folder, 'audit.db'))].join(''))
  const { ok, lines } = verifyFile(file)
  assert.deepEqual([ok, lines], [true, 4])
})

test('An end that the record refused is written by the next line, or as the record is closed', async (t) => {
  const record = open()
  const [first, second] = [job(), job('exec_2')].map((one) => record.begin(one, verdict, plan))
  const refused = () => {
    throw new MayflyError('STATE', 'Cannot write: database is locked')
  }
  const statuses = () =>
    linesIn(folder).flatMap(({ run, status }) => (status === null ? [] : [[run, status]]))
  t.mock.method(record.store, 'end', refused, { times: 1 })
  assert.throws(() => first!.end({ ...facts, status: 'terminated' }), { code: 'STATE' })
  record.begin(job('exec_3'), verdict, plan)
  record.store.fill()
  assert.deepEqual(statuses(), [['exec_1', 'terminated']])
  t.mock.method(record.store, 'end', refused, { times: 1 })
  assert.throws(() => second!.end(facts), { code: 'STATE' })
  await record.close()
  assert.deepEqual(statuses(), [
    ['exec_1', 'terminated'],
    ['exec_2', 'ok'],
  ])
  assert.ok(verifyFile(join(folder, 'audit.db')).ok)
})

test('A record that closes while another process signs is signed to its end', async () => {
  const signer = openSigner(join(folder, 'keys'))
  const own = asked(signer)
  const [asking, answered] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const other = open({
    // Another owner: the lock of a process is its own for each of its records.
    owner: { ...thisOwner(), startTime: '1' },
    isAlive: () => true,
    signer: {
      async checkpoint(digests, from) {
        asking.resolve()
        await answered.promise
        return own.checkpoint(digests, from)
      },
    },
  })
  other.begin(job(), verdict, plan)
  const signing = other.checkpoint()
  await asking.promise
  const record = open({ signer: own, isAlive: () => true })
  record.begin(job('exec_2'), verdict, plan).end(facts)
  const closing = record.close()
  await sleep(100)
  answered.resolve()
  await Promise.all([signing, closing])
  assert.equal(lastSigned(join(folder, 'keys'))?.seq, 4)
  await other.close()
  signer.close()
})

test('Refused requests and late events of runs hide no event of the host', async () => {
  const record = open()
  for (let i = 0; i < 500; i += 1) {
    record.sink(event({ point: 'door/refused' }))
    record.sink(event({ run: 'gone' }))
  }
  record.sink(event({ point: 'sentinel/lost' }))
  await record.close()
  const points = linesIn(folder).map(({ bodyText }) => JSON.parse(bodyText).point)
  assert.equal(points.at(-1), 'sentinel/lost')
})

test('A checkpoint signs every line so far, and the signer remembers it', async () => {
  const { record, signer } = signed()
  record.begin(job(), verdict, plan).end(facts)
  const checkpoint = await record.checkpoint()
  assert.equal(checkpoint?.seq, 3)
  assert.equal(checkpoint.head, record.head().head)
  assert.equal(await record.checkpoint(), undefined)
  record.begin(job('b'), verdict, plan).end(facts)
  await record.close()
  assert.equal(lastSigned(join(folder, 'keys'))?.seq, 5)
  const audit = verifyFile(join(folder, 'audit.db'), { key: signer.publicKey })
  assert.deepEqual(audit, { ok: true, lines: 5, checkpoints: 2, unsigned: 0 })
  signer.close()
})

test('A signature that was not stored is repeated with the following lines', async () => {
  const { record, signer } = signed()
  record.begin(job(), verdict, plan)
  await record.checkpoint()
  record.append(event({}))
  signer.sign(digestsAfter(record, 2), { seq: 2, head: record.store.lastCheckpoint()!.head }, 1)
  record.append(event({}))
  assert.equal((await record.checkpoint())?.seq, 4)
  await record.close()
  assert.ok(verifyFile(join(folder, 'audit.db'), { signed: lastSigned(join(folder, 'keys')) }).ok)
  signer.close()
})

test('A failing signer loses no line, and an event reports it', async () => {
  const said: string[] = []
  const record = open({
    emitter: { emit: (point) => said.push(point) },
    signer: { checkpoint: () => Promise.reject(new Error('lost')) },
  })
  record.begin(job(), verdict, plan).end(facts)
  await assert.rejects(() => record.checkpoint(), /lost/)
  await record.close()
  assert.deepEqual(said, ['record/unsigned'])
  assert.equal(verifyFile(join(folder, 'audit.db')).unsigned, 3)
})

test('An altered log is not sent to be signed', async () => {
  const { record, signer } = signed()
  record.begin(job(), verdict, plan)
  record.store.fill()
  const other = new DatabaseSync(join(folder, 'audit.db'))
  other.exec("UPDATE audit SET tenant = 'x' WHERE seq = 2")
  other.close()
  const again = open({ signer: asked(signer) })
  await assert.rejects(() => again.checkpoint(), /Cannot sign line "2"/)
  assert.equal(lastSigned(join(folder, 'keys')), undefined)
  await Promise.all([record.close(), again.close()])
  signer.close()
})

test('The log and its side files have mode 0600', () => {
  const record = open()
  record.store.close()
  assert.equal(statSync(join(folder, 'audit.db')).mode & 0o777, 0o600)
})

test('A log that cannot be written admits nothing and gives a hint', () => {
  assert.throws(
    () => openRecord({ stateFolder: '/proc/nowhere', clock: systemClock }),
    (thrown: { code?: string }) => thrown.code === 'STATE',
  )
})

test('A file that is no log, and a log of another format, are refused with a hint', async () => {
  const record = open()
  await record.close()
  const db = new DatabaseSync(join(folder, 'audit.db'))
  db.exec('UPDATE meta SET format = 3')
  db.close()
  assert.throws(() => open(), { code: 'STATE', message: /its format is "3"/ })
  assert.ok(!verifyFile(join(folder, 'audit.db')).ok)
})

test('An audit creates no file', async () => {
  const record = open()
  record.begin(job(), verdict, plan)
  await record.close()
  verifyFile(join(folder, 'audit.db'))
  assert.deepEqual(readdirSync(folder), ['audit.db'])
})

function open(more: Partial<RecordOptions> = {}): AuditRecord {
  return openRecord({ stateFolder: folder, clock: systemClock, ...more })
}

function signed(): { record: AuditRecord; signer: HeadSigner } {
  const signer = openSigner(join(folder, 'keys'))
  return { record: open({ signer: asked(signer) }), signer }
}

function asked(signer: HeadSigner): CheckpointSigner {
  return {
    checkpoint: (digests, from) =>
      Promise.resolve().then(() => signer.sign(digests, from, Date.now())),
  }
}

function linesIn(stateFolder: string): readonly StoredLine[] {
  using log = openLog(join(stateFolder, 'audit.db'))
  return [...log.lines()]
}

function digestsAfter(record: AuditRecord, seq: number): readonly string[] {
  return Array.from(record.store.lines(seq, record.head().seq), (line) => digestOf(line, line.seq))
}

test('A line whose stored bytes differ from the hashed ones is not accepted', () => {
  const store = openStore(join(folder, 'audit.db'), 0)
  const parts = { at: 1, kind: 'admitted', tenant: null, status: null, body: {} } as const
  const before = store.head()
  // SQLite stores UTF-8, which has no lone surrogates; `draft` replaces them before the hash is made.
  const broken = { ...draft({ ...parts, run: 'r' }), run: '\ud800' }
  assert.throws(() => store.append(broken), { code: 'STATE' })
  assert.deepEqual(store.head(), before)
  assert.equal(store.append(draft({ ...parts, run: '\ud800' })).seq, before.seq + 1)
  store.close()
})

test('A record closed in a folder without a server forgets bodies that no process swept for a day', async () => {
  const date = Date.now()
  const place = { tenant: 'acme', run: 'exec_1', name: 'capture-1/memory.bin/0' }
  const store = openBodies(folder)
  store.put(place, Buffer.from('secret'), date)
  store.close()
  const names = () => {
    const reader = readBodies(folder)
    try {
      return reader.names(place.tenant, place.run)
    } finally {
      reader.close()
    }
  }
  const minute = 60_000
  for (const [later, left] of [
    [24 * 60 * minute - minute, 1],
    [24 * 60 * minute + minute, 0],
  ] as const) {
    const record = open({ clock: { ...systemClock, date: () => date + later } })
    assert.equal(names().length, 1)
    await record.close()
    assert.equal(names().length, left)
    using keys = new DatabaseSync(join(folder, 'body-keys.db'))
    assert.equal(keys.prepare('SELECT count(*) AS n FROM keys').get()?.['n'], left)
  }
})

test('A record is closed after the sweep of its bodies that is under way', async () => {
  const record = open()
  let isOver = false
  record.bodies.retain = function* () {
    for (let n = 0; n < 100; n++) yield n
    isOver = true
  }
  void forgetExpired(record.bodies, 0)
  await record.close()
  assert.equal(isOver, true)
})

test('A record closed in a folder without bodies makes no file for them', async () => {
  await open().close()
  assert.ok(!readdirSync(folder).includes('bodies.db'))
})
