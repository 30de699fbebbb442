import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chownSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { chainStart } from '../lib/hash-chain.ts'
import { draft, type Draft } from './chain.ts'
import { openLog } from './log-reader.ts'
import { readJournal, Journal } from './journal.ts'
import { rowOfStart } from './journal-row.ts'
import { openStore, type AuditStore } from './store.ts'
import { verifyFile } from './verify.ts'
import { ownHooks } from '../../tests/fixtures/own-hooks.ts'

let folder: string
let database: string
let journal: string
const { beforeEach, afterEach } = ownHooks(import.meta.filename)
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mayfly-journal-'))
  database = join(folder, 'audit.db')
  journal = join(folder, 'audit.journal')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const salts = new Uint8Array(80).fill(7)
/** Bytes tried at the level of a whole record; the reader tries each. */
const sampled = 40

test('A journal truncated at any byte gives each complete line, and is continued after them', () => {
  const bytes = journalOfFour()
  const ends = rowEnds(bytes)
  assert.equal(ends.length, 1 + 4)
  for (let length = 0; length <= bytes.length; length += 1) {
    writeFileSync(journal, bytes.subarray(0, length))
    const { entries, damage } = readJournal(journal)!
    assert.equal(damage, undefined)
    assert.equal(entries.length, Math.max(0, ends.filter((end) => end <= length).length - 1))
  }
  for (const length of [...ends, ...ends.map((end) => end - 1), ...samples(bytes.length)]) {
    using copy = copyOf(bytes.subarray(0, length))
    const store = openStore(copy.database, 0)
    const { seq } = store.append(line('next'))
    assert.equal(seq, Math.max(1, ends.filter((end) => end <= length).length) + 1)
    store.close()
    assert.deepEqual(verifyFile(copy.database).ok, true)
  }
})

test('A byte of a journal that is changed is found, at its start, in the chain, in salts and at its end', () => {
  const bytes = journalOfFour()
  for (let at = 0; at < bytes.length; at += 1)
    for (const bit of [1, 2 << (at % 7)]) {
      writeFileSync(journal, flipped(bytes, at, bit))
      assert.ok(readJournal(journal)!.damage, `byte ${at}`)
    }
  for (const at of samples(bytes.length)) {
    using copy = copyOf(flipped(bytes, at, 1))
    assert.throws(() => openStore(copy.database, 0), { code: 'STATE', message: /damaged/ })
    const audit = verifyFile(copy.database)
    assert.match(audit.firstBad!.why, /damaged/)
    assert.ok(audit.firstBad!.seq <= 6)
    using log = openLog(copy.database)
    assert.ok(log.damage)
  }
})

test('Rows of a journal that were swapped, repeated, left out or edited with their checksum are found', () => {
  const bytes = journalOfFour()
  const rows = bytes.toString().split(/(?<=\n)/)
  const [start, one, two, three] = rows as [string, string, string, string]
  const edited = rowOfStart({ boot: 'x', seq: 1, head: chainStart })
  const wrong = [
    [start, two, one, three],
    [start, one, one, two],
    [start, two, three],
    [one, two],
    [start, start, one],
  ]
  for (const all of wrong) {
    using copy = copyOf(Buffer.from(all.join('')))
    assert.throws(() => openStore(copy.database, 0), { code: 'STATE' })
    assert.ok(!verifyFile(copy.database).ok)
  }
  using copy = copyOf(Buffer.from(edited))
  assert.throws(() => openStore(copy.database, 0), {
    code: 'STATE',
    message: /differs from that of the database/,
  })
  assert.match(verifyFile(copy.database).firstBad!.why, /differs from that of the database/)
})

test('Pages that a power failure lost are cut off with all after them, as the database does', () => {
  const bytes = journalOfFour()
  const text = bytes.toString()
  const first = text.slice(0, text.indexOf('\n') + 1)
  writeFileSync(journal, bytes)
  const { seq, head } = readJournal(journal)!.start!
  const other = Buffer.from(rowOfStart({ boot: 'another', seq, head }) + text.slice(first.length))
  const ends = rowEnds(other)
  using copy = copyOf(other.fill(0, ends[1]! + 20, ends[2]))
  const store = openStore(copy.database, 0)
  assert.equal(store.append(line('next')).seq, 3)
  store.close()
  assert.ok(verifyFile(copy.database).ok)
})

test('A stale journal put back over its database is ignored, with each of its lines and salts', () => {
  const bytes = journalOfFour()
  const store = openStore(database, 0)
  // Open at the end of the journal, and ended since.
  assert.ok(store.end(line('later'), 3))
  store.append(line('open'), salts)
  assert.ok(store.salts(2))
  store.forgetSalts(100)
  const open = store.open()
  assert.deepEqual(
    open.map(({ seq }) => seq),
    [7],
  )
  store.close()
  writeFileSync(journal, bytes)
  assert.deepEqual(verifyFile(database), { ok: true, lines: 7, checkpoints: 0, unsigned: 7 })
  const again = openStore(database, 0)
  assert.equal(again.append(line('next')).seq, 8)
  assert.equal(again.salts(2), undefined)
  assert.deepEqual(again.open(), open)
  again.close()
  assert.deepEqual(verifyFile(database).lines, 8)
})

test('A journal of another record, and one beyond the end of its database, are refused and found', () => {
  const early = join(folder, 'early.db')
  openStore(database, 0).close()
  copyFileSync(database, early)
  const store = openStore(database, 0)
  store.append(line('one'))
  store.fill()
  store.drop(store.head())
  store.append(line('two'))
  const bytes = readFileSync(journal)
  store.close()
  copyFileSync(early, database)
  writeFileSync(journal, bytes)
  assert.throws(() => openStore(database, 0), { message: /line 2 is missing in the database/ })
  assert.match(verifyFile(database).firstBad!.why, /missing/)
  rmSync(database)
  rmSync(journal)
  openStore(database, 0).close()
  writeFileSync(journal, bytes)
  assert.throws(() => openStore(database, 0), { code: 'STATE' })
  assert.ok(!verifyFile(database).ok)
})

test('A journal that is truncated or replaced while it is in use accepts no further line', () => {
  const store = openStore(database, 0)
  store.append(line('one'))
  const early = readFileSync(journal)
  store.append(line('two'))
  truncateSync(journal, early.length)
  assert.throws(() => store.append(line('three')), {
    code: 'STATE',
    message: /truncated while in use/,
  })
  writeFileSync(join(folder, 'stale'), early)
  renameSync(join(folder, 'stale'), journal)
  assert.throws(() => store.append(line('three')), { code: 'STATE', message: /line 3 is gone/ })
  rmSync(journal)
  assert.throws(() => store.append(line('three')), { code: 'STATE', message: /line 3 is gone/ })
  store.close()
})

test('A journal that is renamed while it is in use accepts no further line', () => {
  const store = openStore(database, 0)
  store.append(line('one'))
  renameSync(journal, join(folder, 'away'))
  assert.throws(() => store.append(line('two')), { code: 'STATE', message: /line 2 is gone/ })
  rmSync(journal)
  renameSync(join(folder, 'away'), journal)
  assert.equal(store.append(line('two')).seq, 3)
  store.close()
  assert.equal(verifyFile(database).lines, 3)
})

test('A journal that is damaged while it is in use accepts no line after the copy has detected it', () => {
  const store = openStore(database, 0)
  const one = store.append(line('one'))
  store.append(line('two'))
  const bytes = readFileSync(journal)
  writeFileSync(journal, flipped(bytes, bytes.length - 9, 1))
  assert.throws(() => store.fill(), { code: 'STATE', message: /damaged/ })
  assert.throws(() => store.append(line('three')), { code: 'STATE', message: /damaged/ })
  writeFileSync(journal, bytes)
  assert.equal(store.append(line('three')).seq, one.seq + 2)
  store.close()
  assert.equal(verifyFile(database).lines, 4)
})

test('Lines that were copied for an append that failed are copied again before the journal drops them', () => {
  const [a, b] = [openStore(database, 0), openStore(database, 0)]
  const { seq } = a.append(line('one'), salts)
  assert.throws(() => b.end({ ...line('end'), at: 0.5 }, seq), { code: 'STATE', message: /stored/ })
  settle(b)
  assert.equal(verifyFile(database).lines, seq)
  assert.ok(b.end(line('end'), seq))
  a.close()
  b.close()
  assert.equal(verifyFile(database).lines, seq + 1)
})

test('A journal drops no line that the database does not have', () => {
  const store = openStore(database, 0)
  store.append(line('one'))
  assert.throws(() => store.drop(store.head()), { code: 'STATE', message: /not in the database/ })
  store.close()
  assert.equal(verifyFile(database).lines, 2)
})

test('An audit reads database and journal as one, and a program that reads the database alone finds a chain', () => {
  const store = openStore(database, 0)
  store.append(line('one'))
  store.fill()
  store.append(line('two', 'run'))
  store.append(line('three'))
  using log = openLog(database)
  assert.deepEqual(tenantsOf(log.lines()), [null, 'one', 'two', 'three'])
  assert.deepEqual(tenantsOf(log.last(2)), ['two', 'three'])
  assert.deepEqual(tenantsOf(log.last(3)), ['one', 'two', 'three'])
  assert.deepEqual(tenantsOf(log.last(9, 'run')), ['two'])
  assert.deepEqual(tenantsOf(log.range(2, 3)), ['one', 'two'])
  assert.equal(log.counts().lines, 4)
  assert.equal(verifyFile(database).lines, 4)
  assert.deepEqual(tenantsInDatabase(), [null, 'one'])
  store.close()
  assert.deepEqual(tenantsInDatabase(), [null, 'one', 'two', 'three'])
})

test('Lines leave the journal when the database has them, and the last one takes the file with it', () => {
  const store = openStore(database, 0)
  const one = store.append(line('one'))
  store.fill()
  store.append(line('two'))
  store.drop({ seq: one.seq, head: one.hash })
  assert.deepEqual(tenantsOf(readJournal(journal)!.entries.map((entry) => entry.line)), ['two'])
  assert.equal(store.append(line('three')).seq, 4)
  store.fill()
  store.drop(store.head())
  assert.ok(!existsSync(journal))
  store.append(line('four'))
  writeFileSync(`${journal}.new`, 'of a process that was killed')
  store.close()
  assert.deepEqual(readdirSync(folder), ['audit.db'])
  assert.equal(verifyFile(database).lines, 5)
})

test('A journal whose first row found no room is begun again once there is some', () => {
  const parts = {
    exclusively: <T>(work: () => T) => work(),
    stored: () => ({ seq: 1, head: chainStart }),
    hashAt: () => chainStart,
    onForeign: () => undefined,
    bytesMax: 1,
  }
  const begun = new Journal(journal, parts)
  const append = () =>
    begun.locked(() => begun.append(line('x'), { salts: undefined, ends: undefined }))
  assert.throws(append, { code: 'STATE', message: /no lines/ })
  assert.throws(append, { code: 'STATE', message: /no lines/ })
  parts.bytesMax = 2000
  assert.equal(append().seq, 2)
  assert.equal(readJournal(journal)!.entries.length, 1)
  begun.release()
})

test('A journal whose lines the database never takes is bounded', () => {
  const bounded = new Journal(journal, {
    exclusively: (work) => work(),
    stored: () => ({ seq: 1, head: chainStart }),
    hashAt: () => chainStart,
    onForeign: () => undefined,
    bytesMax: 2000,
  })
  const none = { salts: undefined, ends: undefined }
  const append = () => bounded.locked(() => bounded.append(line('x'), none))
  assert.throws(() => Array.from({ length: 100 }, append), { code: 'STATE', message: /no lines/ })
  assert.ok(statSync(journal).size <= 2000)
  assert.equal(readJournal(journal)!.damage, undefined)
  bounded.release()
})

test('Two writers see the lines and ends of each other, also those that left the journal in between', () => {
  const [a, b] = [openStore(database, 0), openStore(database, 0)]
  const first = a.append(line('one'), salts).seq
  const second = a.append(line('two'), salts).seq
  const third = a.append(line('three'), salts).seq
  assert.ok(b.end(line('end'), first))
  assert.equal(a.end(line('end'), first), undefined)
  assert.ok(b.end(line('end'), second))
  b.append(line('more'))
  settle(b)
  assert.equal(a.end(line('end'), second), undefined)
  assert.ok(a.end(line('end'), third))
  assert.equal(b.end(line('end'), third), undefined)
  assert.deepEqual(b.open(), [])
  a.close()
  assert.equal(b.append(line('last')).seq, 9)
  b.close()
  assert.equal(verifyFile(database).lines, 9)
})

test('A link, a pipe, a second name or a file of another user in the place of the journal is refused', () => {
  openStore(database, 0).close()
  const target = join(folder, 'target')
  writeFileSync(target, 'theirs')
  const plants = [
    () => symlinkSync(target, journal),
    () => execFileSync('mkfifo', [journal]),
    () => linkSync(target, journal),
    () => execFileSync('mkdir', [journal]),
    ...(process.getuid?.() === 0 ? [() => plantOf(52_001)] : []),
  ]
  for (const plant of plants) {
    plant()
    assert.throws(() => openStore(database, 0), { code: 'STATE' })
    rmSync(journal, { recursive: true })
  }
  symlinkSync(target, journal)
  assert.ok(!verifyFile(database).ok)
  assert.throws(() => openLog(database))
  assert.equal(readFileSync(target, 'utf8'), 'theirs')
})

test('The journal has mode 0600, also where it was left with another', () => {
  openStore(database, 0).close()
  writeFileSync(journal, '', { mode: 0o644 })
  const store = openStore(database, 0)
  store.append(line('one'))
  assert.equal(statSync(journal).mode & 0o777, 0o600)
  store.close()
})

test('A record of the format before is given this one, unless an older version has it open', () => {
  const old = join(import.meta.dirname, '../../tests/fixtures/tree-0.1.0/state/audit.db')
  copyFileSync(old, database)
  const held = new DatabaseSync(database)
  held.exec('PRAGMA journal_mode = WAL; SELECT 1 FROM audit')
  assert.throws(() => openStore(database, 0), { code: 'STATE', message: /older version/ })
  assert.equal(formatOf(database), 1)
  held.close()
  const { lines } = verifyFile(database)
  const store = openStore(database, 0)
  assert.equal(store.append(line('next')).seq, lines + 1)
  store.close()
  // Versions before read `meta.format` and refuse what is not 1.
  assert.equal(formatOf(database), 2)
  assert.equal(verifyFile(database).lines, lines + 1)
})

function journalOfFour(): Buffer {
  const store = openStore(database, 0)
  const one = store.append(line('one'), salts)
  store.append(line('two', 'run'), salts)
  store.append(line('three'))
  store.end(line('four'), one.seq)
  const bytes = readFileSync(journal)
  store.close()
  return bytes
}

/** A folder with the database as it was before the lines of `journalOfFour`, and other bytes as its journal. */
function copyOf(bytes: Buffer): { readonly database: string } & Disposable {
  const place = mkdtempSync(join(folder, 'copy-'))
  const copy = join(place, 'audit.db')
  copyFileSync(database, copy)
  const db = new DatabaseSync(copy)
  db.exec('DELETE FROM audit WHERE seq > 1; DELETE FROM salts; DELETE FROM open_lines')
  db.close()
  writeFileSync(join(place, 'audit.journal'), bytes, { mode: 0o600 })
  return { database: copy, [Symbol.dispose]: () => rmSync(place, { recursive: true }) }
}

function settle(store: AuditStore): void {
  store.fill()
  store.drop(store.head())
}

function plantOf(uid: number): void {
  writeFileSync(journal, '', { mode: 0o600 })
  chownSync(journal, uid, uid)
}

function line(tenant: string, run: string | null = null): Draft {
  const body = { text: `ü\u0000\n "\ud83d\ude00 ${tenant}` }
  return draft({ at: 1, kind: 'event', run, tenant, status: null, body })
}

function flipped(bytes: Buffer, at: number, bit: number): Buffer {
  const changed = Buffer.from(bytes)
  changed[at] = changed[at]! ^ bit
  return changed
}

function rowEnds(bytes: Buffer): readonly number[] {
  return Array.from(bytes.entries()).flatMap(([at, byte]) => (byte === 10 ? [at + 1] : []))
}

function samples(length: number): readonly number[] {
  return Array.from({ length: sampled }, (_, n) => Math.floor(((n + 0.5) * length) / sampled))
}

function tenantsOf(lines: Iterable<{ readonly tenant: string | null }>): readonly unknown[] {
  return Array.from(lines, ({ tenant }) => tenant)
}

function tenantsInDatabase(): readonly unknown[] {
  using db = new DatabaseSync(database, { readOnly: true })
  return db
    .prepare('SELECT tenant FROM audit ORDER BY seq')
    .all()
    .map((row) => row['tenant'])
}

function formatOf(path: string): unknown {
  using db = new DatabaseSync(path, { readOnly: true })
  return db.prepare('SELECT format FROM meta').get()?.['format']
}
