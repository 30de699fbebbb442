import { signerFolder } from '../../src/lib/state-folder.ts'
import assert from 'node:assert/strict'
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../../src/contract/clock.ts'
import type { StoredLine } from '../../src/evidence/chain.ts'
import { openLog } from '../../src/evidence/log-reader.ts'
import { openRecord } from '../../src/evidence/record.ts'
import { verifyFile } from '../../src/evidence/verify.ts'
import { lastSigned } from '../../src/warden/sign.ts'

const program = fileURLToPath(new URL('../fixtures/record-writer.ts', import.meta.url))
const jobs = 150
let folder: string

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'mayfly-shared-'))
})
after(() => rmSync(folder, { recursive: true, force: true }))

test('Processes that share a state folder lose no line of the record, also when one of them is killed', async () => {
  const all = ['a', 'b', 'killed', 'living'].map((name) =>
    start(name, name === 'killed' || name === 'living'),
  )
  const [, , killed, living] = all
  await Promise.all(all.map(({ settled }) => settled))
  assert.equal(killed!.child.exitCode, null)
  killed!.child.kill('SIGKILL')
  await once(killed!.child, 'exit')

  const record = openRecord({ stateFolder: folder, clock: systemClock })
  assert.deepEqual(record.closeDead(), ['killed-open'])
  await record.close()
  const exit = once(living!.child, 'exit')
  living!.child.send('end')
  await exit

  const lines = linesHere()
  const said = all.flatMap(({ seqs }) => seqs)
  assert.equal(said.length, 4 * 2 * jobs + 2)
  assert.equal(new Set(said).size, said.length)
  assert.equal(lines.length, 1 + said.length + 1)
  const ends = lines
    .filter(({ run }) => run === 'killed-open')
    .map(({ kind, status }) => [kind, status])
  assert.deepEqual(ends, [
    ['admitted', null],
    ['closed', 'failed'],
  ])
  assert.deepEqual(
    lines.filter(({ run }) => run === 'living-open').map(({ kind }) => kind),
    ['admitted'],
  )
})

test('Concurrent writers produce one chain, signed to its end', () => {
  const signed = lastSigned(signerFolder(folder))
  const audit = verifyFile(join(folder, 'audit.db'), { key: signed?.key, signed })
  assert.deepEqual([audit.ok, audit.unsigned, signed?.seq], [true, 0, audit.lines])
})

interface Writer {
  readonly child: ChildProcess
  readonly seqs: readonly number[]
  /** Resolves when the writer has exited, or has admitted a job that it leaves open. */
  readonly settled: Promise<unknown>
}

function start(name: string, staysOpen: boolean): Writer {
  const args = [folder, name, String(jobs), ...(staysOpen ? ['last'] : [])]
  const child = fork(program, args, { timeout: 300_000, killSignal: 'SIGKILL' })
  const seqs: number[] = []
  const opened = Promise.withResolvers<void>()
  child.on('message', (said: { seqs?: number[]; open?: number }) => {
    seqs.push(...(said.seqs ?? [said.open!]))
    if (said.open) opened.resolve()
  })
  const exit = once(child, 'exit')
  return { child, seqs, settled: staysOpen ? Promise.race([opened.promise, exit]) : exit }
}

function linesHere(): readonly StoredLine[] {
  using log = openLog(join(folder, 'audit.db'))
  return [...log.lines()]
}
