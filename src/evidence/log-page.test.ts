import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { systemClock } from '../contract/clock.ts'
import type { AuditPage } from '../contract/evidence.ts'
import { auditFile } from '../lib/state-folder.ts'
import { facts, job, plan, verdict } from '../../tests/fixtures/record.ts'
import { insertLine, insertSql } from './connection.ts'
import type { LogQuery } from './log-page.ts'
import { openLog, readLogPage } from './log-reader.ts'
import { openRecord } from './record.ts'
import { ownHooks } from '../../tests/fixtures/own-hooks.ts'

let folder: string
const { beforeEach, afterEach } = ownHooks(import.meta.filename)
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mayfly-log-page-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const read = (query: Partial<LogQuery> = {}): AuditPage =>
  readLogPage(auditFile(folder), { limit: 100, ...query })
const numbersOf = ({ items }: AuditPage): readonly number[] => items.map(({ seq }) => seq)

test('A log that was never written is an empty page', () => {
  assert.deepEqual(read(), { items: [], next: null })
})

test('Lines that only the journal holds are in a page, before those of the database', async () => {
  await write((record) => record.begin(job('exec_1'), verdict, plan).end(facts))
  const record = openRecord({ stateFolder: folder, clock: systemClock })
  record.begin(job('exec_2'), verdict, plan).end(facts)
  const stored = storedLines()
  assert.deepEqual([stored, numbersOf(read())], [3, [5, 4, 3, 2, 1]])
  assert.deepEqual(numbersOf(read({ limit: 3 })), [5, 4, 3])
  assert.deepEqual(numbersOf(read({ before: 5, limit: 3 })), [4, 3, 2])
  assert.deepEqual(numbersOf(read({ before: 3 })), [2, 1])
  await record.close()
})

test('Pages joined by their cursor are the whole log, line by line', async () => {
  await write((record) => {
    for (let at = 0; at < 10; at += 1) record.begin(job(`exec_${at}`), verdict, plan).end(facts)
  })
  const seen: number[] = []
  for (let before: number | undefined; ;) {
    const page = read({ before, limit: 4 })
    seen.push(...numbersOf(page))
    if (page.next === null) break
    before = Number(page.next)
  }
  assert.deepEqual(
    seen,
    Array.from({ length: 21 }, (_, at) => 21 - at),
  )
})

test('A page reads at most 20,000 lines, and its cursor goes on from there', async () => {
  await write((record) => record.begin(job('exec_1'), verdict, plan).end(facts))
  fill(4, 30_000, 'x')
  const first = read({ run: 'exec_1' })
  assert.deepEqual(first, { items: [], next: '10001' })
  const second = read({ run: 'exec_1', before: Number(first.next) })
  assert.deepEqual([numbersOf(second), second.next], [[3, 2], null])
})

test('A page ends after a million characters of bodies, and holds one line of any size', async () => {
  await write((record) => record.begin(job('exec_1'), verdict, plan).end(facts))
  fill(4, 6, 'x'.repeat(600_000))
  fill(7, 7, 'x'.repeat(1_200_000))
  const pages = [read(), read({ before: 7 }), read({ before: 6 })]
  assert.deepEqual(
    pages.map((page) => [numbersOf(page), page.next]),
    [
      [[7], '7'],
      [[6], '6'],
      [[5], '5'],
    ],
  )
})

test('A body that is no JSON object is returned as unreadable text', async () => {
  await write((record) => record.begin(job('exec_1'), verdict, plan).end(facts))
  fill(4, 4, 'x', '[1]')
  assert.deepEqual(read({ limit: 1 }).items[0]!.body, { unreadable: '[1]' })
})

async function write(work: (record: ReturnType<typeof openRecord>) => void): Promise<void> {
  const record = openRecord({ stateFolder: folder, clock: systemClock })
  work(record)
  await record.close()
}

function storedLines(): number {
  using db = new DatabaseSync(auditFile(folder), { readOnly: true })
  return Number(db.prepare('SELECT count(*) AS n FROM audit').get()?.['n'])
}

/** Inserts lines of another run, which no chain holds. */
function fill(from: number, to: number, text: string, bodyText = JSON.stringify({ text })): void {
  using log = openLog(auditFile(folder))
  const [last] = log.last(1)
  using db = new DatabaseSync(auditFile(folder))
  db.exec('BEGIN')
  const insert = db.prepare(insertSql)
  for (let seq = from; seq <= to; seq += 1)
    insertLine(insert, { ...last!, seq, run: 'exec_filler', bodyText })
  db.exec('COMMIT')
}
