import assert from 'node:assert/strict'
import { generateKeyPairSync, sign } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import * as fc from 'fast-check'
import { checkpointStatement, type Checkpoint } from '../contract/evidence.ts'
import { chainStart } from '../lib/hash-chain.ts'
import { Auditor, type LogItem, type TrustAnchor } from './auditor.ts'
import { draft, extend, type ChainHead, type StoredLine } from './chain.ts'
import { exportRows } from './export.ts'
import { openStore } from './store.ts'
import { verifyFile } from './verify.ts'

const folder = mkdtempSync(join(tmpdir(), 'mayfly-verify-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const name = fc.option(fc.string({ unit: 'binary', maxLength: 12 }), { nil: null })
const parts = fc.record({
  at: fc.integer({ min: 0, max: 2 ** 45 }),
  kind: fc.constantFrom('admitted', 'ended', 'closed', 'event'),
  run: name,
  tenant: name,
  status: name,
  body: fc.dictionary(fc.string({ maxLength: 8 }), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 4 }),
  signed: fc.boolean(),
})
/** A log whose last line is signed, so that no missing part goes undetected. */
const log = fc.array(parts, { minLength: 2, maxLength: 12 }).map(made)

test('An untouched log verifies', () => {
  fc.assert(
    fc.property(log, (items) => {
      const audit = audited(items)
      assert.deepEqual([audit.ok, audit.unsigned], [true, 0])
      assert.equal(audit.lines, items.filter((item) => item.kind === 'line').length)
    }),
  )
})

test('Any field edited in any line is found at that line', () => {
  const edit = fc.constantFrom(
    'at',
    'kind',
    'run',
    'tenant',
    'status',
    'bodyText',
    'previous',
    'hash',
  )
  fc.assert(
    fc.property(log, fc.nat(), edit, fc.nat(), (items, which, field, how) => {
      const { index, line } = pickLine(items, which)
      const edited = { ...line, [field]: changed(line[field as keyof StoredLine], how) }
      foundAt(items.with(index, { kind: 'line', line: edited }), line.seq)
    }),
  )
})

test('A line edited and rehashed with all that follow is detected by the signed head', () => {
  fc.assert(
    fc.property(log, fc.nat(), (items, which) => {
      const { line } = pickLine(items, which)
      let head: ChainHead = { seq: 0, head: chainStart }
      const forged = items.map((item) => {
        if (item.kind === 'checkpoint') return item
        const tenant = item.line.seq === line.seq ? `${item.line.tenant}x` : item.line.tenant
        const next = extend(head, { ...item.line, tenant })
        head = { seq: next.seq, head: next.hash }
        return { kind: 'line' as const, line: next }
      })
      foundBy(forged, line.seq)
    }),
  )
})

test('Any removed line is found at its position', () => {
  fc.assert(
    fc.property(log, fc.nat(), (items, which) => {
      const { index, line } = pickLine(items, which)
      foundAt(items.toSpliced(index, 1), line.seq)
    }),
  )
})

test('Two swapped lines are found at the first of them', () => {
  fc.assert(
    fc.property(log, fc.nat(), fc.nat(), (items, one, other) => {
      const [a, b] = [pickLine(items, one), pickLine(items, other)]
      fc.pre(a.index !== b.index)
      const swapped = items.with(a.index, items[b.index]!).with(b.index, items[a.index]!)
      foundAt(swapped, Math.min(a.line.seq, b.line.seq))
    }),
  )
})

test('A log truncated anywhere is detected by an auditor that knows the signed head', () => {
  fc.assert(
    fc.property(log, fc.nat(), (items, which) => {
      const { index, line } = pickLine(items, which)
      const last = items.at(-1) as LogItem & { kind: 'checkpoint' }
      const cut = items.slice(0, index)
      foundAt(cut, line.seq, { signed: last.checkpoint })
    }),
  )
})

test('Any edit of a checkpoint is found at its line or before', () => {
  const edit = fc.constantFrom('seq', 'head', 'at', 'key', 'signature')
  fc.assert(
    fc.property(log, fc.nat(), edit, fc.nat(), (items, which, field, how) => {
      const indexes = items.flatMap((item, i) => (item.kind === 'checkpoint' ? [i] : []))
      const index = indexes[which % indexes.length]!
      const { checkpoint } = items[index] as LogItem & { kind: 'checkpoint' }
      const value = changed(checkpoint[field as keyof Checkpoint], how)
      const edited = { ...checkpoint, [field]: value } as Checkpoint
      // A first checkpoint under another key makes all others look foreign; either way some line is named.
      const bound = field === 'key' ? Infinity : checkpoint.seq
      foundBy(items.with(index, { kind: 'checkpoint', checkpoint: edited }), bound)
    }),
  )
})

test('Checkpoints of another key are refused', () => {
  fc.assert(
    fc.property(log, (items) => {
      assert.ok(!audited(items, { key: Buffer.alloc(32).toString('base64') }).ok)
    }),
  )
})

test('Any changed byte of an exported file, or any byte missing at its end, is found', () => {
  const path = join(folder, 'export.jsonl')
  const bytes = exported()
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, by) => {
      const edited = Buffer.from(bytes)
      edited[at] = edited[at]! ^ by
      writeFileSync(path, edited)
      const audit = verifyFile(path)
      assert.ok(!audit.ok)
      assert.ok(audit.firstBad!.seq <= lineAt(bytes, at))
      writeFileSync(path, bytes.subarray(0, at))
      assert.ok(!verifyFile(path).ok)
    }),
  )
  writeFileSync(path, bytes)
  assert.ok(verifyFile(path).ok)
})

test('A duplicated, removed or moved row of an exported file is found', () => {
  const path = join(folder, 'rows.jsonl')
  const rows = exported().toString().trimEnd().split('\n')
  fc.assert(
    fc.property(fc.nat(rows.length - 1), fc.nat(rows.length - 1), (a, b) => {
      const moved = rows.with(a, rows[b]!).with(b, rows[a]!)
      for (const changed of [rows.toSpliced(a, 1), rows.toSpliced(a, 0, rows[a]!), moved]) {
        if (changed.join() === rows.join()) continue
        writeFileSync(path, `${changed.join('\n')}\n`)
        assert.ok(!verifyFile(path).ok)
      }
    }),
  )
})

test('A name added to a line of an exported file is found, also one that JavaScript takes for a prototype', () => {
  const path = join(folder, 'named.jsonl')
  const text = exported().toString()
  for (const name of ['__proto__', 'constructor', 'toString']) {
    writeFileSync(path, text.replace('"body":{', `"body":{"${name}":1,`))
    assert.ok(!verifyFile(path).ok, name)
    writeFileSync(path, text.replace('"format":1,"hash"', `"format":1,"${name}":1,"hash"`))
    assert.ok(!verifyFile(path).ok, name)
  }
})

test('A damaged database never crashes an audit', () => {
  const path = join(folder, 'damaged.db')
  const store = openStore(path, 0)
  for (const part of [1, 2, 3]) store.append(line(part))
  store.close()
  const bytes = readFileSync(path)
  fc.assert(
    fc.property(
      fc.nat(bytes.length - 1),
      fc.uint8Array({ minLength: 1, maxLength: 64 }),
      (at, put) => {
        const damaged = Buffer.from(bytes)
        damaged.set(put.subarray(0, bytes.length - at), at)
        writeFileSync(path, damaged)
        const audit = verifyFile(path)
        assert.equal(audit.ok, audit.firstBad === undefined)
      },
    ),
  )
})

test('An audit of garbage terminates and finds no log', () => {
  const path = join(folder, 'garbage')
  const garbage = fc.oneof(
    fc.uint8Array({ maxLength: 5000 }),
    fc.string({ unit: 'binary', maxLength: 500 }).map((text) => Buffer.from(text)),
    fc.json().map((text) => Buffer.from(`${text}\n${text}\n`)),
    fc
      .uint8Array({ maxLength: 500 })
      .map((b) => Buffer.concat([Buffer.from('SQLite format 3\0'), b])),
  )
  fc.assert(
    fc.property(garbage, (bytes) => {
      writeFileSync(path, bytes)
      assert.equal(verifyFile(path).firstBad?.seq, 1)
    }),
  )
})

test('A row without an end is refused at the length limit', () => {
  const path = join(folder, 'long')
  writeFileSync(path, Buffer.alloc(12 << 20, 'x'))
  assert.match(verifyFile(path).firstBad!.why, /too long/)
})

const { publicKey, privateKey } = generateKeyPairSync('ed25519')
const key = Buffer.from(publicKey.export({ format: 'jwk' }).x!, 'base64url').toString('base64')

function made(all: readonly (Parameters<typeof draft>[0] & { signed: boolean })[]): LogItem[] {
  let head: ChainHead = { seq: 0, head: chainStart }
  return all.flatMap((part, i) => {
    const kind = i === 0 ? 'genesis' : part.kind
    const { digest: _, ...line } = extend(head, draft({ ...part, kind }))
    head = { seq: line.seq, head: line.hash }
    const checkpoint = { kind: 'checkpoint' as const, checkpoint: signed(head) }
    const signs = part.signed || i === all.length - 1
    return [{ kind: 'line' as const, line }, ...(signs ? [checkpoint] : [])]
  })
}

function signed({ seq, head }: ChainHead): Checkpoint {
  const statement = checkpointStatement({ seq, head, at: 7, key })
  const signature = sign(null, Buffer.from(statement), privateKey).toString('base64')
  return { format: 1, seq, head, at: 7, key, signature }
}

function audited(
  items: readonly LogItem[],
  known: TrustAnchor = {},
): ReturnType<Auditor['result']> {
  const auditor = new Auditor(known)
  auditor.takeAll(items)
  return auditor.result()
}

function foundAt(items: readonly LogItem[], seq: number, known: TrustAnchor = {}): void {
  const audit = audited(items, known)
  assert.ok(!audit.ok, 'the change was not seen')
  assert.equal(audit.firstBad!.seq, seq, JSON.stringify(audit))
}

function foundBy(items: readonly LogItem[], seq: number): void {
  const audit = audited(items)
  assert.ok(!audit.ok, 'the change was not seen')
  assert.ok(audit.firstBad!.seq >= 1 && audit.firstBad!.seq <= seq, JSON.stringify(audit))
}

function pickLine(items: readonly LogItem[], which: number): { index: number; line: StoredLine } {
  const indexes = items.flatMap((item, i) => (item.kind === 'line' ? [i] : []))
  const index = indexes[which % indexes.length]!
  return { index, line: (items[index] as LogItem & { kind: 'line' }).line }
}

/** Another value of the same type. */
function changed(value: unknown, how: number): unknown {
  if (typeof value === 'number') return value + 1 + (how % 1000)
  if (typeof value !== 'string') return 'x'
  const at = how % (value.length + 1)
  return value.slice(0, at) + (value[at] === '0' ? '1' : '0') + value.slice(at + 1)
}

function line(part: number): ReturnType<typeof draft> {
  const body = { part, text: 'ü\u0000 "\ud83d\ude00' }
  return draft({ at: part, kind: 'event', run: null, tenant: 'acme', status: null, body })
}

function exported(): Buffer {
  const path = join(folder, 'audit.db')
  const store = openStore(path, 0)
  for (const part of [1, 2, 3, 4]) {
    store.append(line(part))
    if (part % 2 === 0) store.addCheckpoint(signed(store.head()))
  }
  store.close()
  const rows = [...exportRows(path)].join('')
  rmSync(path)
  return Buffer.from(rows)
}

/** Last line that a changed byte can spoil: its own, or the one after a checkpoint. */
function lineAt(bytes: Buffer, at: number): number {
  const start = at === 0 ? 0 : bytes.lastIndexOf(10, at - 1) + 1
  const row = JSON.parse(bytes.subarray(start, bytes.indexOf(10, at)).toString())
  if (row.kind === 'mayfly-audit') return Infinity
  return row.signature ? row.seq + 1 : row.seq
}
