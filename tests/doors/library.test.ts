import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, suite, test as always } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { decodeTagged, Mayfly, MayflyError, outcomeSchema } from '../../src/index.ts'
import { createMockProvider } from '../../src/tiers/mock/provider.ts'
import { test } from '../fixtures/drawn.ts'
import { firstLine } from '../fixtures/first-line.ts'
import { descendantsOf } from '../hostile/proc.ts'
import { documentOf, makePlace, mayfly, remaining, startServer, whenReady } from './program.ts'

const place = makePlace()
const index = new URL('../../src/index.ts', import.meta.url).href
let library: Mayfly

before(async () => {
  library = await Mayfly.open({ state: join(place.state, 'library') })
})
after(async () => {
  await library.close()
  place.remove()
})

/** Runs a body and returns its result; the test fails unless the status is `ok`. */
async function valueOf(code: string, input: unknown = null): Promise<unknown> {
  const { status, result, encoding, error } = await library.run({ code, input })
  assert.equal(status, 'ok', JSON.stringify(error))
  return encoding === 'tagged' ? decodeTagged(result) : result
}

suite('An application that uses the library', () => {
  test('Exits at once with code 0 when its `await using` block ends', () => {
    const { status, stdout, stderr } = script(`
      await using mayfly = await Mayfly.open()
      const outcome = await mayfly.run({ code: 'return input.a * 2', input: { a: 21 } })
      console.log(outcome.status, outcome.result)
    `)
    assert.deepEqual([status, stdout, stderr], [0, 'ok 42\n', ''])
  })

  test('Exits with code 0 if it opens Mayfly and does not use it', () => {
    const { status, stderr } = script('await using mayfly = await Mayfly.open()')
    assert.deepEqual([status, stderr], [0, ''])
  })

  test('Exits with its own error, not with one of Mayfly', () => {
    const { status, stderr } = script(`
      await using mayfly = await Mayfly.open()
      throw new Error('mine')
    `)
    assert.equal(status, 1)
    assert.match(stderr, /Error: mine/)
  })

  test('Exits although Mayfly is still open, and leaves no process', async () => {
    const { status, stdout } = script(`
      const mayfly = await Mayfly.open()
      const outcome = await mayfly.run({ code: 'return 1' })
      console.log(outcome.result)
    `)
    assert.deepEqual([status, stdout], [0, '1\n'])
  })

  test('Leaves no process when it is killed by SIGKILL', async () => {
    const child = start(`
      const mayfly = await Mayfly.open()
      const code = 'console.log("runs"); for (;;) {}'
      await mayfly.run({ code, limits: { timeout: '60s' } }, { tap: (_, text) => console.log(text) })
    `)
    assert.equal(await firstLine(child), 'runs')
    const all = [child.pid!, ...descendantsOf(child.pid!)]
    child.kill('SIGKILL')
    assert.ok(all.length > 2)
    assert.deepEqual(await remaining(all), [])
  })
})

suite('A job of the library', () => {
  test('Jobs run beside each other, each with its own input and result', async () => {
    const inputs = Array.from({ length: 40 }, (_, n) => n)
    const code = 'await new Promise((done) => setTimeout(done, input % 7)); return input * 2'
    const outcomes = await Promise.all(inputs.map((input) => library.run({ code, input })))
    assert.deepEqual(
      outcomes.map(({ result }) => result),
      inputs.map((n) => n * 2),
    )
    for (const outcome of outcomes) outcomeSchema.parse(outcome)
  })

  test('Aborting cancels it, before and while it runs', async () => {
    const cancel = new AbortController()
    const job = { code: 'for (;;) {}', limits: { timeout: '30s' } }
    const running = library.run(job, { signal: cancel.signal })
    setTimeout(() => cancel.abort(), 200)
    assert.equal((await running).status, 'cancelled')
    const { status, metrics } = await library.run(job, { signal: cancel.signal })
    assert.deepEqual([status, metrics.executionTime], ['cancelled', 0])
  })

  test('Output is delivered while the job runs, and is in the outcome too', async () => {
    const heard: string[] = []
    let isOver = false
    const running = library.run(
      {
        code: 'console.log("one"); await new Promise((d) => setTimeout(d, 300)); console.error("two")',
      },
      { tap: (stream, text) => void heard.push(`${stream} ${isOver ? 'late' : text}`) },
    )
    const { stdout, stderr } = await running
    isOver = true
    assert.deepEqual(heard, ['stdout one\n', 'stderr two\n'])
    assert.deepEqual([stdout, stderr], ['one\n', 'two\n'])
  })

  test('A guest that crashes never throws at its caller (S4-19)', async () => {
    const crashes = [
      'throw null',
      'throw { toString() { throw 1 } }',
      'const a = []; for (;;) a.push(new Array(1e6).fill(a))',
      'const f = () => f(); return f()',
      'return { get a() { throw new Error("x") } }',
      'Promise.reject(new Error("nobody hears")); return 1',
      'setTimeout(() => { throw new Error("later") }); return await new Promise(() => {})',
      'return new Proxy({}, { ownKeys() { throw 1 } })',
    ]
    for (const code of crashes) {
      const outcome = await library.run({ code, limits: { timeout: '2s', memory: '32MB' } })
      assert.equal(outcomeSchema.parse(outcome).tier, 'isolate', code)
    }
    assert.equal(await valueOf('return 1'), 1)
  })

  test('An invalid request throws an error with the path of the fault', async () => {
    const wrong = { code: 'return 1', limits: { timeout: 'soon' } }
    await assert.rejects(async () => library.run(wrong), /"limits\.timeout": expected a duration/)
    const unknown = { code: 'return 1', timeout: 5 } as { code: string }
    await assert.rejects(async () => library.run(unknown), MayflyError)
  })
})

suite('Results keep their types (S0-16)', () => {
  test('A Date, a Map, a Set, a BigInt, bytes, NaN, Infinity and -0 are returned unchanged', async () => {
    const value = await valueOf(`return {
      date: new Date(86400000), map: new Map([['a', 1n]]), set: new Set([NaN]), bytes: new Uint8Array([0, 255]),
      odd: [-0, Infinity, -Infinity, undefined], plain: { a: [1, 'b', null, true] },
    }`)
    assert.deepEqual(value, {
      date: new Date(86_400_000),
      map: new Map([['a', 1n]]),
      set: new Set([NaN]),
      bytes: new Uint8Array([0, 255]),
      odd: [-0, Infinity, -Infinity, undefined],
      plain: { a: [1, 'b', null, true] },
    })
  })

  test('A value with a JSON form is plain JSON, also with a key called $type', async () => {
    const { result, encoding } = await library.run({ code: 'return { a: [1, null, "x"] }' })
    assert.deepEqual([result, encoding], [{ a: [1, null, 'x'] }, 'json'])
    assert.deepEqual(await valueOf('return { $type: "Date", value: "never" }'), {
      $type: 'Date',
      value: 'never',
    })
  })

  test('A circular result is an error with its path', async () => {
    const { status, error } = await library.run({
      code: 'const a = { b: [] }; a.b.push(a); return a',
    })
    assert.deepEqual([status, error?.code], ['error', 'RESULT_CIRCULAR'])
    assert.match(error?.message ?? '', /result\.b\[0\]/)
  })

  test('A key __proto__ is a key, going in and coming out, and touches no prototype', async () => {
    const code = 'return [Object.keys(input), input.polluted, ({}).polluted, input]'
    const input = JSON.parse('{"__proto__":{"polluted":true}}') as unknown
    const [keys, own, other, back] = (await valueOf(code, input)) as unknown[]
    assert.deepEqual([keys, own ?? null, other ?? null], [['__proto__'], null, null])
    assert.deepEqual(Object.keys(back as object), ['__proto__'])
    assert.equal(({} as Record<string, unknown>)['polluted'], undefined)
  })

  test('A stream over its limit is truncated and marked, and a result over its limit is an error', async () => {
    const { stdout, truncated } = await library.run({
      code: 'for (let i = 0; i < 5000; i++) console.log("é".repeat(100)); return 1',
      limits: { output: '64KB' },
    })
    assert.deepEqual(truncated, { stdout: true, stderr: false })
    assert.ok(Buffer.byteLength(stdout) <= 64 * 1024 && !stdout.includes('\ufffd'))
    const large = await library.run({ code: 'return "x".repeat(5 * 2 ** 20)' })
    assert.notEqual(large.status, 'ok')
    assert.equal(large.result, null)
  })
})

suite('Rights that were not granted', () => {
  const absent: readonly (readonly [row: string, what: string, code: string])[] = [
    ['S3-6', 'the file system', "await import('node:fs')"],
    ['S3-6', 'Deno and Bun, which have files', 'Deno ?? Bun'],
    ['S3-7', 'fetch', 'await fetch("http://127.0.0.1/")'],
    ['S3-7', 'XMLHttpRequest', 'new XMLHttpRequest()'],
    ['S3-7', 'a socket', 'new WebSocket("ws://127.0.0.1/")'],
    ['S3-8', 'process', 'process.env'],
    ['S3-8', 'the process by globalThis', 'globalThis.process.exit(1)'],
    ['S3-9', 'require', "require('fs')"],
    ['S3-9', 'a dynamic import of a built-in', "await import('child_process')"],
    ['S3-9', 'a dynamic import of an address', "await import('https://example.com/a.js')"],
    ['S3-9', 'WebAssembly', 'new WebAssembly.Memory({ initial: 1 })'],
  ]
  for (const [row, what, code] of absent)
    test(`${row}: ${what} is undefined or refused`, async () => {
      const caught = `try { ${code}; return ['had'] } catch (error) { return ['refused', error.name] }`
      const { result, error } = await library.run({ code: caught, language: 'js' })
      assert.deepEqual((result as string[] | null)?.[0], 'refused', JSON.stringify(error ?? result))
    })
})

suite('Overriding the configuration at run time (S4-16)', () => {
  always(
    'Narrowing is free and holds from the next job on; widening must be said by name',
    async () => {
      await using own = await Mayfly.open({ state: join(place.state, 'override') })
      const timeoutOf = async () => {
        const { profile } = await own.run({ code: 'return 1' })
        return profile.explain.find(({ field }) => field === 'limits.timeout')?.value
      }
      assert.equal(await timeoutOf(), 5000)
      assert.equal(own.override({ limits: { timeout: '1s' } }).limits.timeout, 1000)
      assert.equal(await timeoutOf(), 1000)
      assert.throws(() => own.override({ limits: { timeout: '9s' } }), { code: 'FORBIDDEN' })
      assert.equal(await timeoutOf(), 1000)
      own.override({ limits: { timeout: '9s' } }, { widen: true, principal: 'ada' })
      assert.equal(await timeoutOf(), 9000)
      assert.throws(() => own.override({ limit: {} } as object), { code: 'INVALID' })
    },
  )

  always(
    'Functions of the caller are globals of JavaScript, but for names that it has already',
    async () => {
      await using own = await Mayfly.open({ state: join(place.state, 'functions') })
      const price = async (item: unknown, count: unknown = 1) =>
        (item === 'tea' ? 3 : 5) * Number(count)
      const functions = { price, console: () => 1 }
      const told = async (code: string, language: 'js' | 'ts' = 'js') =>
        (await own.run({ code, language }, { functions })).result
      assert.deepEqual(
        await told(`const own = await call('host.call', ['console'])
          return [await price('tea', 2), await price('x'), typeof console.log, own]`),
        [6, 5, 'function', 1],
      )
      assert.equal(
        await told('export default async (): Promise<number> => await price("x")', 'ts'),
        5,
      )
      assert.equal((await own.run({ code: 'return typeof price' })).result, 'undefined')
      const { error } = await own.run(
        { code: 'await fail(1)' },
        { functions: { fail: (of) => Promise.reject(new RangeError(`no ${String(of)}`)) } },
      )
      assert.match(error?.message ?? '', /no 1/)
    },
  )

  always(
    'A misspelt option of a run, a session or an analysis is an error that names it',
    async () => {
      await using own = await Mayfly.open({ state: join(place.state, 'options') })
      const options = { tennant: 'acme' } as object
      const refused = { code: 'INVALID', details: { path: 'tennant' } }
      await assert.rejects(own.run({ code: 'return 1' }, options), refused)
      await assert.rejects(own.batch({ code: 'return 1' }, [1], options), refused)
      await assert.rejects(own.open({ language: 'python' }, options), refused)
      await assert.rejects(own.analyze({ code: 'return 1' }, options), refused)
      const zones = await own.initializeExecution('return 1')
      await assert.rejects(own.monitorZones(zones, options), refused)
      await using box = await own.open({ language: 'js' })
      await assert.rejects(box.run({ code: '1' }, options), refused)
      assert.throws(() => own.override({}, options), refused)
    },
  )

  always(
    'An option of a wrong kind is an error that names it, and no job is recorded',
    async () => {
      await using own = await Mayfly.open({ state: join(place.state, 'kinds') })
      const wrong = [
        ['signal', ['x', null, {}, new EventTarget()]],
        ['tap', ['x', null]],
        ['functions', ['x', null, []]],
        ['packages', ['x', [5], ['']]],
        ['principal', [5, null]],
        ['traceparent', [5]],
      ] as const
      for (const [path, values] of wrong)
        for (const value of values)
          await assert.rejects(own.run({ code: 'return 1' }, { [path]: value }), {
            code: 'INVALID',
            details: { path },
          })
      for (const options of [null, 5, []])
        await assert.rejects(own.run({ code: 'return 1' }, options as never), { code: 'INVALID' })
      for (const inputs of [undefined, 'abc', new Set([1])])
        await assert.rejects(own.batch({ code: 'return 1' }, inputs as never), { code: 'INVALID' })
      await assert.rejects(own.addProvider({} as never), { code: 'INVALID' })
      assert.equal(own.statistics().jobs, 0)
    },
  )

  always(
    'A provider with the name of a built-in wall, or of another, is refused; the mock is replaced',
    async () => {
      const state = join(place.state, 'names')
      const scripted = createMockProvider({ script: () => [{ result: 'scripted' }] })
      const named = (name: string) => ({ ...scripted, name })
      for (const providers of [[named('isolated-vm')], [named('gvisor')], [scripted, scripted]])
        await assert.rejects(Mayfly.open({ state }, { providers }), { code: 'INVALID' })
      await using own = await Mayfly.open({ state }, { providers: [scripted] })
      await assert.rejects(own.addProvider(named('isolated-vm')), { code: 'INVALID' })
      const results = []
      for (const provider of ['mock', 'isolated-vm'])
        results.push((await own.run({ code: 'return 1', provider })).result)
      assert.deepEqual(results, ['scripted', 1])
    },
  )

  always('An error of a listener of zones is not one of their execution', async () => {
    await using own = await Mayfly.open({ state: join(place.state, 'listener') })
    const zones = await own.initializeExecution('return 42')
    let heard = 0
    const on = () => {
      heard++
      throw new Error('of the listener')
    }
    const { status, result } = await own.monitorZones(zones, { on })
    assert.deepEqual([status, result, heard > 0], ['ok', 42, true])
  })

  always(
    'Listeners of an exec that throw or reject stop no phase of its session, no outcome, and not the application',
    async () => {
      const state = join(place.state, 'throwing')
      const phases = [
        { name: 'full', for: '3s' },
        { name: 'shut', for: '60s', network: 'none' as const },
      ]
      await using own = await Mayfly.open({ state, schedules: { default: { phases } } })
      await using box = await own.open({ language: 'js', network: 'open' })
      let heard = 0
      const fails = () => {
        heard++
        throw new Error('of the listener')
      }
      const rejects = async () => fails()
      const code = 'await new Promise((resolve) => setTimeout(resolve, 5000)); 42'
      const { status, result, timeline } = await box.run({ code }, { on: fails, files: rejects })
      assert.deepEqual([status, result, heard > 2], ['ok', 42, true])
      assert.ok(timeline.some(({ event, phase }) => event === 'tightened' && phase === 'shut'))
      heard = 0
      const zones = await own.initializeExecution('return 42')
      assert.equal((await own.monitorZones(zones, { on: rejects })).result, 42)
      assert.ok(heard > 0)
    },
  )

  always('An override is in the record, with its principal', async () => {
    const state = join(place.state, 'override')
    const lines = documentOf(
      await mayfly(place, ['audit', 'list', '--json', '--state', state]),
    ) as unknown as { body: Record<string, unknown> }[]
    const said = lines.filter(({ body }) => body['point'] === 'config/overridden')
    assert.equal(said.length, 2)
    assert.match(JSON.stringify(said[1]), /ada/)
  })
})

test('Jobs that run or wait when it closes are cancelled, and end in the record; then none is taken', async () => {
  const state = join(place.state, 'closed')
  const own = await Mayfly.open({ state })
  const began = Promise.withResolvers<void>()
  const loop = { code: 'console.log("go"); for (;;) {}', limits: { timeout: '60s' } } as const
  const jobs = [
    own.run(loop, { tap: () => began.resolve() }),
    own.run({ ...loop, language: 'node' }),
    own.batch({ ...loop, language: 'ts' }, [1, 2]),
  ]
  await began.promise
  await own.close()
  const outcomes = await Promise.all(jobs)
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['cancelled', 'cancelled', 'cancelled'],
  )
  const closed = { code: 'CONFLICT', message: 'Cannot use Mayfly: it was closed' }
  await assert.rejects(own.run({ code: 'return 1' }), closed)
  for (const call of [
    () => own.open(),
    () => own.analyze({ code: 'return 2' }),
    () => own.analyzeCode('return 2'),
    () => own.createTemporalZones('return 2'),
    () => own.initializeExecution('return 2'),
    () => own.providers(),
    async () => own.statistics(),
    async () => own.override({ limits: { timeout: '1s' } }),
  ])
    await assert.rejects(call, closed, String(call))
  const lines = documentOf(
    await mayfly(place, ['audit', 'list', '--json', '--state', state]),
  ) as unknown as { kind: string; run: string; status: string }[]
  const ended = lines.filter(({ kind }) => kind === 'ended')
  assert.deepEqual(ended.map(({ run }) => run).toSorted(), outcomes.map(({ id }) => id).toSorted())
})

test('A wall that breaks and cannot be destroyed either ends its session with the first cause, then the second', async () => {
  const mock = createMockProvider()
  const launch: typeof mock.launch = async (...given) => {
    const fail = () => Promise.reject(new Error('no such cgroup'))
    return Object.assign(await mock.launch(...given), { [Symbol.asyncDispose]: fail })
  }
  const detect = async () => ({ available: true, strength: 5, layers: [], missing: [] }) as const
  const can = ['session'] as const
  const wall = { ...mock, name: 'alone', tier: 'microvm', can, detect, launch } as const
  await using own = await Mayfly.open({ state: join(place.state, 'twice') }, { providers: [wall] })
  await assert.rejects(own.open({ language: 'python', provider: 'alone' }), {
    code: 'UNAVAILABLE',
    message:
      'Cannot open a session: a wall of "mock" takes a single task; then its wall was not destroyed: no such cgroup',
  })
})

test('S4-45: jobs on the mock prove no other wall and start one analysis process, and the next job gets its wall', async () => {
  const seen: string[] = []
  await using own = await Mayfly.open(
    { state: join(place.state, 'mock') },
    {
      sinks: [
        ({ point, fields }) => {
          const { provider, program } = fields as { provider?: string; program?: string }
          if (point === 'tier/proved') seen.push(provider!)
          if (point === 'pool/refilled') seen.push(program!)
        },
      ],
    },
  )
  for (const code of ['return 1', 'return 2']) {
    const { status, provider } = await own.run({ code, provider: 'mock' })
    assert.deepEqual([status, provider], ['ok', 'mock'])
  }
  // Longer than a library waits for its first job.
  await sleep(100)
  assert.deepEqual(seen.toSorted(), ['analyst', 'mock'])
  const { result, tier } = await own.run({ code: 'return 6 * 7' })
  assert.deepEqual([result, tier], [42, 'isolate'])
  assert.ok(seen.includes('isolated-vm'))
})

test('An unused provider opens no file (S4-18)', { skip: noStrace() }, () => {
  const trace = join(place.cwd, 'trace')
  const args = [
    '-f',
    '-z',
    '-e',
    'trace=openat,open',
    '-o',
    trace,
    process.execPath,
    programOf(oneJob),
  ]
  const { status, stdout } = spawnSync('strace', args, { env: place.env, encoding: 'utf8' })
  assert.deepEqual([status, stdout], [0, '42\n'])
  const opened = spawnSync('grep', ['-o', 'src/tiers/[^"]*', trace], { encoding: 'utf8' }).stdout
  const files = [...new Set(opened.trim().split('\n'))]
  assert.ok(
    files.some((file) => file.startsWith('src/tiers/isolated-vm/')),
    opened,
  )
  assert.deepEqual(
    files.filter((file) => !file.startsWith('src/tiers/isolated-vm/')),
    [],
  )
})

test('Two libraries, a server and runs share a state folder; one is killed, and no line is lost', async () => {
  const shared = makePlace()
  const libraries: ReturnType<typeof start>[] = []
  try {
    await using server = await startServer(shared)
    await whenReady(server)
    const loop = `
      const mayfly = await Mayfly.open()
      for (let n = 0; ; n++) {
        const { evidence } = await mayfly.run({ code: 'return input', input: n })
        console.log(evidence.audit)
      }
    `
    libraries.push(start(loop, shared.env), start(loop, shared.env))
    const told = libraries.map((child) => numbersFrom(child))
    const posted: Promise<number>[] = []
    for (let n = 0; n < 30; n++) posted.push(postOne(server.active, server.apiKey, n))
    const runs = [0, 1].map((n) =>
      mayfly(shared, ['run', '-', '--json'], { stdin: `return ${n}` }).then(
        (ran) => documentOf(ran)['evidence'].audit as number,
      ),
    )
    const seqs = await Promise.all([...posted, ...runs])
    await until(() => told.every((numbers) => numbers.length > 5))
    for (const child of libraries) child.kill('SIGKILL')
    await Promise.all(libraries.map((child) => once(child, 'close')))
    assert.deepEqual((await server.stop()).left, [])

    // The next start closes the lines that killed processes left open.
    assert.equal((await mayfly(shared, ['run', '-'], { stdin: 'return 1' })).code, 0)
    const all = [...seqs, ...told.flat()]
    const lines = documentOf(
      await mayfly(shared, ['audit', 'list', '--limit', '100000', '--json']),
    ) as unknown as { seq: number; kind: string; run: string }[]
    const ended = new Set(lines.filter(({ kind }) => kind === 'ended').map(({ seq }) => seq))
    assert.deepEqual(
      all.filter((seq) => !ended.has(seq)),
      [],
      'every reported job is in the record',
    )
    assert.equal(new Set(all).size, all.length)
    const open = new Set<string>()
    for (const { kind, run } of lines)
      if (kind === 'admitted') open.add(run)
      else if (kind === 'ended' || kind === 'closed') open.delete(run)
    assert.deepEqual([...open], [])
    const verified = await mayfly(shared, ['audit', 'verify', '--json'])
    assert.equal(documentOf(verified)['ok'], true, verified.stdout)
  } finally {
    for (const child of libraries) child.kill('SIGKILL')
    shared.remove()
  }
})

const oneJob = `
  await using mayfly = await Mayfly.open()
  console.log((await mayfly.run({ code: 'return 42' })).result)
`

/** Path of a program in a folder without a package.json. */
function programOf(code: string): string {
  const file = join(place.cwd, `program-${(programs += 1)}.mjs`)
  writeFileSync(file, `import { Mayfly } from ${JSON.stringify(index)}\n${code}`)
  return file
}

let programs = 0
const quiet = '--disable-warning=ExperimentalWarning'

function script(code: string) {
  return spawnSync(process.execPath, [quiet, programOf(code)], {
    env: place.env,
    encoding: 'utf8',
    timeout: 30_000,
  })
}

function start(code: string, env = place.env) {
  return spawn(process.execPath, [quiet, programOf(code)], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
}

/** Yields the numbers that a program prints, as they arrive. */
function numbersFrom({ stdout }: ReturnType<typeof start>): readonly number[] {
  const numbers: number[] = []
  createInterface(stdout).on('line', (line) => numbers.push(Number(line)))
  return numbers
}

/** Posts a job, and retries while the overloaded server refuses it. */
async function postOne(active: string, apiKey: string, input: number): Promise<number> {
  for (let tries = 0; ; tries++) {
    const response = await fetch(new URL('/v1/executions', active), {
      method: 'POST',
      headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ code: 'return input', input }),
    })
    const answer = (await response.json()) as { evidence: { audit: number } }
    if (response.status === 200) return answer.evidence.audit
    assert.ok([429, 503].includes(response.status) && tries < 100, JSON.stringify(answer))
    await sleep(100)
  }
}

async function until(is: () => boolean): Promise<void> {
  for (let tries = 0; tries < 4500 && !is(); tries++) await sleep(20)
  assert.ok(is())
}

function noStrace(): string | false {
  const { status } = spawnSync('strace', ['-o', '/dev/null', 'true'])
  return status === 0 ? false : 'strace is missing, or may not trace here'
}
