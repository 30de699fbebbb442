import assert from 'node:assert/strict'
import { tryWalls } from '../../src/walls/trials/try-walls.ts'
import type { TaskEnd } from '../../src/contract/provider.ts'
import { descendantsOf } from '../conformance/remains.ts'
import { inWasm } from '../conformance/guests-in-wasm.ts'
import { Stand, type Ended, type Made, type Wish } from '../conformance/stand.ts'
import { makeWasi } from '../conformance/wasi.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { call, Program } from '../fixtures/wasi-program.ts'
import {
  op,
  wasi,
  wasm,
  withName,
  type Func,
  type Parts,
  type ValueType,
} from '../fixtures/wasm.ts'

const PAGE = 65_536
const runs = process.env['MAYFLY_LONG'] ? 10_000 : 1_000

suite('The wasm wall', () => {
  const processesBefore = descendantsOf(process.pid).length
  let made: Made
  let stand: Stand
  before(async () => {
    made = await makeWasi()
    stand = new Stand(made.provider, makeWasi, inWasm)
  })
  after(async () => {
    await made.provider.close?.()
    await made.close()
    assert.equal(descendantsOf(process.pid).length, processesBefore)
  })

  const runBytes = (bytes: Buffer, wish: Wish = {}): Promise<Ended> =>
    stand.run(bytes.toString('base64'), { entry: 'function', ...wish })
  const runModule = async (parts: Parts, wish: Wish = {}) => (await runBytes(wasm(parts), wish)).end
  const runFunction = (func: Omit<Func, 'export'>, wish: Wish = {}, parts: Parts = {}) =>
    runModule({ ...parts, functions: [{ ...func, export: 'run' }] }, wish)
  const runProgram = (program: Program, wish: Wish = {}): Promise<Ended> =>
    stand.run(program.base64, wish)
  const nextAnswers = async () => {
    const end = await runFunction({ results: ['i32'], body: [...op.i32(7)] })
    assert.equal(end.resultText, '7', `after it: ${said(end)}`)
  }

  /** Module whose function returns its parameter. */
  const same = (type: ValueType, input: unknown) =>
    runFunction({ params: [type], results: [type], body: [...op.get(0)] }, { input })

  suite('Parameters and results are numbers', () => {
    test('Each type of number is returned unchanged (S3-16)', async () => {
      for (const [type, input] of [
        ['i32', -5],
        ['f32', 0.5],
        ['f64', 0.1],
        ['f64', 1e300],
      ] as const) {
        const end = await same(type, input)
        assert.deepEqual([end.resultText, end.encoding], [JSON.stringify(input), 'json'], said(end))
      }
    })

    test('A 64-bit number is a tagged BigInt, and so may be the input', async () => {
      const big = { $type: 'BigInt', value: '9007199254740993' }
      const end = await same('i64', big)
      assert.deepEqual(JSON.parse(end.resultText), big)
      assert.equal(end.encoding, 'tagged')
      assert.deepEqual(JSON.parse((await same('i64', 7)).resultText), {
        $type: 'BigInt',
        value: '7',
      })
    })

    test('Numbers without a JSON form (NaN, infinities, -0) are tagged', async () => {
      for (const value of ['NaN', 'Infinity', '-Infinity', '-0']) {
        const end = await same('f64', { $type: 'number', value })
        assert.deepEqual(JSON.parse(end.resultText), { $type: 'number', value })
      }
    })

    test('A list fills the parameters, several results are a list, no result is null', async () => {
      const swap = { params: ['i32', 'i32'], results: ['i32', 'i32'] } as const
      const end = await runFunction(
        { ...swap, body: [...op.get(1), ...op.get(0)] },
        { input: [1, 2] },
      )
      assert.equal(end.resultText, '[2,1]')
      assert.equal((await runFunction({ body: [] })).resultText, 'null')
    })

    test('An input that does not match the parameters is an error with that reason', async () => {
      const takesOne = { params: ['i32'], results: ['i32'], body: [...op.get(0)] } as const
      for (const input of [
        null,
        [1, 2],
        'text',
        1.5,
        2 ** 32,
        { $type: 'BigInt', value: 'x' },
        [[]],
      ]) {
        const end = await runFunction(takesOne, { input })
        assert.deepEqual([end.status, end.error?.code], ['error', 'WASM_INPUT'], said(end))
      }
    })

    test('A reference and a vector are refused as a result and as a parameter, with the reason', async () => {
      const vector = [...op.i32(7), 0xfd, 0x11]
      for (const [type, body] of [
        ['externref', [0xd0, 0x6f]],
        ['v128', vector],
      ] as const) {
        const result = await runFunction({ results: [type], body })
        assert.equal(result.error?.code, 'RESULT_NOT_DATA', said(result))
        const parameter = await runFunction({ params: ['i32', type], body: [] }, { input: [1, 2] })
        assert.equal(parameter.error?.code, 'WASM_INPUT', said(parameter))
        assert.match(parameter.error?.message ?? '', /parameter 2 of "run" takes no number$/)
      }
    })
  })

  suite('A program', () => {
    test('Reads its input, writes to both streams, and writes its result to fd 3 (S3-4)', async () => {
      const { end, stdout, stderr } = await runProgram(
        new Program().say(1, 'out\n').say(2, 'err\n').say(3, '{"n":').say(3, '1}'),
      )
      assert.deepEqual([end.resultText, stdout, stderr], ['{"n":1}', 'out\n', 'err\n'], said(end))
      const echoed = await stand.run(stand.guests.echo, { input: { deep: ['é'] } })
      assert.equal(echoed.end.resultText, '{"deep":["é"]}')
    })

    test('Has the result null when it writes none', async () => {
      assert.equal((await runProgram(new Program())).end.resultText, 'null')
    })

    test('Ends as an error when it exits with a code other than 0', async () => {
      const { end } = await runProgram(exitsWith(3))
      assert.deepEqual(end.error, {
        code: 'EXIT',
        message: 'The program exited with code 3',
        details: { exitCode: 3 },
      })
      assert.equal((await runProgram(exitsWith(0).say(1, 'late'))).stdout, '')
    })

    test('Has the exit code that it left with, 255 for a higher one, 0 if it returns, and none after a trap', async () => {
      for (const [program, exitCode] of [
        [exitsWith(3), 3],
        [exitsWith(0), 0],
        [exitsWith(256), 255],
        [exitsWith(-1), 255],
        [new Program(), 0],
        [new Program().does(op.unreachable), undefined],
      ] as const) {
        const { end } = await runProgram(program)
        assert.equal(end.exitCode, exitCode, said(end))
        assert.equal(end.error?.code === 'WASM_TRAP', exitCode === undefined, said(end))
      }
    })

    test('Has one argument, its own name', async () => {
      const shown = new Program().does(
        [...op.i32(64), ...op.i32(68), ...op.call(call.args_sizes_get), ...op.drop],
        [...op.i32(72), ...op.i32(80), ...op.call(call.args_get), ...op.drop],
      )
      const { stdout, end } = await runProgram(shown.write(1, 64, 26))
      assert.equal(stdout, '\u0001\0\0\0\u000a\0\0\0\u0050\0\0\0\0\0\0\0main.wasm\0', said(end))
    })

    test('Sleeps for the time that it names at least, also for a part of a millisecond', async () => {
      const now = (at: number) => [
        ...op.i32(1),
        0x42,
        0,
        ...op.i32(at),
        ...op.call(call.clock_time_get),
        ...op.drop,
      ]
      const [from, to] = [op.i32(1024), op.i32(2048)]
      const sleeps = new Program().does(
        now(64),
        [...op.i32(1024 + 16), ...op.i32(1), ...op.store()],
        [...op.i32(1024 + 24), ...op.i32(999_999), ...op.store()],
        [...from, ...to, ...op.i32(1), ...op.i32(0), ...op.call(call.poll_oneoff), ...op.drop],
        now(72),
      )
      const end = await runFunction(
        {
          results: ['i64'],
          body: [...sleeps.body, ...op.i32(72), 0x29, 3, 0, ...op.i32(64), 0x29, 3, 0, 0x7d],
        },
        {},
        { imports: Object.values(wasi), memory: { min: 1 } },
      )
      const { value } = JSON.parse(end.resultText) as { value: string }
      assert.ok(BigInt(value) >= 1_000_000n, said(end))
    })

    test('Counts as exited also if it catches its own exit', async () => {
      const program = new Program().does(
        [0x02, 0x40, 0x1f, 0x40, 1, 2, 0],
        [...op.i32(3), ...op.call(call.proc_exit)],
        [0x0b, 0x0b],
      )
      const { end } = await runProgram(program.say(3, '"late"'))
      assert.deepEqual([end.status, end.error?.code, end.resultText], ['error', 'EXIT', 'null'])
    })

    test('Cannot return more than its limit', async () => {
      const big = new Program().times(64, (inner) => inner.write(3, 0, 16_384))
      const { end: refused } = await runProgram(big, { limits: { result: 100_000 } })
      assert.equal(refused.error?.code, 'RESULT_TOO_LARGE')
    })

    test('Cannot return more bytes than its limit as text that is no UTF-8', async () => {
      const [mebibyte, count] = [2 ** 20, 8]
      const grows = [...op.i32(mebibyte / PAGE), ...op.grow, ...op.drop]
      const fills = [...op.i32(PAGE), ...op.i32(255), ...op.i32(mebibyte), ...op.memoryFill]
      const program = new Program()
        .does(grows, fills)
        .times(count, (inner) => inner.write(3, PAGE, mebibyte))
      const { end } = await runProgram(program, { limits: { result: count * mebibyte } })
      assert.deepEqual([end.status, end.error?.code], ['error', 'RESULT_TOO_LARGE'], said(end))
      await nextAnswers()
    })

    test('Ends at its limit when it writes without end, also if it catches what ends it, and the next job answers', async () => {
      const written = (fd: number) => new Program().write(fd, 1024, 16_384).body
      const caught = (body: number[]) => [0x02, 0x40, 0x1f, 0x40, 1, 2, 0, ...body, 0x0b, 0x0b]
      const forever = (body: number[]) => new Program().does(op.loop([...body, ...op.branch(0)]))
      const limits = { output: 1000, result: 1000, timeout: 60_000 }
      for (const fd of [1, 2, 3])
        for (const program of [forever(written(fd)), forever(caught(written(fd)))]) {
          const { end, stdout, stderr } = await runProgram(program, { limits })
          const expected = fd === 3 ? ['error', 'RESULT_TOO_LARGE'] : ['limit', 'OUTPUT']
          assert.deepEqual([end.status, end.error?.code], expected, said(end))
          const kept = stdout.length + stderr.length
          assert.equal(kept, fd === 3 ? 0 : 1000 + 8 * 2 ** 20)
          await nextAnswers()
        }
      const { end } = await runProgram(forever(written(1)), {
        limits: { ...limits, instructions: 10 ** 9 },
      })
      assert.deepEqual([end.error?.code, end.instructions! > 1000], ['OUTPUT', true], said(end))
    })
  })

  suite('A module that cannot run is refused with the reason', () => {
    const bad = wasm({ memory: { min: 1 }, functions: [{ export: 'run', body: [0xff] }] })

    test('Invalid WebAssembly is refused with its offset (S3-16)', async () => {
      for (const [bytes, offset] of [
        [Buffer.from('not wasm'), 0],
        [Buffer.alloc(0), 0],
        [Buffer.from([0, 0x61, 0x73, 0x6d, 9, 0, 0, 0]), 4],
      ] as const) {
        const { end } = await runBytes(bytes)
        assert.deepEqual([end.status, end.error?.code], ['error', 'WASM_INVALID'], said(end))
        assert.deepEqual(end.error?.details, { offset }, said(end))
      }
    })

    test('An invalid instruction is reported with its offset in the original module', async () => {
      const { end } = await runBytes(bad)
      assert.equal(end.error?.code, 'WASM_INVALID', said(end))
      assert.deepEqual(end.error?.details, { offset: bad.indexOf(0xff) })
    })

    test('Every truncation of a module ends as an error, and the worker survives', async () => {
      const whole = new Program().times(3, (inner) => inner.write(1, 0, 4)).module
      for (let length = 0; length < whole.length; length += 7) {
        const { end } = await stand.run(whole.subarray(0, length).toString('base64'))
        assert.equal(end.status, 'error', `${length} bytes: ${said(end)}`)
      }
      assert.equal((await stand.run('no base64!')).end.error?.code, 'WASM_INVALID')
    })

    test('A missing import is named (S3-4)', async () => {
      for (const one of [
        { module: 'env', name: 'abort' },
        { module: 'env', name: '__proto__' },
        { module: '__proto__', name: 'constructor' },
        { module: 'wasi_snapshot_preview1', name: 'toString' },
        { module: 'wasi_unstable', name: 'fd_write' },
        { module: 'js', name: 'global', global: 'i32' },
      ] as const) {
        const end = await runModule({ imports: [one], functions: [{ export: 'run', body: [] }] })
        assert.equal(end.error?.code, 'WASM_IMPORT_MISSING', said(end))
        assert.deepEqual(end.error?.details, { module: one.module, name: one.name })
      }
    })

    test('A missing export is named', async () => {
      const nothing = await runModule({ functions: [{ body: [] }] })
      assert.equal(nothing.error?.code, 'WASM_EXPORT_MISSING', said(nothing))
      const noStart = await runModule(
        { functions: [{ export: 'run', body: [] }] },
        { entry: 'program' },
      )
      assert.deepEqual(noStart.error?.details, { name: '_start' })
    })

    test('A WASI call that needs the memory of a module that exports none ends it; any other call works without', async () => {
      const body = [...zeros('i32', 'i32', 'i32', 'i32'), ...op.call(0)]
      const run = { export: 'run', results: ['i32'], body } as const
      const hidden = { min: 1, hidden: true }
      for (const memory of [undefined, hidden]) {
        const parts = { imports: [wasi.fd_write], functions: [run], ...(memory && { memory }) }
        // An fd that is closed is refused before its vectors are read.
        assert.equal((await runModule(parts)).resultText, '8')
        const open = { ...run, body: [...op.i32(1), ...body.slice(op.i32(0).length)] }
        const end = await runModule({ ...parts, functions: [open] })
        assert.deepEqual([end.status, end.error?.code], ['error', 'WASM_EXPORT_MISSING'], said(end))
        assert.deepEqual(end.error?.details, { name: 'memory' })
        assert.match(end.error?.message ?? '', /exports no memory "memory"/)
      }
    })

    test('Threads are refused', async () => {
      for (const parts of [
        { memory: { min: 1, max: 1, shared: true } },
        { imports: [{ module: 'env', name: 'memory', memory: { min: 1, max: 1, shared: true } }] },
      ]) {
        const end = await runFunction({ body: [] }, {}, parts)
        assert.equal(end.error?.code, 'WASM_UNSUPPORTED', said(end))
      }
    })

    test('A trap is a RuntimeError, and the next job answers', async () => {
      const recursive = { export: 'run', body: [...op.call(0)] }
      const divides = [...op.i32(1), ...op.i32(0), ...op.i32Div]
      const traps: readonly (readonly [Parts, RegExp])[] = [
        [{ functions: [{ export: 'run', body: op.unreachable }] }, /unreachable/],
        [{ functions: [recursive] }, /call stack/],
        [{ functions: [{ export: 'run', results: ['i32'], body: divides }] }, /divide by zero/],
        [
          {
            memory: { min: 1 },
            functions: [{ export: 'run', results: ['i32'], body: [...op.i32(-4), ...op.load()] }],
          },
          /out of bounds/,
        ],
        [
          {
            table: { min: 1 },
            functions: [{ export: 'run', body: [...op.i32(9), ...op.callIndirect(0)] }],
          },
          /table index/,
        ],
        [
          { functions: [{ export: 'run', body: [] }, { body: op.unreachable }], start: 1 },
          /unreachable/,
        ],
      ]
      for (const [parts, message] of traps) {
        const end = await runModule(parts)
        assert.deepEqual([end.status, end.error?.code], ['error', 'WASM_TRAP'], said(end))
        assert.equal(end.error?.name, 'RuntimeError')
        assert.match(end.error?.message ?? '', message)
        assert.doesNotMatch(end.error?.stack ?? '', /guest|\.js/)
      }
      await nextAnswers()
    })

    test('A trap below functions of long names has its frames, each with its place', async () => {
      const recursive = wasm({ functions: [{ export: 'run', body: [...op.call(0)] }] })
      const end = (await runBytes(withName(recursive, 'n'.repeat(50_000)))).end
      assert.deepEqual([end.status, end.error?.code], ['error', 'WASM_TRAP'], said(end))
      const frames = end.error?.stack?.split('\n').slice(1) ?? []
      assert.ok(frames.length > 5, said(end))
      for (const frame of frames) assert.match(frame, /^ +at n{800,}…n+ \(wasm:\/\/.*0x\w+\)$/)
      await nextAnswers()
    })
  })

  /** Errno that a WASI function returns. */
  const errno = async (imported: keyof typeof wasi, args: readonly number[]) => {
    const end = await runModule({
      imports: [wasi[imported]],
      memory: { min: 1 },
      functions: [{ export: 'run', results: ['i32'], body: [...args, ...op.call(0)] }],
    })
    return Number(end.resultText)
  }

  suite('Host access of a module', () => {
    test('No path can be opened: ENOTCAPABLE', async () => {
      assert.equal(await errno('path_open', zeros(...wasi.path_open.params)), 76)
    })

    test('A function of WASI that is imported with another signature ends as an error', async () => {
      const { module, name } = wasi.random_get
      const end = await runModule({
        imports: [{ module, name, params: ['i64', 'externref'], results: ['i32'] }],
        memory: { min: 1 },
        functions: [{ export: 'run', body: [0x42, 0, 0xd0, 0x6f, ...op.call(0), ...op.drop] }],
      })
      assert.deepEqual([end.status, end.error?.code], ['error', 'WASM_LINK'], said(end))
    })

    test('The environment is empty', async () => {
      const end = await runModule({
        imports: [wasi.environ_sizes_get],
        memory: { min: 1 },
        functions: [
          {
            export: 'run',
            results: ['i32', 'i32'],
            body: [...zeros('i32'), ...op.i32(4), ...op.call(0), ...zeros('i32'), ...op.load()],
          },
        ],
      })
      assert.equal(end.resultText, '[0,0]')
    })

    test('A start function has the memory of its module: what it writes is output, also with counted instructions', async () => {
      const writes = [
        ...op.i32(0),
        ...op.i32(8),
        ...op.store(),
        ...op.i32(4),
        ...op.i32(2),
        ...op.store(),
        ...op.i32(1),
        ...op.i32(0),
        ...op.i32(1),
        ...op.i32(12),
        ...op.call(0),
        ...op.drop,
      ]
      const bytes = wasm({
        imports: [wasi.fd_write],
        memory: { min: 1 },
        functions: [{ body: writes }, { export: '_start', body: [] }],
        start: 1,
        data: [{ at: 8, text: 'hi' }],
      })
      for (const limits of [{ timeout: 5000 }, { timeout: 5000, instructions: 1000 }]) {
        const { end, stdout } = await runBytes(bytes, { limits, entry: 'program' })
        assert.deepEqual([end.status, stdout], ['ok', 'hi'], said(end))
      }
    })

    test('A start function with a parameter or a result is invalid, with and without exports', async () => {
      for (const exported of [{ export: '_start' }, {}])
        for (const start of [{ params: ['i32'] }, { results: ['i32'] }] as const) {
          const body = op.i32(1)
          const end = await runModule({
            functions: [{ ...start, ...exported, body: 'results' in start ? body : [] }],
            start: 0,
          })
          assert.equal(end.error?.code, 'WASM_INVALID', said(end))
        }
    })

    test('Fds above that of the result are closed, and the input cannot be written', async () => {
      for (const fd of [0, 4, 5, 1000, -1])
        assert.equal(await errno('fd_write', [...op.i32(fd), ...zeros('i32', 'i32', 'i32')]), 8)
    })

    test('A pointer out of its memory is EFAULT, for every WASI call tried', async () => {
      for (const at of [PAGE, -1, -8, 0x7fff_ffff, PAGE - 4]) {
        const [vectors, out] = [
          [...op.i32(1), ...op.i32(at)],
          [...op.i32(1), ...op.i32(0)],
        ]
        assert.equal(await errno('fd_write', [...vectors, ...op.i32(1), ...op.i32(0)]), 21)
        assert.equal(await errno('random_get', [...op.i32(at), ...op.i32(8)]), 21)
        assert.equal(await errno('poll_oneoff', [...op.i32(at), ...op.i32(at), ...out]), 21)
      }
      assert.equal(await errno('random_get', [...op.i32(1), ...op.i32(-1)]), 21)
      assert.equal(
        await errno('fd_write', [...op.i32(1), ...zeros('i32'), ...op.i32(-1), ...op.i32(0)]),
        28,
      )
    })

    test('Clocks have a resolution of one millisecond', async () => {
      const end = await runModule({
        imports: [wasi.clock_time_get],
        memory: { min: 1 },
        functions: [
          {
            export: 'run',
            results: ['i64'],
            body: [
              ...op.i32(0),
              0x42,
              0,
              ...op.i32(8),
              ...op.call(0),
              ...op.drop,
              ...op.i32(8),
              0x29,
              3,
              0,
            ],
          },
        ],
      })
      const { value } = JSON.parse(end.resultText) as { value: string }
      assert.equal(BigInt(value) % 1_000_000n, 0n)
      assert.ok(Math.abs(Number(BigInt(value) / 1_000_000n) - Date.now()) < 60_000)
    })

    test('A stack overflow in the middle of a write corrupts no stream', async () => {
      const writes = [
        ...op.i32(1),
        ...op.i32(0),
        ...op.i32(1),
        ...op.i32(8),
        ...op.call(0),
        ...op.drop,
      ]
      const deep = { export: '_start', body: [...writes, ...op.call(1)] }
      const vector = [...op.i32(4), ...op.i32(4), ...op.store()]
      const { end } = await stand.run(
        wasm({
          imports: [wasi.fd_write],
          memory: { min: 1 },
          functions: [{ ...deep, body: [...vector, ...deep.body] }],
        }).toString('base64'),
      )
      assert.deepEqual([end.status, end.error?.name], ['error', 'RuntimeError'], said(end))
      await nextAnswers()
    })

    test('No state of a module remains for the next one, in a thousand runs', async () => {
      const counts = {
        memory: { min: 1 },
        functions: [
          {
            export: 'run',
            results: ['i32'],
            body: [
              ...op.i32(0),
              ...op.i32(0),
              ...op.load(),
              ...op.i32(1),
              ...op.i32Add,
              ...op.store(),
              ...op.i32(0),
              ...op.load(),
            ],
          },
        ],
      } as const
      const bytes = wasm(counts)
      const answers = new Set<string>()
      for (let n = 0; n < runs; n++) answers.add((await runBytes(bytes)).end.resultText)
      assert.deepEqual([...answers], ['1'])
    })
  })

  suite('Limits of a module', () => {
    const memory = { limits: { memory: 32 * 2 ** 20 } }
    const pagesMax = (32 * 2 ** 20) / PAGE
    /** Module that grows its memory until it is refused, and returns the size. */
    const growsAll = [
      ...op.loop([...op.i32(1), ...op.grow, ...op.i32(0), 0x4e, ...op.branchIf(0)]),
      ...op.memorySize,
    ]

    test('Time: a loop is killed from outside, and the next job works (S3-42)', async () => {
      for (const parts of [
        { functions: [{ export: 'run', body: op.loop(op.branch(0)) }] },
        { functions: [{ export: 'run', body: [] }, { body: op.loop(op.branch(0)) }], start: 1 },
      ]) {
        // Killed by the deadline in the warden: the worker itself is blocked in the loop.
        const end = await runModule(parts, { limits: { timeout: 200 } })
        assert.deepEqual([end.status, end.error?.code], ['timeout', 'TIMEOUT'], said(end))
        await nextAnswers()
      }
    })

    test('Memory: growing ends at the limit, for any declared maximum (S3-4)', async () => {
      const func = { results: ['i32'], body: growsAll } as const
      for (const parts of [
        { memory: { min: 1 } },
        { memory: { min: 1, max: 60_000 } },
        { memory: { min: 1, hidden: true } },
        { imports: [{ module: 'env', name: 'memory', memory: { min: 1 } }] },
        { imports: [{ module: 'env', name: 'memory', memory: { min: 1, max: 60_000 } }] },
      ]) {
        const end = await runFunction(func, memory, parts)
        assert.deepEqual([end.status, end.resultText], ['ok', String(pagesMax)], said(end))
      }
      const own = await runFunction(func, memory, { memory: { min: 1, max: 9 } })
      assert.equal(own.resultText, '9', 'a maximum below the limit stays')
    })

    test('Memory: 64-bit memories have the same limit', async () => {
      const large = (min: number, module?: string): Parts =>
        module === undefined
          ? { memory: { min, is64: true } }
          : { imports: [{ module, name: 'memory', memory: { min, is64: true } }] }
      for (const module of [undefined, 'env']) {
        const fits = await runFunction({ body: [] }, memory, large(1, module))
        assert.equal(fits.status, 'ok', said(fits))
        const beyond = await runFunction({ body: [] }, memory, large(pagesMax + 1, module))
        assert.deepEqual([beyond.status, beyond.error?.code], ['limit', 'MEMORY'], said(beyond))
      }
      const body = [0x42, 0xff, 0x01, 0x40, 0, 0x42, 0xac, 0x02, 0x40, 0]
      const end = await runFunction({ results: ['i64', 'i64'], body }, memory, large(1))
      const grown = (JSON.parse(end.resultText) as { value: string }[]).map(({ value }) => value)
      assert.deepEqual(grown, ['1', '-1'], 'the second is over the limit')
    })

    test('Memory: a module with a larger initial memory is refused', async () => {
      for (const parts of [
        { memory: { min: pagesMax + 1 } },
        { imports: [{ module: 'env', name: 'memory', memory: { min: pagesMax + 1 } }] },
      ]) {
        const end = await runFunction({ body: [] }, memory, parts)
        assert.deepEqual([end.status, end.error?.code], ['limit', 'MEMORY'], said(end))
      }
    })

    test('Memory: the whole limit can be used by several jobs in sequence', async () => {
      const fills = [...op.i32(0), ...op.i32(1), ...op.i32(24 * 2 ** 20), ...op.memoryFill]
      for (let n = 0; n < 10; n++) {
        const end = await runFunction({ body: fills }, memory, { memory: { min: 24 * 16 } })
        assert.equal(end.status, 'ok', said(end))
      }
    })

    test('Memory: several jobs in sequence can fill most of the limit with a table', async () => {
      for (let n = 0; n < 10; n++) {
        const end = await runFunction({ body: [] }, memory, { table: { min: 1_000_000 } })
        assert.equal(end.status, 'ok', said(end))
        const { used = 0 } = end.memory ?? {}
        assert.ok(used > 16 * 2 ** 20 && used < memory.limits.memory, `${used} bytes`)
      }
    })

    test('Memory: a table above the limit ends the job, also beside a memory that is not exported, in a module that exits or is metered', async () => {
      const exits = { imports: [wasi.proc_exit] }
      for (const [parts, body, more] of [
        [{}, [], {}],
        [{ memory: { min: 1, hidden: true } }, [], {}],
        [exits, [...op.i32(0), ...op.call(0)], {}],
        [exits, [...op.i32(0), ...op.call(0)], { instructions: 1_000_000 }],
        [{}, [], { instructions: 1_000_000 }],
      ] as const) {
        const limits = { memory: 16 * 2 ** 20, ...more }
        const table = { min: 1_000_000 }
        const end = await runFunction({ body }, { limits }, { ...parts, table })
        assert.deepEqual([end.status, end.error?.code], ['limit', 'MEMORY'], said(end))
        await nextAnswers()
      }
    })

    test('Memory: a table above the limit ends a job as well that catches its exit and does not return', async () => {
      const exits = [...op.i32(0), ...op.call(0)]
      const caught = [0x02, 0x40, 0x1f, 0x40, 1, 2, 0, ...exits, 0x0b, 0x0b]
      const body = op.loop([...caught, ...op.branch(0)])
      const parts: Parts = { imports: [wasi.proc_exit], table: { min: 1_000_000 } }
      const over = { memory: 16 * 2 ** 20, timeout: 60_000 }
      const end = await runFunction({ body }, { limits: over }, parts)
      assert.deepEqual([end.status, end.error?.code], ['limit', 'MEMORY'], said(end))
      await nextAnswers()
      const within = { memory: 64 * 2 ** 20, timeout: 60_000 }
      const kept = await runFunction({ body }, { limits: within }, parts)
      assert.deepEqual([kept.status, kept.error], ['ok', undefined], said(kept))
      await nextAnswers()
    })

    test('Memory: several memories have the limit together', async () => {
      const twice = (pages: number): Parts => ({
        memory: { min: pages, hidden: true },
        moreMemories: [{ min: pages }],
      })
      const grows = [...op.i32(1), 0x40, 1]
      for (const [pages, status, result] of [
        [pagesMax / 2, 'ok', '-1'],
        [pagesMax / 2 - 1, 'ok', String(pagesMax / 2 - 1)],
        [pagesMax / 2 + 1, 'limit', 'null'],
      ] as const) {
        const func = { results: ['i32'], body: grows } as const
        const end = await runFunction(func, memory, twice(pages))
        assert.deepEqual([end.status, end.resultText], [status, result], said(end))
      }
      const beyond = await runFunction({ body: [] }, memory, twice(pagesMax))
      assert.match(beyond.error?.message ?? '', /for its 2 memories together$/)
    })

    test('Memory: a small memory beside a large one leaves it the rest of the limit', async () => {
      const [large, small] = [pagesMax - 8, 2]
      const parts: Parts = { memory: { min: large }, moreMemories: [{ min: small }] }
      const body = [...op.i32(3), 0x40, 0, ...op.i32(1), 0x40, 0, ...op.i32(16), 0x6c, 0x6a]
      const end = await runFunction({ results: ['i32'], body }, memory, parts)
      // Both may grow by three pages: the first growth returns the old size, and the second fails.
      assert.deepEqual([end.status, end.resultText], ['ok', String(large - 16)], said(end))
    })

    test('Memory: tables count, and the next job works', async () => {
      const grows = [...op.nullFunction, ...op.i32(100_000), ...op.tableGrow, ...op.drop]
      const end = await runFunction(
        { body: op.loop([...grows, ...op.branch(0)]) },
        {
          limits: { memory: 32 * 2 ** 20, timeout: 4000 },
        },
        { table: { min: 1 } },
      )
      assert.ok(['limit', 'timeout'].includes(end.status), said(end))
      await nextAnswers()
    })
  })

  test('A module that is hard to compile ends within its limits, and the next job works', async () => {
    const deep = [...many(100_000, [0x02, 0x40]).flat(), ...many(100_000, 0x0b)]
    const long = op.loop([...many(200_000, [...op.i32(1), ...op.drop]).flat(), ...op.branch(0)])
    const hard: readonly Parts[] = [
      { functions: [{ export: 'run', body: many(3_000_000, 0x01) }] },
      { functions: [{ export: 'run', body: deep }] },
      { functions: [{ export: 'run', body: long }] },
      { functions: [{ export: 'run', locals: many(49_000, 'i64' as const), body: op.call(0) }] },
      { functions: [{ export: 'run', body: [] }, ...many(90_000, { body: [0x01] })] },
    ]
    for (const parts of hard)
      for (const counted of [{}, { instructions: 10 ** 9 }]) {
        const limits = { timeout: 1000, memory: 64 * 2 ** 20, ...counted }
        const end = await runModule(parts, { limits })
        assert.notEqual(end.status, 'failed', said(end))
        await nextAnswers()
      }
  })

  test('The WebAssembly wall passes the trials of doctor', async () => {
    const held = await tryWalls(made.provider)
    assert.deepEqual(
      held.map(({ wall, held }) => [wall, held]),
      ['network', 'files', 'memory', 'time', 'secrets', 'objects'].map((wall) => [wall, true]),
    )
  })

  test('Engine features beyond the core are listed', async () => {
    const proved = await made.provider.detect()
    assert.ok(proved.available)
    assert.deepEqual(proved.features, ['simd'])
  })
})

const exitsWith = (code: number) => new Program().does(op.i32(code), op.call(call.proc_exit))

const many = <T>(count: number, one: T) => Array.from({ length: count }, () => one)

/** A zero for each of these parameters. */
function zeros(...types: readonly ValueType[]): readonly number[] {
  return types.flatMap((type) => (type === 'i64' ? [0x42, 0] : [...op.i32(0)]))
}

function said(end: TaskEnd): string {
  return `${end.status}: ${end.error?.code} ${end.error?.message} ${end.resultText}`
}
