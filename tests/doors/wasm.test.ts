import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createMemoryRing, Mayfly, outcomeSchema, SecureSandbox } from '../../src/index.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { call, Program } from '../fixtures/wasi-program.ts'
import { op, wasm } from '../fixtures/wasm.ts'
import { documentOf, makePlace, mayfly, startServer, whenReady } from './program.ts'

const place = makePlace()
after(() => place.remove())

const adds = wasm({
  functions: [
    {
      export: 'run',
      params: ['i32', 'i32'],
      results: ['i32'],
      body: [...op.get(0), ...op.get(1), ...op.i32Add],
    },
  ],
})
const greets = new Program().say(1, 'hello\n').say(3, '{"greeted":true}').module
const job = { code: adds.toString('base64'), language: 'wasm', input: [2, 40] } as const

suite('A WebAssembly module', () => {
  test('Runs from the command line with nothing configured (S3-4)', async () => {
    const [add, greet] = ['add.wasm', 'greet.wasm'].map((name) => join(place.cwd, name))
    writeFileSync(add!, adds)
    writeFileSync(greet!, greets)
    const outcome = documentOf(await mayfly(place, ['run', add!, '--input', '[2,40]', '--json']))
    const { status, result, tier, provider, security } = outcomeSchema.parse(outcome)
    assert.deepEqual([status, result, tier, provider], ['ok', 42, 'wasm', 'wasi'])
    assert.ok(security.risk < 40)
    const { code, stdout } = await mayfly(place, ['run', greet!])
    assert.deepEqual([code, stdout], [0, 'hello\n{\n  "greeted": true\n}\n'])
  })

  test('A program passes its exit code on, and unused input that is piped in is told as such', async () => {
    const file = join(place.cwd, 'leaves.wasm')
    writeFileSync(file, new Program().does(op.i32(3), op.call(call.proc_exit)).module)
    const document = documentOf(await mayfly(place, ['run', file, '--json']))
    assert.equal(outcomeSchema.parse(document).exitCode, 3)
    const { code, stderr } = await mayfly(place, ['run', file, '--pass-exit-code'], { stdin: 'x' })
    assert.equal(code, 3)
    assert.match(stderr, /Standard input was not used: the program reads --input there/)
  })

  test('Is refused with the offset of the fault and exit code 1 if it is truncated', async () => {
    const file = join(place.cwd, 'broken.wasm')
    writeFileSync(file, adds.subarray(0, -3))
    const ran = await mayfly(place, ['run', file, '--json'])
    assert.equal(ran.code, 1)
    const { error } = documentOf(ran) as { error: { code: string; details: { offset: number } } }
    assert.equal(error.code, 'WASM_INVALID')
    assert.ok(error.details.offset > 8)
  })

  test('Runs over HTTP', async () => {
    await using server = await startServer(place)
    await whenReady(server)
    const response = await fetch(`${server.active}/v1/executions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${server.apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify(job),
    })
    const { status, result, tier } = outcomeSchema.parse(await response.json())
    assert.deepEqual([response.status, status, result, tier], [200, 'ok', 42, 'wasm'])
  })
})

suite('In the library', () => {
  const ring = createMemoryRing(1000)
  let library: Mayfly
  before(async () => {
    library = await Mayfly.open({ state: join(place.state, 'library') }, { sinks: [ring.sink] })
  })
  after(() => library.close())

  const proofs = () =>
    ring
      .after(0)
      .filter(({ point, fields }) => point === 'tier/proved' && fields['provider'] === 'wasi')

  test('No worker for modules is started before the first module, and then one serves all', async () => {
    assert.equal((await library.run({ code: 'return 1' })).result, 1)
    assert.equal(proofs().length, 0)
    const outcomes = await Promise.all([library.run(job), library.run(job), library.run(job)])
    assert.deepEqual(
      outcomes.map(({ result }) => result),
      [42, 42, 42],
    )
    assert.equal(proofs().length, 1)
  })

  test('A module below the floor of its job does not run', async () => {
    const { status, error } = await library.run({ ...job, floor: 'process' })
    assert.deepEqual([status, error?.code], ['unavailable', 'UNAVAILABLE'])
    const blocked = await library.run({ ...job, tier: 'isolate', floor: 'wasm' })
    assert.deepEqual([blocked.status, blocked.error?.code], ['blocked', 'TIER_TOO_WEAK'])
  })

  test('JavaScript has WebAssembly if the job requests it, and the profile shows it', async () => {
    const code = 'return typeof WebAssembly'
    assert.equal((await library.run({ code })).result, 'undefined')
    const { result, profile } = await library.run({ code, capabilities: ['webassembly'] })
    assert.equal(result, 'object')
    const granted = profile.explain.find(({ field }) => field === 'controls.capabilities')
    assert.deepEqual(granted?.value, ['webassembly'])
  })

  test('SecureSandbox gives WebAssembly to its effects only with enableWasm', async () => {
    for (const enableWasm of [true, false]) {
      await using sandbox = new SecureSandbox({ enableWasm, mayfly: library })
      await sandbox.registerEffect('kind', 'return typeof WebAssembly')
      const kind = await sandbox.executeEffect('kind')
      assert.equal(kind, enableWasm ? 'object' : 'undefined')
    }
  })
})

suite('Instructions of a module', () => {
  const countdown = op.loop([...op.get(0), ...op.i32(1), ...op.i32Sub, 0x22, 0, ...op.branchIf(0)])
  const module = wasm({ functions: [{ export: 'run', params: ['i32'], body: countdown }] })
  const code = module.toString('base64')
  const counts = { code, language: 'wasm', input: 100 } as const
  const open = (name: string, settings: object = {}) =>
    Mayfly.open({ state: join(place.state, name), ...settings })

  test('Are counted if a job limits them, and end the job beyond the limit, with a hint to raise it (S3-4)', async () => {
    await using library = await open('instructions')
    assert.equal((await library.run(counts)).metrics.instructions, undefined)
    const exact = await library.run({ ...counts, limits: { instructions: 500 } })
    assert.deepEqual([exact.status, exact.metrics.instructions], ['ok', 500])
    const roomy = await library.run({ ...counts, limits: { instructions: 600 } })
    assert.equal(roomy.metrics.instructions, 500)
    const { status, error, metrics } = await library.run({
      ...counts,
      limits: { instructions: 499 },
    })
    assert.deepEqual([status, error?.code, metrics.instructions], ['limit', 'INSTRUCTIONS', 499])
    assert.equal(
      error?.message,
      'The module ran more instructions than 499 ("limits.instructions" raises it)',
    )
  })

  test('Have a default and a ceiling in the configuration, for modules only', async () => {
    const settings = { limits: { instructions: 1000 }, ceilings: { instructions: 600 } }
    await using library = await open('capped', settings)
    assert.equal((await library.run(counts)).metrics.instructions, 500)
    const more = { ...counts, input: 200 }
    for (const limits of [{}, { instructions: 10_000 }]) {
      const { error, profile } = await library.run({ ...more, limits })
      assert.equal(error?.code, 'INSTRUCTIONS')
      const row = profile.explain.find(({ field }) => field === 'limits.instructions')
      assert.deepEqual([row?.value, row?.because], [600, 'ceilings.instructions'])
    }
    const { status, metrics } = await library.run({ code: 'return 1' })
    assert.deepEqual([status, metrics.instructions], ['ok', undefined])
    await using uncapped = await open('default', { limits: { instructions: 499 } })
    const { error, metrics: counted } = await uncapped.run(counts)
    assert.deepEqual([error?.code, counted.instructions], ['INSTRUCTIONS', 499])
  })

  test('Cannot be limited in another language: such a job is refused with the reason', async () => {
    await using library = await open('refused')
    for (const provider of [undefined, 'isolated-vm']) {
      const { status, error } = await library.run({
        code: 'return 1',
        language: 'js',
        limits: { instructions: 1000 },
        ...(provider && { provider }),
      })
      assert.equal(status, 'unavailable')
      assert.match(JSON.stringify(error), /counts (no )?instructions/)
    }
  })

  test('Are limited from the command line', async () => {
    const file = join(place.cwd, 'countdown.wasm')
    writeFileSync(file, module)
    const ran = await mayfly(place, ['run', file, '--input', '100', '--instructions', '400'])
    assert.equal(ran.code, 5)
    assert.match(ran.stderr, /more instructions than 400 \(--instructions 800 raises it\)/)
    const document = documentOf(
      await mayfly(place, ['run', file, '--input', '100', '--instructions', '500', '--json']),
    )
    assert.equal(outcomeSchema.parse(document).metrics.instructions, 500)
  })
})
