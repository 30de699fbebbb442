import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { facts, job, plan, verdict } from '../../tests/fixtures/record.ts'
import { systemClock, type Clock } from '../contract/clock.ts'
import { draft } from './chain.ts'
import { Filler } from './filler.ts'
import { openRecord } from './record.ts'
import { openStore } from './store.ts'
import { verifyFile } from './verify.ts'
import { WriteBackThread } from './write-back-thread.ts'
import { ownHooks } from '../../tests/fixtures/own-hooks.ts'

let folder: string
let database: string
const { beforeEach, afterEach } = ownHooks(import.meta.filename)
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mayfly-filler-'))
  database = join(folder, 'audit.db')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** Longest time that a program which reads `audit.db` alone is behind. */
const behindMsMax = 200
const turnsMax = 1_000_000

test('A line is copied by a timer of at most 200 ms, however many came before it', async () => {
  for (const jobs of [1, 100]) {
    const { clock, fire } = playedClock()
    const record = openRecord({ stateFolder: folder, clock })
    for (let n = 0; n < jobs; n += 1) record.begin(job(`exec_${n}`), verdict, plan).end(facts)
    const { seq } = record.head()
    fire(behindMsMax)
    await until(() => linesInDatabase() === seq)
    await record.close()
    assert.ok(!existsSync(join(folder, 'audit.journal')))
    assert.equal(linesInDatabase(), seq)
  }
})

test('A thread writes bodies back once there are some megabytes, and none before', async () => {
  const record = openRecord({ stateFolder: folder, clock: systemClock })
  const size = () => statSync(join(folder, 'bodies.db')).size
  const put = (run: string) =>
    record.bodies.put({ tenant: 'a', run, name: 'outcome' }, Buffer.alloc(2 ** 20 - 1024), 1)
  put('exec_1')
  const empty = size()
  for (let n = 2; n < 6; n++) put(`exec_${n}`)
  await until(() => size() > empty + 2 ** 20)
  await record.close()
  assert.ok(!existsSync(join(folder, 'bodies.db-wal')), 'closed last, by its owner')
  assert.ok(size() > 5 * (2 ** 20 - 1024))
})

test('The thread that writes back ends by itself once it is idle, and the next call starts another', async () => {
  const store = openStore(database, 0)
  const { clock, fire } = playedClock()
  const thread = new WriteBackThread(database, clock)
  const threads = () => process.getActiveResourcesInfo().filter((one) => one === 'Worker').length
  const before = threads()
  for (let at = 1; at <= 2; at += 1) {
    append(store, at)
    store.fill()
    const size = statSync(database).size
    await thread.writeBack()
    assert.ok(statSync(database).size >= size)
    fire(60_000)
    await until(() => threads() === before)
  }
  await thread.close()
  store.close()
})

test('The loop writes no WAL back while the record is open: a thread does', async () => {
  const store = openStore(database, 0)
  let calls = 0
  const counted = {
    fill: (max?: number, upTo?: number) => store.fill(max, upTo),
    writeBack: () => (calls += 1),
  }
  const filler = new Filler({ store: counted, path: database, clock: systemClock })
  for (let at = 1; at <= 100; at += 1) append(store, at)
  await filler.fill()
  const before = statSync(database).size
  await filler.writeBack()
  await filler.writeBack()
  assert.ok(statSync(database).size > before)
  assert.equal(calls, 0)
  await filler.close()
  await filler.writeBack()
  assert.equal(calls, 1)
  store.close()
})

test('A copy ends where lines come faster than small pieces are copied, and the journal stays small', async () => {
  const store = openStore(database, 0)
  const filler = new Filler({ store, path: database, clock: systemClock })
  const more = () => {
    for (let n = 0; n < 40; n += 1) append(store, n, 'x'.repeat(2000))
  }
  for (let round = 0; round < 4; round += 1) {
    more()
    const head = store.head()
    const copy = { isDone: false }
    void filler.fill(head.seq).then(() => (copy.isDone = true))
    for (let turns = 0; !copy.isDone; turns += 1) {
      assert.ok(turns < 60, 'the copy does not end')
      more()
      await turn()
    }
    store.drop(head)
  }
  assert.ok(statSync(join(folder, 'audit.journal')).size < 2 ** 20)
  await filler.close()
  store.close()
  assert.ok(verifyFile(database).ok)
})

test('Without a thread the loop writes back', async () => {
  const store = openStore(database, 0)
  let calls = 0
  const counted = { fill: () => false, writeBack: () => (calls += 1) }
  const path = join(folder, 'none', 'audit.db')
  const filler = new Filler({ store: counted, path, clock: systemClock })
  await filler.writeBack()
  await filler.writeBack()
  assert.equal(calls, 2)
  await filler.close()
  store.close()
})

test('Lines that the database refuses are an error of the copy, and stay in the journal', async () => {
  const store = openStore(database, 0)
  const filler = new Filler({ store, path: database, clock: systemClock })
  append(store, 1)
  const other = new DatabaseSync(database)
  other.exec("INSERT INTO audit VALUES (2, 0, 'event', NULL, NULL, NULL, '{}', 'x', 'y')")
  other.close()
  await assert.rejects(filler.fill(), {
    code: 'STATE',
    message: /differs from that of the database/,
  })
  assert.ok(existsSync(join(folder, 'audit.journal')))
  await filler.close()
  store.close()
  assert.ok(!verifyFile(database).ok)
})

function append(store: ReturnType<typeof openStore>, at: number, text = ''): void {
  const body = { text }
  const parts = { at, kind: 'event', run: null, tenant: null, status: null, body } as const
  store.append(draft(parts))
}

/** A clock whose timers are called by hand. */
function playedClock(): { clock: Clock; fire: (msMax: number) => void } {
  const timers = new Set<{ readonly ms: number; readonly call: () => void }>()
  const after: Clock['after'] = (ms, call) => {
    const timer = { ms, call }
    timers.add(timer)
    return { cancel: () => void timers.delete(timer) }
  }
  const fire = (msMax: number) => {
    for (const timer of [...timers].filter(({ ms }) => ms <= msMax)) {
      timers.delete(timer)
      timer.call()
    }
  }
  return { clock: { ...systemClock, after }, fire }
}

async function until(isSo: () => boolean): Promise<void> {
  for (let turns = 0; !isSo(); turns += 1) {
    assert.ok(turns < turnsMax, 'it never came')
    await turn()
  }
}

/** As another program counts them. */
function linesInDatabase(): number {
  using db = new DatabaseSync(database, { readOnly: true })
  return Number(db.prepare('SELECT count(*) AS n FROM audit').get()?.['n'])
}
