import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { EffectError, Mayfly, SecureSandbox } from '../../src/index.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { op, wasm } from '../fixtures/wasm.ts'
import { begunBelow, descendantsOf } from '../hostile/proc.ts'
import { remaining } from './program.ts'

/** The tests promised for SecureSandbox, point by point; the detector has its own file. */
const MB = 2 ** 20
const state = mkdtempSync(join(tmpdir(), 'mayfly-secure-sandbox-'))
const { MAYFLY_STATE } = process.env
process.env['MAYFLY_STATE'] = join(state, 'state')
after(() => {
  if (MAYFLY_STATE === undefined) delete process.env['MAYFLY_STATE']
  else process.env['MAYFLY_STATE'] = MAYFLY_STATE
  rmSync(state, { recursive: true, force: true })
})

suite('SecureSandbox', () => {
  let mayfly: Mayfly
  let sandbox: SecureSandbox
  before(async () => {
    mayfly = await Mayfly.open({ escalation: { 0: 'isolate' } })
    sandbox = new SecureSandbox({ memoryLimit: 128, timeout: 5000, mayfly })
  })
  after(async () => {
    await sandbox.destroy()
    await mayfly.close()
  })
  let effects = 0

  /** Registers code under a fresh name and executes it. */
  async function execute(code: string, input?: unknown, by = sandbox): Promise<unknown> {
    const id = `effect-${++effects}`
    await by.registerEffect(id, code)
    return by.executeEffect(id, input)
  }

  suite('Isolate creation and management (S3-13)', () => {
    test('Creating an isolate twice with the same name is an error', async () => {
      await sandbox.createIsolate('made')
      await assert.rejects(sandbox.createIsolate('made'), { code: 'CONFLICT' })
      await sandbox.registerEffect('made', 'return 1')
      assert.equal(await sandbox.executeEffect('made'), 1)
      await sandbox.destroyIsolate('made')
      await assert.rejects(sandbox.executeEffect('made'), { code: 'CONFLICT' })
    })

    test('A destroyed isolate cannot be used; destroying it again does nothing (S3-18)', async () => {
      await sandbox.registerEffect('gone', 'return 1')
      await sandbox.destroyIsolate('gone')
      await sandbox.destroyIsolate('gone')
      const gone = { name: 'MayflyError', code: 'CONFLICT', message: /it was destroyed/ }
      await assert.rejects(sandbox.createIsolate('gone'), gone)
      await assert.rejects(sandbox.registerEffect('gone', 'return 1'), gone)
      await assert.rejects(sandbox.executeEffect('gone'), gone)
      await assert.rejects(sandbox.getMemoryUsage('gone'), gone)
    })

    test('An isolate that is destroyed while its effect is registered takes none, with that reason', async () => {
      const own = new SecureSandbox()
      const destroyed = { name: 'MayflyError', code: 'CONFLICT', message: /it was destroyed/ }
      for (const [id, end] of [
        ['isolate', () => own.destroyIsolate('isolate')],
        ['sandbox', () => own.destroy()],
      ] as const) {
        const refused = assert.rejects(own.registerEffect(id, 'return 1'), destroyed, id)
        await end()
        await refused
      }
    })

    test('Destroying an isolate terminates its running code', async () => {
      await sandbox.registerEffect('endless', 'for (;;) {}')
      const running = sandbox.executeEffect('endless')
      const ended = assert.rejects(running, { name: 'EffectError', code: 'CANCELLED' })
      await sleep(100)
      await sandbox.destroyIsolate('endless')
      await ended
    })

    test('Invalid names and invalid limits are errors', async () => {
      await assert.rejects(sandbox.createIsolate(''), { code: 'INVALID' })
      await assert.rejects(sandbox.createIsolate('x'.repeat(201)), { code: 'INVALID' })
      for (const limits of [
        { timeout: 0 },
        { timeout: 1.5 },
        { memoryLimit: 4 },
        { memoryLimit: NaN },
      ])
        assert.throws(() => new SecureSandbox(limits), { code: 'INVALID' })
    })

    test('An option that there is not is an error which names it and those that there are', () => {
      const misspelt = { memoryLimitMB: 64 } as object
      assert.throws(() => new SecureSandbox(misspelt), {
        code: 'INVALID',
        message: /"memoryLimitMB"/,
        hint: /memoryLimit, timeout, enableWasm, tenant, mayfly/,
      })
    })
  })

  suite('Effect registration (S3-14)', () => {
    test('Code that does not parse is an error with its line and column, and replaces nothing', async () => {
      await sandbox.registerEffect('parsed', 'return 1')
      await assert.rejects(
        sandbox.registerEffect('parsed', 'const a = 1\nreturn (;'),
        (error: any) => {
          assert.equal(error.code, 'INVALID')
          assert.deepEqual([error.details.line, error.details.column], [2, 9])
          return true
        },
      )
      assert.equal(await sandbox.executeEffect('parsed'), 1)
    })

    test('A registration that fails reserves no name, and a name that was reserved before stays', async () => {
      const bad = 'return (;'
      await assert.rejects(sandbox.registerEffect('free', bad), { code: 'INVALID' })
      await sandbox.createIsolate('free')
      await assert.rejects(sandbox.registerEffect('free', bad), { code: 'INVALID' })
      await assert.rejects(sandbox.createIsolate('free'), { code: 'CONFLICT' })
      const both = await Promise.allSettled([
        sandbox.registerEffect('shared', bad),
        sandbox.registerEffect('shared', 'return 1'),
      ])
      assert.deepEqual(
        both.map(({ status }) => status),
        ['rejected', 'fulfilled'],
      )
      assert.equal(await sandbox.executeEffect('shared'), 1)
    })

    test('Registering again replaces the code', async () => {
      await sandbox.registerEffect('replaced', 'return 1')
      await sandbox.registerEffect('replaced', 'return 2')
      assert.equal(await sandbox.executeEffect('replaced'), 2)
    })

    test('Another language than JavaScript and TypeScript, and an option that there is not, are errors', async () => {
      for (const options of [{ language: 'python' }, { language: 'node' }, { lang: 'ts' }])
        await assert.rejects(sandbox.registerEffect('other', 'return 1', options as object), {
          code: 'INVALID',
          message: /^Cannot use (the option "lang"|"language": expected "js" or "ts")/,
        })
    })

    test('TypeScript is registered by its language', async () => {
      await sandbox.registerEffect('typed', 'const n: number = input; return n + 1', {
        language: 'ts',
      })
      assert.equal(await sandbox.executeEffect('typed', 41), 42)
    })
  })

  suite('Effect execution (S3-15)', () => {
    test('A result keeps its type', async () => {
      const result = await execute(
        'return { at: new Date(0), big: 1n, map: new Map([[1, input]]) }',
        'x',
      )
      assert.deepEqual(result, { at: new Date(0), big: 1n, map: new Map([[1, 'x']]) })
    })

    test('Executing before registering is an error', async () => {
      await assert.rejects(sandbox.executeEffect('never'), {
        name: 'MayflyError',
        code: 'NOT_FOUND',
      })
      await sandbox.createIsolate('empty')
      await assert.rejects(sandbox.executeEffect('empty'), {
        name: 'MayflyError',
        code: 'CONFLICT',
        message: /register it first/,
      })
    })

    test('An error of an effect is an EffectError with its position in the source', async () => {
      const thrown = await execute('const a = 1\nthrow new TypeError("no")').catch((error) => error)
      assert.ok(thrown instanceof EffectError)
      assert.equal(thrown.status, 'error')
      assert.equal(thrown.message, 'no')
      assert.equal(thrown.outcome.error?.name, 'TypeError')
      assert.match(thrown.outcome.error?.stack ?? '', /:2:7/)
    })

    test('Two effects share no globals, and an effect keeps none between its executions', async () => {
      const count = 'globalThis.n = (globalThis.n ?? 0) + 1; return n'
      await sandbox.registerEffect('count-a', count)
      await sandbox.registerEffect('count-b', count)
      const seen = []
      for (const id of ['count-a', 'count-a', 'count-b']) seen.push(await sandbox.executeEffect(id))
      assert.deepEqual(seen, [1, 1, 1])
    })

    test('Concurrent effects do not affect each other', async () => {
      const results = await Promise.all(
        Array.from({ length: 8 }, (_, n) =>
          execute('globalThis.own = input; await null; return own', n),
        ),
      )
      assert.deepEqual(results, [0, 1, 2, 3, 4, 5, 6, 7])
    })
  })

  suite('Security isolation: process, file system and network are not available', () => {
    for (const name of [
      'process',
      'require',
      'fetch',
      'XMLHttpRequest',
      'WebSocket',
      'Deno',
      'Bun',
      'module',
    ])
      test(`"${name}" is undefined`, async () => {
        assert.equal(await execute(`return typeof ${name}`), 'undefined')
      })

    // The message tells a name that is not there from a call that fails, or a result that cannot be returned.
    const noImport = /^Cannot import at run time: /
    for (const [what, code, message] of [
      ['The process', 'return process.env', /^process is not defined here: /],
      [
        'The file system by require',
        "return require('fs').readFileSync('/etc/passwd', 'utf8')",
        /^require is not defined here: /,
      ],
      [
        'The file system by import',
        "return (await import('node:fs')).readFileSync('/etc/passwd', 'utf8')",
        noImport,
      ],
      [
        'The network by import',
        "return (await import('node:http')).get('http://127.0.0.1')",
        noImport,
      ],
      [
        'The network by fetch',
        "return (await fetch('http://127.0.0.1')).status",
        /^fetch is not defined here: /,
      ],
      [
        'A child process',
        "return require('child_process').execSync('id')",
        /^require is not defined here: /,
      ],
    ] as const)
      test(`${what} is an error in the effect`, async () => {
        await assert.rejects(execute(code), { name: 'EffectError', status: 'error', message })
      })

    test('WebAssembly is undefined unless it is enabled', async () => {
      assert.equal(await execute('return typeof WebAssembly'), 'undefined')
    })
  })

  suite('VM escape prevention', () => {
    const escapes = {
      'the constructor chain': 'return this.constructor.constructor("return process")()',
      'the constructor of the input': 'return input.constructor.constructor("return process")()',
      'the constructor of console': 'return console.log.constructor("return process")()',
      'the prepared stack trace': `
        Error.prepareStackTrace = (_, frames) => frames.map((f) => f.getThis?.() ?? f.getFunction?.())
        const seen = new Error().stack
        return seen.find?.((value) => value?.process) ?? (() => { throw new Error('none') })()`,
      'a thrown proxy': `
        try { null.x } catch (e) { return e.constructor.constructor("return process")() }`,
      'an async function': 'return (async () => {}).constructor("return process")()',
    }
    for (const [by, code] of Object.entries(escapes))
      test(`No escape by ${by}`, async () => {
        // A process that was found would be an error too: it cannot be returned.
        const message = /^(?:process is not defined here: |none$)/
        await assert.rejects(execute(code, {}), { name: 'EffectError', status: 'error', message })
      })

    test('Changes to prototypes do not persist after the effect', async () => {
      await execute('Object.prototype.polluted = 1; Array.prototype.map = () => "mine"')
      assert.deepEqual(await execute('return [typeof {}.polluted, [1].map((n) => n + 1)]'), [
        'undefined',
        [2],
      ])
      assert.equal(({} as { polluted?: unknown }).polluted, undefined)
    })
  })

  suite('Resource management', () => {
    test('An effect that takes more memory than its limit ends, and this process goes on (S3-2, S3-10)', async () => {
      const small = new SecureSandbox({ memoryLimit: 16, mayfly })
      // 64 MB: the default limit would let it.
      const hoard =
        'globalThis.all = []; while (all.length < 80) all.push(new Array(1e5).fill(0.5))'
      await assert.rejects(execute(hoard, null, small), {
        name: 'EffectError',
        status: 'limit',
        code: 'MEMORY',
      })
      assert.equal(await execute('return 1', null, small), 1)
      await small.destroy()
    })

    test('The processes end with the last isolate, and start again with the next (S3-18)', async () => {
      const before = new Set(descendantsOf(process.pid))
      const own = () => begunBelow(process.pid, before)
      const alone = new SecureSandbox()
      await alone.registerEffect('a', 'return 1')
      await alone.registerEffect('b', 'return 2')
      assert.ok(own().length > 0)
      await alone.destroyIsolate('a')
      assert.equal(await alone.executeEffect('b'), 2)
      const begun = own()
      await alone.destroyIsolate('b')
      assert.deepEqual(own(), [])
      assert.deepEqual(await remaining(begun), [])
      await alone.registerEffect('c', 'return 3')
      assert.equal(await alone.executeEffect('c'), 3)
      await alone.destroy()
      assert.deepEqual(own(), [])
      await assert.rejects(alone.registerEffect('d', 'return 4'), { code: 'CONFLICT' })
    })
  })

  test('Open sandbox, detector and VM do not keep an application alive, and leave no process', () => {
    const file = join(state, 'program.mjs')
    const library = new URL('../../src/index.ts', import.meta.url).href
    writeFileSync(
      file,
      `import { SandboxThreatDetector, SecureSandbox, VM } from ${JSON.stringify(library)}
      const sandbox = new SecureSandbox()
      await sandbox.registerEffect('a', 'return 1')
      const { score } = await new SandboxThreatDetector().analyzeCode('eval(1)')
      console.log(await sandbox.executeEffect('a'), await new VM().run('2'), score)`,
    )
    const before = new Set(descendantsOf(process.pid))
    const ran = spawnSync(process.execPath, [file], { encoding: 'utf8', timeout: 30_000 })
    assert.equal(ran.status, 0, ran.stderr)
    assert.equal(ran.stdout, '1 2 80\n')
    assert.deepEqual(begunBelow(process.pid, before), [])
  })

  suite('Memory tracking (S3-17)', () => {
    test('Memory used is 0 before the first execution', async () => {
      await sandbox.createIsolate('unused')
      assert.deepEqual(await sandbox.getMemoryUsage('unused'), {
        used: 0,
        limit: 128 * MB,
        percentage: 0,
        peak: 0,
      })
    })

    test('Memory held by an effect is reported to within 20%', async () => {
      await sandbox.registerEffect('light', 'return 1')
      await sandbox.executeEffect('light')
      const { used: idle } = await sandbox.getMemoryUsage('light')
      const holding = 32 * MB
      await sandbox.registerEffect('heavy', 'globalThis.held = new Float64Array(input / 8).fill(1)')
      await sandbox.executeEffect('heavy', holding)
      const { used, peak, percentage, limit } = await sandbox.getMemoryUsage('heavy')
      const told = used - idle
      assert.ok(Math.abs(told - holding) < holding / 5, `${told} of ${holding}`)
      assert.ok(peak >= used)
      assert.equal(percentage, Math.round((used / limit) * 1000) / 10)
    })
  })

  suite('Timeout enforcement', () => {
    const endless = {
      'a loop': 'for (;;) {}',
      'a loop of promises': 'const again = () => Promise.resolve().then(again); await again()',
      'an expression that never matches': 'return /^(a+)+$/.test("a".repeat(40) + "b")',
      'a promise that never settles': 'await new Promise(() => {})',
    }
    for (const [what, code] of Object.entries(endless))
      test(`The timeout ends ${what} (S3-3, S3-11)`, async () => {
        const short = new SecureSandbox({ timeout: 250, mayfly })
        await assert.rejects(execute(code, null, short), {
          name: 'EffectError',
          status: 'timeout',
          code: 'TIMEOUT',
        })
        await short.destroy()
      })
  })

  suite('WebAssembly (S3-16)', () => {
    test('WebAssembly is refused unless enabled', async () => {
      await sandbox.createIsolate('wasm')
      await assert.rejects(sandbox.executeWasm('wasm', new Uint8Array(8)), { code: 'FORBIDDEN' })
    })

    test('An invalid module is refused with the position of the fault', async () => {
      const enabled = new SecureSandbox({ enableWasm: true, mayfly })
      await enabled.createIsolate('wasm')
      const bad = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 0xff)
      await assert.rejects(enabled.executeWasm('wasm', bad), {
        name: 'EffectError',
        message: /@\+9/,
      })
      await enabled.destroy()
    })

    test('Numbers go in, numbers come out', async () => {
      const enabled = new SecureSandbox({ enableWasm: true, mayfly })
      await enabled.createIsolate('wasm')
      assert.equal(await enabled.executeWasm('wasm', adds, [40, 2]), 42)
      assert.equal(await enabled.executeWasm('wasm', adds.buffer, [1, 2]), 3)
      await enabled.destroy()
    })

    test('Each view of bytes is a module, and what is no bytes is refused as such', async () => {
      const enabled = new SecureSandbox({ enableWasm: true, mayfly })
      await enabled.createIsolate('wasm')
      const view = new DataView(adds.buffer, adds.byteOffset, adds.byteLength)
      assert.equal(await enabled.executeWasm('wasm', view as never, [40, 2]), 42)
      for (const other of [
        Buffer.from(adds).toString('base64'),
        2 ** 30,
        [...adds],
        null,
        undefined,
        {},
      ])
        await assert.rejects(enabled.executeWasm('wasm', other as never, [40, 2]), {
          code: 'INVALID',
          message: /expected the bytes of a module/,
        })
      await assert.rejects(enabled.executeWasm('wasm', new ArrayBuffer(410 * MB)), {
        code: 'TOO_LARGE',
        message:
          'Cannot execute WebAssembly: the module has 429916160 bytes, and 25165824 is the maximum',
      })
      await enabled.destroy()
    })
  })

  test('The documented example runs unchanged (S3-12)', async () => {
    const sandbox = new SecureSandbox({
      memoryLimit: 128, // MB
      timeout: 5000, // ms
      enableWasm: true,
    })
    const code = 'return { got: input.input }'
    // A memory of one page, so that memory use can be reported.
    const wasmBytes = wasm({
      memory: { min: 1 },
      functions: [
        {
          export: 'run',
          params: ['i32', 'i32'],
          results: ['i32'],
          body: [...op.get(0), ...op.get(1), ...op.i32Add],
        },
      ],
    })
    const input = [1, 2]

    // Create isolated environment
    await sandbox.createIsolate('effect-id')

    // Register effect code
    await sandbox.registerEffect('effect-id', code)

    // Execute with input
    const result = await sandbox.executeEffect('effect-id', { input: 'data' })

    // WASM execution
    const sum = await sandbox.executeWasm('effect-id', wasmBytes, input)

    // Resource monitoring
    const memory = await sandbox.getMemoryUsage('effect-id')

    // Cleanup
    await sandbox.destroyIsolate('effect-id')

    assert.deepEqual(result, { got: 'data' })
    assert.equal(sum, 3)
    assert.equal(memory.used, 2 ** 16)
  })
})

/** `(module (func (export "run") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))` */
const adds = Uint8Array.from(
  Buffer.from(
    '0061736d0100000001070160027f7f017f030201000707010372756e00000a09010700200020016a0b',
    'hex',
  ),
)
