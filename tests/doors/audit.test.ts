import { signerFolder, wardenFolder } from '../../src/lib/state-folder.ts'
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, beforeEach } from 'node:test'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../../src/contract/clock.ts'
import { openRecord } from '../../src/evidence/record.ts'
import { openSigner } from '../../src/warden/sign.ts'
import { test } from '../fixtures/drawn.ts'
import { event, facts, job, plan, verdict } from '../fixtures/record.ts'

const bin = fileURLToPath(new URL('../../bin/mayfly.js', import.meta.url))
let root: string
let state: string
let count = 0

before(() => {
  root = mkdtempSync(join(tmpdir(), 'mayfly-audit-'))
})
after(() => rmSync(root, { recursive: true, force: true }))
beforeEach(async () => {
  state = join(root, String((count += 1)))
  const signer = openSigner(signerFolder(state))
  const checkpoint = async (...all: [readonly string[], { seq: number; head: string }]) =>
    signer.sign(...all, Date.now())
  const record = openRecord({ stateFolder: state, clock: systemClock, signer: { checkpoint } })
  record.begin(job('exec_a'), verdict, plan).end(facts)
  await record.checkpoint()
  record.begin(job('exec_b'), verdict, plan).end({ ...facts, status: 'error' })
  record.append(event({ fields: { name: '\u001b[2J' } }))
  await record.close()
  signer.close()
})

test('A run whose lines are not signed, as after the key of the signer was lost, warns once', () => {
  const source = join(state, 'job.js')
  // Signing fails after half a second and at the end.
  writeFileSync(source, 'await new Promise((done) => setTimeout(done, 1000)); return 1')
  const warnings = () => {
    const words = [bin, 'run', source, '--once', '--state', state]
    const { status, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8' })
    assert.equal(status, 0, stderr)
    return stderr.match(/^Warning: the record is not signed: .*mayfly audit verify/gm)?.length ?? 0
  }
  assert.equal(warnings(), 0)
  rmSync(signerFolder(state), { recursive: true })
  assert.deepEqual([warnings(), warnings()], [1, 1])
})

test('The list shows the last lines or those of one run, as text and as JSON', () => {
  const text = audit('list')
  assert.equal(text.status, 0)
  const headings = 1
  assert.equal(text.stdout.trimEnd().split('\n').length, 6 + headings)
  assert.match(text.stdout, /3 .* ended .* exec_a .* acme .* ok .* 2.4 ms/)
  assert.ok(!text.stdout.includes('\u001b'))
  assert.equal(audit('list', '--limit', '2').stdout.trimEnd().split('\n').length, 2 + headings)
  const lines = JSON.parse(audit('list', '--run', 'exec_b', '--json').stdout)
  assert.deepEqual(
    lines.map((line: { seq: number; kind: string; status: string }) => [line.kind, line.status]),
    [
      ['admitted', null],
      ['ended', 'error'],
    ],
  )
  assert.equal(lines[0].body.plan.tier, 'isolate')
})

test('The verb has the name of the record, too', () => {
  const named = [bin, 'record', 'verify', '--state', state]
  const { stdout } = spawnSync(process.execPath, named, { encoding: 'utf8' })
  assert.equal(stdout, audit('verify').stdout)
  assert.match(stdout, /^ok: 6 lines/)
})

test('An untouched log verifies with exit code 0 and leaves no file behind', () => {
  const before = readdirSync(state)
  const { status, stdout } = audit('verify', '--json')
  assert.equal(status, 0)
  assert.deepEqual(JSON.parse(stdout), { ok: true, lines: 6, checkpoints: 2, unsigned: 0 })
  assert.match(audit('verify').stdout, /^ok: 6 lines/)
  assert.deepEqual(readdirSync(state), before)
})

test('After an edit, removal, reorder or truncation, in nine changes, verify exits 1 and names the first bad line, S4-35', () => {
  const cases: readonly [sql: string, line: number][] = [
    ["UPDATE audit SET status = 'ok' WHERE seq = 5", 5],
    ["UPDATE audit SET body = replace(body, 'isolate', 'microvm') WHERE seq = 4", 4],
    ['UPDATE audit SET at = at + 1 WHERE seq = 1', 1],
    ['DELETE FROM audit WHERE seq = 3', 3],
    ['DELETE FROM audit WHERE seq = 6', 6],
    ['DELETE FROM audit WHERE seq > 2; DELETE FROM checkpoints', 3],
    ['DELETE FROM audit', 1],
    [
      'UPDATE audit SET seq = -2 WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 4; UPDATE audit SET seq = 4 WHERE seq = -2',
      2,
    ],
    [
      "UPDATE checkpoints SET signature = replace(signature, substr(signature, 1, 4), 'AAAA') WHERE seq = 3",
      3,
    ],
  ]
  const db = join(state, 'audit.db')
  const whole = readFileSync(db)
  for (const [sql, line] of cases) {
    writeFileSync(db, whole)
    change(sql)
    const { status, stdout } = audit('verify', '--json')
    assert.equal(status, 1, sql)
    assert.equal(JSON.parse(stdout).firstBad.seq, line, sql)
  }
  rmSync(db)
  const gone = audit('verify')
  assert.equal(gone.status, 1)
  assert.match(gone.stdout, /^bad: line 1: /)
})

test('Attack: lines chained on after the last checkpoint of an export are named, and fail with --signed', async () => {
  const before = JSON.parse(audit('verify', '--signed', '--json').stdout)
  assert.deepEqual(before, { ok: true, lines: 6, checkpoints: 2, unsigned: 0 })
  const file = join(state, 'log.jsonl')
  const record = openRecord({ stateFolder: state, clock: systemClock })
  record.begin(job('exec_forged'), verdict, plan).end(facts)
  await record.close()
  assert.equal(audit('export', file).status, 0)
  const { key } = JSON.parse(readFileSync(file, 'utf8').split('\n')[0]!)
  for (const words of [[file, '--key', key], []]) {
    const text = audit('verify', ...words)
    assert.equal(text.status, 0, text.stdout)
    assert.match(
      text.stdout.split('\n')[1] ?? '',
      /^unsigned: lines 7 to 8, which is normal for a second/,
    )
    const strict = audit('verify', ...words, '--signed', '--json')
    assert.equal(strict.status, 1)
    assert.equal(JSON.parse(strict.stdout).firstBad.seq, 7)
  }
})

test('A log with views, triggers, virtual tables, indexes or other tables is neither listed, verified nor written', () => {
  const hidden = 'ALTER TABLE audit RENAME TO hidden; '
  const columns = 'seq, at, kind, run, tenant, status, body, previous, hash'
  const cases = [
    `${hidden} CREATE VIEW audit AS SELECT * FROM hidden`,
    `${hidden} CREATE VIEW audit AS SELECT ${columns} FROM hidden WHERE seq < 6 UNION ALL SELECT ${columns} FROM hidden WHERE seq = 6`,
    "ALTER TABLE checkpoints RENAME TO c; CREATE VIEW checkpoints AS SELECT * FROM c WHERE key != ''",
    "CREATE TRIGGER t AFTER INSERT ON audit BEGIN UPDATE audit SET status = 'ok'; END",
    "CREATE VIRTUAL TABLE words USING fts5vocab('w', 'row')",
    'CREATE INDEX by_run ON audit (run)',
    'CREATE TABLE other (x)',
    'CREATE VIEW v AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) SELECT x FROM n',
    'ALTER TABLE audit ADD COLUMN note TEXT',
    'DROP TABLE salts',
    'ALTER TABLE meta RENAME TO m; CREATE VIEW meta AS WITH RECURSIVE n(x) AS (SELECT 2 UNION ALL SELECT 2 FROM n) SELECT max(x) AS format FROM n',
  ]
  const db = join(state, 'audit.db')
  const whole = readFileSync(db)
  for (const sql of cases) {
    for (const end of ['-wal', '-shm']) rmSync(db + end, { force: true })
    writeFileSync(db, whole)
    change(sql)
    const verified = audit('verify', '--json')
    assert.equal(verified.status, 1, sql)
    assert.deepEqual(JSON.parse(verified.stdout).firstBad.seq, 1, sql)
    for (const verb of ['list', 'export']) {
      const { status, stdout, stderr } = audit(verb)
      assert.deepEqual([status, stdout], [1, ''], sql)
      assert.match(stderr, /Cannot trust the record/, sql)
    }
    assert.throws(
      () => openRecord({ stateFolder: state, clock: systemClock }),
      { code: 'STATE' },
      sql,
    )
  }
})

test('A log beside a rollback journal, by which other programs read other lines, is neither listed nor verified', () => {
  const db = join(state, 'audit.db')
  const whole = readFileSync(db)
  change("UPDATE audit SET status = 'forged' WHERE seq = 5")
  writeFileSync(`${db}-journal`, rollbackTo(readFileSync(db), whole))
  writeFileSync(db, whole)
  assert.equal(JSON.parse(audit('verify', '--json').stdout).ok, false)
  for (const verb of ['list', 'export'])
    assert.deepEqual([audit(verb).status, audit(verb).stdout], [1, ''])
  assert.match(audit('list').stderr, /audit\.db-journal" first, .*: copy both, move that file away/)
  const copy = new DatabaseSync(db)
  assert.equal(copy.prepare('SELECT status FROM audit WHERE seq = 5').get()!['status'], 'forged')
  copy.close()
})

/** A rollback journal (https://sqlite.org/fileformat.html#rollbackjournal) that makes the pages of a database those of another. */
function rollbackTo(wanted: Buffer, present: Buffer): Buffer {
  const size = present.readUInt16BE(16)
  const head = Buffer.alloc(512)
  const records: Buffer[] = []
  for (let at = 0; at < present.length; at += size) {
    const page = wanted.subarray(at, at + size)
    if (page.equals(present.subarray(at, at + size))) continue
    const [number, sum] = [Buffer.alloc(4), Buffer.alloc(4)]
    number.writeUInt32BE(at / size + 1)
    let total = 0
    for (let index = size - 200; index > 0; index -= 200) total += page[index]!
    sum.writeUInt32BE(total)
    records.push(number, page, sum)
  }
  head.write('d9d505f920a163d7', 'hex')
  const fields = [records.length / 3, 0, present.length / size, head.length, size]
  for (const [index, value] of fields.entries()) head.writeUInt32BE(value, 8 + 4 * index)
  return Buffer.concat([head, ...records])
}

test('Listed lines that do not verify exit 1 and name the first bad line', () => {
  const resigned = `UPDATE checkpoints SET key = '${'A'.repeat(43)}=' WHERE seq = 6`
  const cases: readonly [sql: string, line: number][] = [
    ["UPDATE audit SET status = 'ok' WHERE seq = 5", 5],
    ["UPDATE audit SET body = replace(body, 'isolate', 'microvm') WHERE seq = 4", 4],
    ['DELETE FROM audit WHERE seq = 4', 4],
    ['DELETE FROM audit WHERE seq = 6', 6],
    [resigned, 6],
  ]
  const db = join(state, 'audit.db')
  const whole = readFileSync(db)
  for (const [sql, line] of cases) {
    writeFileSync(db, whole)
    change(sql)
    const { status, stdout, stderr } = audit('list', '--json')
    assert.equal(status, 1, sql)
    assert.match(stderr, new RegExp(`^bad: line ${line}: `), sql)
    assert.ok(JSON.parse(stdout).length >= 5)
  }
  writeFileSync(db, whole)
  change(cases[0]![0])
  assert.equal(audit('list', '--run', 'exec_b').status, 1)
  assert.equal(audit('list', '--run', 'exec_a').status, 0)
})

test('Attack: a log that was chained anew without its checkpoints is named by the list, up to the last signed line and beyond it', async () => {
  const forged = join(root, `${count}-rewritten`)
  const record = openRecord({ stateFolder: forged, clock: systemClock })
  for (const id of ['exec_a', 'exec_b', 'exec_c', 'exec_d'])
    record.begin(job(id), verdict, plan).end(facts)
  await record.close()
  for (const name of readdirSync(state).filter((one) => one.startsWith('audit.db')))
    rmSync(join(state, name), { recursive: true })
  for (const name of readdirSync(forged).filter((one) => one.startsWith('audit.db')))
    cpSync(join(forged, name), join(state, name), { recursive: true })
  for (const [words, line] of [
    [['--run', 'exec_a'], 2],
    [['--limit', '5'], 5],
    [[], 1],
  ] as const) {
    const { status, stderr } = audit('list', ...words)
    assert.match(stderr, new RegExp(`^bad: line ${line}: `), words.join(' '))
    assert.equal(status, 1)
  }
  change('DELETE FROM audit WHERE seq > 4')
  assert.match(audit('list').stderr, /^bad: line 5: lines up to 6 were signed/)
})

test('An export verifies without its state folder, and fails to verify once it was changed', () => {
  const file = join(root, `${count}.jsonl`)
  assert.equal(audit('export', file).status, 0)
  const text = audit('export').stdout
  assert.equal(text, readFileSync(file, 'utf8'))
  rmSync(state, { recursive: true })
  assert.equal(audit('verify', file).status, 0)
  const { key } = JSON.parse(text.slice(0, text.indexOf('\n')))
  assert.equal(audit('verify', file, '--key', key).status, 0)
  assert.equal(audit('verify', file, '--key', 'AAAA').status, 1)
  const rows = text.split('\n')
  writeFileSync(file, rows.toSpliced(3, 1).join('\n'))
  assert.match(audit('verify', file).stdout, /^bad: line 3: /)
  writeFileSync(file, rows.toSpliced(4, 1).join('\n'))
  assert.match(audit('verify', file).stdout, /^bad: line 1: 2 checkpoints were exported/)
})

test('Attack: an export of a forged log that nobody signed fails where a key must have signed it', async () => {
  const { key } = JSON.parse(audit('export').stdout.split('\n')[0]!)
  state = join(root, `${count}-forged`)
  const forged = openRecord({ stateFolder: state, clock: systemClock })
  forged.begin(job('exec_a'), verdict, plan).end({ ...facts, status: 'error' })
  await forged.close()
  const file = join(root, `${count}-forged.jsonl`)
  assert.equal(audit('export', file).status, 0)
  assert.equal(audit('verify', file).status, 0)
  const { status, stdout } = audit('verify', file, '--key', key)
  assert.equal(status, 1)
  assert.match(stdout, /^bad: line 1: no line is signed with the key/)
})

test('A line with a number below or above all safe integers is found by verify', () => {
  const db = join(state, 'audit.db')
  const whole = readFileSync(db)
  for (const [seq, line] of [
    ['9007199254740993', 7],
    ['-9007199254740993', 1],
  ] as const) {
    writeFileSync(db, whole)
    change(`UPDATE audit SET seq = ${seq} WHERE seq = 6; DELETE FROM checkpoints WHERE seq = 6`)
    change(`INSERT INTO audit SELECT 6, at, kind, run, tenant, status, body, previous, hash FROM audit
      WHERE seq = ${seq}`)
    const { status, stdout } = audit('verify', '--json')
    assert.equal(status, 1, seq)
    assert.equal(JSON.parse(stdout).firstBad.seq, line, seq)
  }
})

test('Without a record the list is empty, and the path that was searched is printed', () => {
  for (const folder of [state, wardenFolder(state)]) rmSync(folder, { recursive: true })
  for (const verb of ['list', 'verify', 'export']) {
    const { status, stderr } = audit(verb)
    assert.equal(status, 1)
    assert.match(stderr, /Cannot find a record at/)
  }
  assert.ok(!readdirSync(root).includes(String(count)))
})

test('A wrong command line exits 2', () => {
  assert.equal(audit('list', '--limit', 'many').status, 2)
  assert.equal(audit('burn').status, 2)
})

test('A folder, a FIFO and a pipe are not told as a bad log by verify', () => {
  const fifo = join(state, 'fifo')
  assert.equal(spawnSync('mkfifo', [fifo]).status, 0)
  for (const path of [state, fifo, '/dev/stdin']) {
    const { status, stdout, stderr } = audit('verify', path)
    assert.equal(status, 2, path)
    assert.match(stderr, /is not a regular file/)
    assert.equal(stdout, '')
  }
})

function audit(...args: readonly string[]): {
  status: number | null
  stdout: string
  stderr: string
} {
  // Node would warn about a variable of the test run before the output of the command.
  const env = { ...process.env, NO_COLOR: '1', MAYFLY_SEED: undefined }
  const all = [bin, 'audit', ...args, '--state', state]
  return spawnSync(process.execPath, all, { encoding: 'utf8', env, cwd: root, timeout: 20_000 })
}

function change(sql: string): void {
  using db = new DatabaseSync(join(state, 'audit.db'))
  db.exec(sql)
}
