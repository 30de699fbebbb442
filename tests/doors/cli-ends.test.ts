import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, suite } from 'node:test'
import { exitCodeOf, outcomeSchema, type Status } from '../../src/index.ts'
import { test } from '../fixtures/drawn.ts'
import { packed } from '../fixtures/packed.ts'
import { bin, documentOf, makePlace, mayfly, type Ran, type RunOptions } from './program.ts'

/** Every status that a job can end with on the command line: its exit code, its outcome, its line in the record. */
const place = makePlace()
after(() => place.remove())

interface Case {
  readonly title: string
  readonly status: Status
  readonly code?: string
  readonly source: string
  /** File name; its extension selects the language. */
  readonly name?: string
  readonly args?: readonly string[]
  readonly config?: string
}

const cases: readonly Case[] = [
  { title: 'code that returns', status: 'ok', source: 'return input' },
  {
    title: 'code that throws',
    status: 'error',
    code: 'USER_ERROR',
    source: 'throw new Error("x")',
  },
  {
    title: 'code that does not parse',
    status: 'error',
    code: 'SYNTAX_ERROR',
    source: 'return 1 +',
  },
  {
    title: 'a result that contains itself',
    status: 'error',
    code: 'RESULT_CIRCULAR',
    source: 'const a = {}; a.a = a; return a',
  },
  {
    title: 'a risk from which on code is blocked',
    status: 'blocked',
    code: 'THREAT_DETECTED',
    source: 'return this.constructor.constructor("return process")()',
  },
  {
    title: 'a tier below the floor of the tenant',
    status: 'blocked',
    code: 'TIER_TOO_WEAK',
    source: 'return 1',
    args: ['--tier', 'isolate'],
    config: '[[tenants]]\nname = "default"\nfloor = "process"\n',
  },
  {
    title: 'an endless loop',
    status: 'timeout',
    code: 'TIMEOUT',
    source: 'for (;;) {}',
    args: ['--timeout', '200ms'],
  },
  {
    title: 'more memory than its limit',
    status: 'limit',
    code: 'MEMORY',
    source: 'const hoard = []; for (;;) hoard.push(new Array(1e5).fill(1))',
    args: ['--memory', '32MB'],
  },
  {
    title: 'a language that the tier asked for does not run',
    status: 'unavailable',
    code: 'UNAVAILABLE',
    source: 'true',
    name: 'job.sh',
    args: ['--tier', 'wasm'],
  },
  {
    title: 'an unavailable tier',
    status: 'unavailable',
    code: 'UNAVAILABLE',
    source: 'return 1',
    args: ['--tier', 'userkernel'],
  },
  {
    title: 'a risk whose configured escalation needs a stronger wall',
    status: 'unavailable',
    code: 'UNAVAILABLE',
    source: packed,
    args: ['--config', 'escalation.toml'],
  },
  {
    title: 'a result that its schema does not allow',
    status: 'refused',
    code: 'SCHEMA_MISMATCH',
    source: 'return 1',
    args: ['--output-schema', 'schema.json'],
  },
]

suite('Each status of a job has its exit code and a complete outcome', () => {
  writeFileSync(join(place.cwd, 'schema.json'), '{"type":"string"}')
  const steps = '0 = "isolate"\n40 = "process"\n60 = "microvm"\n'
  writeFileSync(join(place.cwd, 'escalation.toml'), `[escalation]\n${steps}`)

  for (const one of cases)
    test(`${exitCodeOf[one.status]} ${one.status}: ${one.title}`, async () => {
      const ran = await run(one)
      const outcome = outcomeOf(ran)
      assert.equal(outcome.status, one.status, JSON.stringify(outcome.error))
      assert.equal(outcome.error?.code, one.code)
      assert.equal(ran.code, exitCodeOf[one.status])
      assert.equal(outcome.evidence.audit, (await lastLine(outcome.id)).seq)
    })

  test('130 cancelled: SIGINT', async () => {
    // The first line on stderr reports that a phase has begun: the job runs, and the signal handlers are installed.
    const args = ['--timeout', '20s', '--watch']
    const ran = await run(
      { title: '', status: 'cancelled', source: 'for (;;) {}', args },
      (child) => void child.stderr!.once('data', () => child.kill('SIGINT')),
    )
    assert.equal(outcomeOf(ran).status, 'cancelled')
    assert.equal(ran.code, 130)
  })

  test('9 failed: standard output cannot be written, as on a full disk', () => {
    writeFileSync(join(place.cwd, 'one.js'), 'console.log("a line"); return 1')
    for (const flags of [[], ['--json'], ['--once']]) {
      const { status, stderr } = fullOf(['run', 'one.js', ...flags])
      assert.equal(status, 9, stderr)
      assert.match(stderr, /^mayfly: Cannot write to standard output: ENOSPC/m)
      assert.doesNotMatch(stderr, /node:|\bat /)
    }
  })

  test('130 cancelled: the reader of its output closes the pipe', async () => {
    writeFileSync(join(place.cwd, 'prints.js'), 'for (;;) console.log("a line")')
    const ran = headOf(['run', 'prints.js', '--timeout', '20s', '--output', '500MB', '--quiet'])
    assert.deepEqual([ran.status, ran.stdout], [130, 'a line\n'], ran.stderr)
    assert.doesNotMatch(ran.stderr, /EPIPE|node:/)
    const listed = await mayfly(place, ['audit', 'list', '--json'])
    const lines = documentOf(listed) as unknown as Record<string, any>[]
    assert.equal(lines.findLast(({ kind }) => kind === 'ended')?.['status'], 'cancelled')
  })

  test('A command whose reader closes the pipe ends without a message', () => {
    for (const args of [['--help'], ['audit', 'list'], ['run', '--help']]) {
      const ran = headOf(args)
      assert.deepEqual([ran.status, ran.stderr], [0, ''], args.join(' '))
    }
  })

  test('The record holds every job, and verifies', async () => {
    await run({ title: '', status: 'ok', source: 'return input' })
    const ran = await mayfly(place, ['audit', 'verify', '--json'])
    assert.deepEqual([ran.code, documentOf(ran)['ok']], [0, true])
  })
})

suite('The profile is reproducible, and positions are reported', () => {
  test('The same job has the same profile in every run', async () => {
    const job: Case = { title: '', status: 'ok', source: 'return input', args: ['--input', '1'] }
    const [a, b] = [outcomeOf(await run(job)), outcomeOf(await run(job))]
    assert.match(a.profile.digest, /^sha256:[0-9a-f]{64}$/)
    assert.equal(a.profile.digest, b.profile.digest)
    assert.notEqual(a.id, b.id)
    const other = outcomeOf(await run({ ...job, args: ['--timeout', '4s'] }))
    assert.notEqual(other.profile.digest, a.profile.digest)
  })

  test('A JavaScript error has the place in the source as it was written', async () => {
    const { error } = outcomeOf(await run({ ...thrower, source: '\n\n  null.x\n' }))
    assert.match(error?.stack ?? '', /job\.js:3:8/)
  })

  test('A TypeScript error has the place in the source as it was written', async () => {
    const source = 'interface A { a: number }\nconst a: A = { a: 1 }\n  throw new Error(`${a.a}`)\n'
    const { error } = outcomeOf(await run({ ...thrower, source, name: 'job.ts' }))
    assert.match(error?.stack ?? '', /job\.ts:3:9/)
  })

  test('An error in a file of the job has the place in that file', async () => {
    writeFileSync(join(place.cwd, 'part.js'), '\nexport const part = () => {\n  null.x\n}\n')
    const source = 'import { part } from "./part.js"\nexport default () => part()\n'
    const { error } = outcomeOf(await run({ ...thrower, source, args: ['--file', 'part.js'] }))
    assert.match(error?.stack ?? '', /part\.js:3:8[^]*job\.js:2:22/)
  })

  test('A source that does not parse has its line and column', async () => {
    const { error } = outcomeOf(await run({ ...thrower, source: 'const a = 1\nconst = 2\n' }))
    assert.deepEqual(error?.details, { line: 2, column: 7 })
  })

  test('The timeline of a terminated run ends with its termination, after its first phase', async () => {
    const job: Case = { title: '', status: 'timeout', source: 'for (;;) {}' }
    const { timeline } = outcomeOf(await run({ ...job, args: ['--timeout', '100ms'] }))
    assert.deepEqual(
      [timeline.at(0)?.event, timeline.at(0)?.at, timeline.at(-1)?.event],
      ['phase', 0, 'terminated'],
    )
  })
})

const thrower: Case = { title: '', status: 'error', source: '' }

function run(
  { source, name = 'job.js', args = [], config }: Case,
  started?: RunOptions['started'],
): Promise<Ran> {
  writeFileSync(join(place.cwd, name), source)
  if (config) writeFileSync(join(place.cwd, 'config.toml'), config)
  const configured = config ? ['--config', 'config.toml'] : []
  return mayfly(place, ['run', name, '--json', ...args, ...configured], started ? { started } : {})
}

/** Outcome of a run, checked to have all required parts, whatever the end. */
function outcomeOf(ran: Ran) {
  return outcomeSchema.parse(documentOf(ran))
}

/** The command with its standard output on a full disk. */
function fullOf(args: readonly string[]) {
  const { cwd, env } = place
  const words = ['-c', '"$0" "$@" > /dev/full', process.execPath, bin, ...args]
  return spawnSync('sh', words, { cwd, env, encoding: 'utf8', timeout: 240_000 })
}

async function lastLine(id: string): Promise<Record<string, any>> {
  const ran = await mayfly(place, ['audit', 'list', '--run', id, '--json'])
  const lines = documentOf(ran) as unknown as Record<string, any>[]
  assert.deepEqual([lines.at(0)?.['kind'], lines.at(-1)?.['kind']], ['admitted', 'ended'])
  return lines.at(-1)!
}

/** The command in a pipe whose reader reads one line and exits. */
function headOf(args: readonly string[]) {
  const line = '"$0" "$@" | head -n 1; exit ${PIPESTATUS[0]}'
  const { cwd, env } = place
  const words = ['-c', line, process.execPath, bin, ...args]
  return spawnSync('bash', words, { cwd, env, encoding: 'utf8', timeout: 240_000 })
}
