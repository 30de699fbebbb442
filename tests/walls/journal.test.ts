import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../../src/contract/clock.ts'
import { openLog } from '../../src/evidence/log-reader.ts'
import { openRecord } from '../../src/evidence/record.ts'
import { verifyFile } from '../../src/evidence/verify.ts'
import { facts, job, plan, verdict } from '../fixtures/record.ts'

const program = fileURLToPath(new URL('../fixtures/journal-writer.ts', import.meta.url))
const rounds = process.env['MAYFLY_LONG'] ? 30 : 4

test('Killed writers lose no acknowledged line, and every audit in between reads one chain', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-killed-'))
  const path = join(folder, 'audit.db')
  const answered = new Map<number, string>()
  try {
    for (let round = 0; round < rounds; round += 1) {
      const writers = ['a', 'b'].map((name) => writer(folder, `${name}${round}`, answered))
      await Promise.all(writers.map(({ lines }) => lines(5 + ((round * 37) % 200))))
      for (let audits = 0; audits < 2; audits += 1) {
        const before = new Map(answered)
        const audit = verifyFile(path)
        assert.deepEqual(audit.firstBad, undefined)
        assertHas(path, before)
        await writers[0]!.lines(1)
      }
      for (const { child } of writers) child.kill('SIGKILL')
      for (const { child, ended } of writers) {
        await ended
        assert.equal(child.signalCode, 'SIGKILL', 'it wrote until it was killed')
      }
      const record = openRecord({ stateFolder: folder, clock: systemClock })
      record.closeDead()
      assert.deepEqual(record.closeDead(), [])
      await record.close()
      assert.ok(verifyFile(path).ok)
      assertHas(path, answered)
    }
    assert.ok(answered.size >= 2 * 5 * rounds)
    assertEnded(path)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test(
  'On a full disk no job begins, no partial line is left, and with space again jobs run, and one that ended meanwhile has its end',
  {
    skip: cannotMount(),
  },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'mayfly-full-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', folder])
    try {
      const record = openRecord({ stateFolder: folder, clock: systemClock })
      record.begin(job('before'), verdict, plan).end(facts)
      const during = record.begin(job('during'), verdict, plan)
      const filler = join(folder, 'filler')
      spawnSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=1k'], { stdio: 'ignore' })
      const journal = statSync(join(folder, 'audit.journal')).size
      await new Promise((wake) => setTimeout(wake, 20))
      for (let n = 0; n < 5; n += 1)
        assert.throws(() => record.begin(job(`full-${n}`), verdict, plan), { code: 'DISK_FULL' })
      assert.throws(() => during.end(facts), { code: 'DISK_FULL' })
      assert.equal(statSync(join(folder, 'audit.journal')).size, journal)
      assert.ok(verifyFile(join(folder, 'audit.db')).ok)
      rmSync(filler)
      record.begin(job('after'), verdict, plan).end(facts)
      await record.close()
      assert.ok(verifyFile(join(folder, 'audit.db')).ok)
      using log = openLog(join(folder, 'audit.db'))
      const lines = [...log.lines()].filter(({ run }) => run !== null)
      assert.deepEqual([...new Set(lines.map(({ run }) => run))], ['before', 'during', 'after'])
      assert.deepEqual(
        lines.filter(({ run }) => run === 'during').map(({ kind, status }) => [kind, status]),
        [
          ['admitted', null],
          ['ended', 'ok'],
        ],
      )
    } finally {
      execFileSync('umount', ['-l', folder])
      rmSync(folder, { recursive: true, force: true })
    }
  },
)

interface Writer {
  readonly child: ChildProcess
  /** Resolves after this many more acknowledged lines. */
  lines(count: number): Promise<void>
  readonly ended: Promise<unknown>
}

function writer(folder: string, name: string, answered: Map<number, string>): Writer {
  const args = ['--disable-warning=ExperimentalWarning', program, folder, name]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const input = createInterface(child.stdout)
  const waiting: (() => void)[] = []
  input.on('line', (line) => {
    const [seq, ...rest] = line.split(' ')
    // A kill may truncate the last printed line.
    if (rest.length === 2) answered.set(Number(seq), rest.join(' '))
    waiting.shift()?.()
  })
  const ended = Promise.all([once(child, 'exit'), once(input, 'close')])
  const lost = once(child, 'exit').then(() => assert.fail('the writer ended by itself'))
  lost.catch(() => undefined)
  const lines = async (count: number) => {
    const all = Array.from({ length: count }, () => new Promise<void>((said) => waiting.push(said)))
    await Promise.race([Promise.all(all), lost])
  }
  return { child, lines, ended }
}

function assertHas(path: string, answered: ReadonlyMap<number, string>): void {
  using log = openLog(path)
  const found = new Map(Array.from(log.lines(), (line) => [line.seq, `${line.hash} ${line.run}`]))
  for (const [seq, said] of answered) assert.equal(found.get(seq), said)
}

/** Asserts that each admitted line has one ended line. */
function assertEnded(path: string): void {
  using log = openLog(path)
  const lines = [...log.lines()]
  const countsOf = (...kinds: readonly string[]) => {
    const counts: Record<string, number> = {}
    for (const { kind, run } of lines)
      if (kinds.includes(kind)) counts[run ?? ''] = (counts[run ?? ''] ?? 0) + 1
    return counts
  }
  assert.deepEqual(countsOf('admitted'), countsOf('ended', 'closed'))
}

function cannotMount(): string | false {
  if (process.getuid?.() !== 0) return 'only root may mount a small disk'
  const { status } = spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'])
  return status !== 0 && 'root may mount nothing here'
}
