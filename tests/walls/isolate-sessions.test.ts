import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite } from 'node:test'
import { decodeTagged } from '../../src/lib/tagged.ts'
import { Mayfly, type Box } from '../../src/index.ts'
import { belowOf, cpuMsOf } from '../../src/os/process-tree.ts'
import { until } from '../conformance/stand.ts'
import type { RunRequest } from '../../src/contract/session.ts'
import { test } from '../fixtures/drawn.ts'

/** Generous deadline, because nothing is measured and a busy machine is slow. */
const unhurried = { timeout: '60s' }

/** Sessions of `js` and `ts` through the library: one isolate in one jailed worker each. */
suite('A session in an isolate', () => {
  let folder: string
  let mayfly: Mayfly
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mayfly-sessions-'))
    mayfly = await Mayfly.open({ state: join(folder, 'state') })
  })
  after(async () => {
    await mayfly.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const open = (more: Parameters<Mayfly['open']>[0] = {}) =>
    mayfly.open({ language: 'js', limits: unhurried, ...more })
  /** Result of a cell that must succeed. */
  async function value(box: Box, code: string, more: Partial<RunRequest> = {}): Promise<unknown> {
    const outcome = await box.run({ code, ...more })
    assert.equal(outcome.status, 'ok', JSON.stringify(outcome.error) + outcome.stderr)
    return outcome.result
  }

  test('names persist between execs, and each exec has its own output, error and outcome', async () => {
    await using box = await open()
    assert.deepEqual([box.row.tier, box.row.provider], ['isolate', 'isolated-vm'])
    await value(box, 'const x = 20; function twice(n) { return n * 2 }\nclass A { n = 3 }')
    assert.equal(await value(box, 'const y = await Promise.resolve(x + 1); twice(y)'), 42)
    assert.equal(await value(box, 'const x = new A().n; x + input', { input: 4 }), 7)
    const first = await box.run({ code: 'console.log("one"); console.error("err")' })
    const second = await box.run({ code: 'console.log("two")\n\nnull.f' })
    assert.deepEqual([second.status, second.error?.name], ['error', 'TypeError'])
    assert.match(second.error?.stack ?? '', /at cell-5\.js:3:6$/)
    const third = await box.run({ code: 'const f = (' })
    assert.deepEqual([third.error?.code, third.session?.state], ['SYNTAX_ERROR', 'kept'])
    assert.deepEqual(
      [first, second, third].map(({ stdout, stderr }) => [stdout, stderr]),
      [
        ['one\n', 'err\n'],
        ['two\n', ''],
        ['', ''],
      ],
    )
    assert.deepEqual([first.status, first.error, third.status], ['ok', undefined, 'error'])
    const ids = [first, second, third].flatMap(({ id, evidence }) => [id, evidence.audit])
    assert.equal(new Set(ids).size, 6)
    assert.deepEqual(await value(box, 'new Set([1])'), { $type: 'Set', value: [1] })
  })

  test('a job or a session whose files are too large for an isolate ends as TOO_LARGE, not as a lost wall', async () => {
    const content = 'x'.repeat(33 * 2 ** 20)
    const files = ['a', 'b'].map((path) => ({ path, content }))
    await assert.rejects(open({ files }), { code: 'TOO_LARGE' })
    const { tier, status, error } = await mayfly.run({ code: 'return 1', files })
    assert.deepEqual([tier, status, error?.code], ['isolate', 'error', 'TOO_LARGE'])
    const next = await mayfly.run({ code: 'return 1' })
    assert.deepEqual([next.tier, next.result], ['isolate', 1])
  })

  test('an end is renewed by a number of milliseconds or by text, and by nothing else', async () => {
    await using box = await open({ timeout: '60s' })
    for (const [time, ms] of [
      ['2m', 120_000],
      ['0.5h', 1_800_000],
      [90_000, 90_000],
      ['1500000ms', 1_500_000],
    ] as const) {
      const asked = Date.now()
      const end = Date.parse(box.renew(time).expiresAt) - ms
      assert.ok(end > asked - 5000 && end < Date.now() + 5000, `${time}: ${end - asked}`)
    }
    const { expiresAt } = box.row
    for (const time of ['120000', '2x', -5, 0, NaN] as (string | number)[])
      assert.throws(() => box.renew(time), { code: 'INVALID' }, String(time))
    // Each look reads two clocks, of which one has whole milliseconds.
    const moved = Date.parse(box.row.expiresAt) - Date.parse(expiresAt)
    assert.ok(Math.abs(moved) < 5000, `${moved}`)
  })

  test('an end is not renewed after it', async () => {
    await using box = await open()
    await box.close()
    assert.throws(() => box.renew('2m'), { code: 'SESSION_ENDED' })
  })

  for (const language of ['js', 'node'] as const)
    test(`a result of ${language} that is no data is its text`, async () => {
      await using box = await open({ language })
      const cells = [
        ['(function named() {})', /^\[Function: named\]$/],
        ['const ring = { say: \'a "quote"\' }; ring.ring = ring; ring', /say: 'a "quote"'/],
        ['Symbol("mark")', /^Symbol\(mark\)$/],
        ['[new WeakMap()]', /^\[ WeakMap \{/],
        ['({ get looked() { throw new Error("no") } })', /looked: \[Getter\]/],
        ['"\\0".repeat(3e6)', /^\0{65536}$/],
      ] as const
      for (const [code, text] of cells) {
        const { status, encoding, result, error } = await box.run({ code })
        assert.deepEqual([status, encoding], ['ok', 'text'], `${code}: ${JSON.stringify(error)}`)
        assert.match(String(result), text, code)
      }
      const promise = await box.run({ code: '({ all: [Promise.resolve(1)] })' })
      assert.match(String(promise.result), /^\{ all: \[ Promise/)
      assert.match(promise.stderr, /"result\.all\[0\]" is a promise: await it\n$/)
      const { result, encoding } = await box.run({ code: 'new RangeError("x")' })
      const { name, stack } = decodeTagged(result) as Error
      assert.deepEqual([encoding, name], ['tagged', 'RangeError'])
      assert.match(stack ?? '', /^RangeError: x\n    at cell-\d+\.js:1:1$/)
    })

  test('ts has its types erased, and imports the files of its session', async () => {
    const files = [{ path: 'lib.ts', content: 'export const half = (n: number): number => n / 2' }]
    await using box = await open({ language: 'ts', files })
    await value(box, 'import { half } from "./lib.ts"\nenum Size { Small = 4 }')
    await value(
      box,
      'interface P { n: number }\nconst p: P = { n: half(8) }\nenum Size { Small = 5 }',
    )
    assert.equal(await value(box, 'p.n + Size.Small'), 9)
  })

  test('a cell calls capabilities, and continues between two execs when a late answer arrives', async () => {
    await using box = await open({ capabilities: ['math.add'] })
    assert.equal(await value(box, 'await call("math.add", [2, 3])'), 5)
    for (let round = 0; round < 60; round++) {
      const late = `globalThis.late = call("math.add", [1, 1]).then(() => console.log("late")); 0`
      await value(box, late)
      const next = await box.run({ code: 'console.log("own"); await late' })
      const after = await box.run({ code: 'console.log("after")' })
      assert.deepEqual([next.stdout, after.stdout], ['own\n', 'after\n'])
      // Race: the answer arrives before or during the next exec, and belongs to that exec in neither case.
      const between = [next, after].flatMap(({ session }) => session?.between?.stdout ?? [])
      assert.deepEqual(between, ['late\n'])
    }
    const denied = await box.run({ code: 'await call("another")' })
    assert.equal(denied.error?.message.includes('not granted'), true)
  })

  test('an exec is interrupted at its timeout or by its caller, and the state persists', async () => {
    await using box = await open()
    await value(box, 'const x = 5')
    for (const code of ['for (;;);', 'await new Promise(() => {})']) {
      const late = await box.run({ code, limits: { timeout: '200ms' } })
      assert.deepEqual([late.status, late.session?.state], ['timeout', 'kept'], code)
      assert.equal(await value(box, 'x'), 5)
    }
    const given = new AbortController()
    const waits = box.run(
      { code: 'console.log("waits"); await new Promise(() => {})' },
      { signal: given.signal, tap: () => given.abort() },
    )
    await assert.rejects(box.run({ code: '1' }), { code: 'BUSY' })
    assert.equal((await waits).status, 'cancelled')
    assert.equal(await value(box, 'x'), 5)
  })

  test('more memory than its limit ends the session; output and results are bounded as those of a job', async () => {
    const box = await open({ limits: { ...unhurried, memory: '32MB' } })
    const flood = await box.run({
      code: 'for (let n = 0; n < 1e4; n++) console.log("x".repeat(100))',
      limits: { output: '4KB' },
    })
    assert.match(flood.stdout, /^x+\n[^]*… \d+ bytes left out …\nx[^]*x\n$/)
    assert.ok(flood.truncated.stdout && Buffer.byteLength(flood.stdout) <= 4096)
    const hungry = await box.run({
      code: 'const hog = []; for (;;) hog.push(new Array(1e5).fill(1.5))',
    })
    assert.deepEqual(
      [hungry.status, hungry.error?.code, hungry.session?.ended],
      ['limit', 'MEMORY', true],
    )
    await assert.rejects(box.run({ code: '1' }), {
      code: 'SESSION_ENDED',
      message: 'Cannot use the session: MEMORY ended it',
    })
    assert.equal((await box.close()).status, 'limit')
  })

  test('a buffer that does not fit, and a module of Node, are errors of an exec that keep the state', async () => {
    await using box = await open({ limits: { ...unhurried, memory: '64MB' } })
    await value(box, 'const x = 5')
    for (const [code, name, message] of [
      ['new ArrayBuffer(2 ** 30)', 'RangeError', /Array buffer allocation failed/],
      ['import it from "node:test"', 'Error', /is a module of Node/],
    ] as const) {
      const { status, error, session } = await box.run({ code })
      assert.deepEqual([status, error?.name, session?.state], ['error', name, 'kept'])
      assert.match(error?.message ?? '', message)
      assert.equal(await value(box, 'x'), 5)
    }
  })

  test('an exec that prints without end ends at its limit and keeps the state, or ends the session if it catches what stops it', async () => {
    const box = await open()
    await value(box, 'const x = 5')
    const more = { limits: { ...unhurried, output: '4KB' } }
    const printing = (of: string) => `console.${of}("x".repeat(1e5))`
    for (const code of [
      `for (;;) ${printing('log')}`,
      `for (;;) ${printing('error')}`,
      `for (;;) { await null; ${printing('log')} }`,
      `await new Promise(() => setInterval(() => { for (let n = 0; n < 9; n++) ${printing('log')} }))`,
      `try { for (;;) ${printing('log')} } catch (error) { console.log(error); 7 }`,
    ]) {
      const flood = await box.run({ code, ...more })
      assert.deepEqual([flood.status, flood.error?.code], ['limit', 'OUTPUT'], code)
      assert.deepEqual([flood.session?.state, flood.session?.ended], ['kept', false], code)
      const bytes = Buffer.byteLength(flood.stdout + flood.stderr)
      assert.ok(bytes > 4000 && bytes <= 4096, `${bytes}`)
      assert.equal(await value(box, 'x'), 5)
    }
    const halves = await box.run({ code: 'for (;;) console.log("\\ud83d".repeat(1e5))', ...more })
    assert.deepEqual([halves.error?.code, halves.session?.state], ['OUTPUT', 'kept'])
    assert.ok(halves.truncated.stdout && Buffer.byteLength(halves.stdout) > 4000)
    const some = await box.run({
      code: `for (let n = 0; n < 60; n++) ${printing('log')}; x`,
      ...more,
    })
    assert.deepEqual([some.status, some.result, some.truncated.stdout], ['ok', 5, true])
    const forever = `for (;;) try { ${printing('log')} } catch {} finally { continue }`
    const last = await box.run({ code: forever, ...more })
    assert.deepEqual([last.status, last.error?.code], ['limit', 'OUTPUT'])
    assert.deepEqual([last.session?.state, last.session?.ended], ['lost', true])
    await assert.rejects(box.run({ code: '1' }), { code: 'SESSION_ENDED' })
    const life = await box.close()
    assert.deepEqual([life.status, life.error?.code], ['limit', 'OUTPUT'])
  })

  test('files and commands are refused, and the session continues', async () => {
    await using box = await open()
    const refused = [
      () => box.files.list(),
      () => box.files.put('a.txt', 'a'),
      () => box.files.get('a.txt'),
      () => box.run({ command: ['ls'] }),
    ]
    for (const call of refused) await assert.rejects(call(), { code: 'INVALID' })
    assert.equal(await value(box, '1'), 1)
  })

  test('the worker of a session is not reused for another job', async () => {
    await mayfly.run({ code: 'return 1' })
    const box = await open()
    await value(box, 'globalThis.secret = 1')
    const before = new Map(workers().map((pid) => [pid, cpuMsOf([pid])]))
    await value(box, 'for (const end = Date.now() + 400; Date.now() < end;);')
    const used = [...before].map(([pid, ms]) => [cpuMsOf([pid]) - ms, pid] as const)
    const [, own] = used.toSorted(([a], [b]) => b - a)[0]!
    assert.equal((await box.close()).status, 'ok')
    await until(() => !workers().includes(own), 'the end of its worker')
    assert.equal((await mayfly.run({ code: 'return typeof secret' })).result, 'undefined')
  })

  test('withdrawn rights are not restored', async () => {
    await using box = await open({ capabilities: ['math.add'] })
    assert.equal(await value(box, 'await call("math.add", [1, 0])'), 1)
    await box.tighten({ capabilities: [] })
    assert.equal((await box.run({ code: 'await call("math.add", [1, 0])' })).status, 'error')
    assert.equal(await value(box, '1'), 1)
  })
})

/** Processes that run isolates, by their command line. */
function workers(): readonly number[] {
  return belowOf(process.pid).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('isolate-worker')
    } catch {
      return false
    }
  })
}
