import assert from 'node:assert/strict'
import { generateKeyPairSync, sign } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { checkpointStatement, type Checkpoint } from '../../src/contract/evidence.ts'
import { draft, type ChainHead } from '../../src/evidence/chain.ts'
import { exportRows } from '../../src/evidence/export.ts'
import { openStore } from '../../src/evidence/store.ts'
import { verifyFile } from '../../src/evidence/verify.ts'
import { fuzz, mutated } from './seeded.ts'

/** A file for each case: on tmpfs, if present, they take half as long. */
const memory = '/dev/shm'
const folder = mkdtempSync(join(existsSync(memory) ? memory : tmpdir(), 'mayfly-fuzz-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const { publicKey, privateKey } = generateKeyPairSync('ed25519')
const key = Buffer.from(publicKey.export({ format: 'jwk' }).x!, 'base64url').toString('base64')

test('S4-35: An exported log with any change at all is refused, and an audit of it ends with a line and a reason', (t) => {
  const path = join(folder, 'log.jsonl')
  const samples = [2, 5].map(exported)
  for (const sample of samples) {
    writeFileSync(path, sample)
    assert.ok(verifyFile(path).ok)
  }
  const pieces = ['\n', '"__proto__":1,', '{}\n', '"seq":1,', '[', '[['.repeat(2000)]
  fuzz(t, {
    cases: 1000,
    long: 100_000,
    attempt(random) {
      const bytes = mutated(random, samples, pieces)
      writeFileSync(path, bytes)
      const audit = verifyFile(path)
      assert.equal(
        audit.ok,
        samples.some((sample) => sample.equals(bytes)),
      )
      if (audit.ok) return
      assert.ok(audit.firstBad && Number.isSafeInteger(audit.firstBad.seq))
      assert.ok(audit.firstBad.seq >= 1 && audit.firstBad.why.length > 0)
    },
  })
})

function exported(lines: number): Buffer {
  const path = join(folder, `audit-${lines}.db`)
  const store = openStore(path, 0)
  for (let at = 1; at <= lines; at++) {
    const body = { at, text: 'ü\u0000 "\ud83d\ude00' }
    store.append(draft({ at, kind: 'event', run: 'exec_1', tenant: 'acme', status: null, body }))
    if (at % 2 === 0 || at === lines) store.addCheckpoint(signed(store.head()))
  }
  store.close()
  return Buffer.from([...exportRows(path)].join(''))
}

function signed({ seq, head }: ChainHead): Checkpoint {
  const statement = checkpointStatement({ seq, head, at: 7, key })
  const signature = sign(null, Buffer.from(statement), privateKey).toString('base64')
  return { format: 1, seq, head, at: 7, key, signature }
}
