import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { meet } from '../../src/contract/controls.ts'
import { makeIsolates } from '../conformance/isolated-vm.ts'
import { inJs, messageIn, Stand, type Made, type Wish } from '../conformance/stand.ts'
import { op, wasm } from '../fixtures/wasm.ts'

const grantedAlone = { capabilities: ['webassembly'] }
const adds = wasm({
  functions: [
    {
      export: 'add',
      params: ['i32', 'i32'],
      results: ['i32'],
      body: [...op.get(0), ...op.get(1), ...op.i32Add],
    },
  ],
})
const load = `const bytes = Uint8Array.of(${[...adds].join()})
const { add } = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports`

suite('WebAssembly inside JavaScript', () => {
  let made: Made
  let stand: Stand
  before(async () => {
    made = await makeIsolates()
    stand = new Stand(made.provider, makeIsolates, inJs)
  })
  after(async () => {
    await made.provider.close?.()
    await made.close()
  })

  const run = async (source: string, wish: Wish = {}) => (await stand.run(source, wish)).end

  test('Is defined if it is granted by name, and only then (S3-4)', async () => {
    const there = 'return typeof WebAssembly'
    assert.equal((await run(there)).resultText, '"undefined"')
    assert.equal(
      (await run(there, { controls: { capabilities: 'any' } })).resultText,
      '"undefined"',
    )
    assert.equal((await run(there, { controls: grantedAlone })).resultText, '"object"')
    assert.equal((await run(there)).resultText, '"undefined"', 'the next job has no grant')
  })

  test('Runs, and has no threads', async () => {
    const end = await run(`${load}\nreturn [add(2, 40), typeof SharedArrayBuffer]`, {
      controls: grantedAlone,
    })
    assert.equal(end.resultText, '[42,"undefined"]', messageIn(end))
  })

  test('Gives no SharedArrayBuffer by a shared memory, of its own or of a module', async () => {
    const shared = [0, 97, 115, 109, 1, 0, 0, 0, 5, 4, 1, 3, 1, 1, 7, 5, 1, 1, 109, 2, 0]
    const source = `const module = new WebAssembly.Module(Uint8Array.of(${shared.join()}))
      const { m } = new WebAssembly.Instance(module).exports
      const told = []
      for (const memory of [m, new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true })])
        for (const read of [() => memory.buffer, () => memory.toFixedLengthBuffer(), () => memory.toResizableBuffer()])
          try { read(); told.push('read') } catch (error) { told.push(error.name) }
      const plain = new WebAssembly.Memory({ initial: 1, maximum: 2 })
      return [new Set(told).size, told[0], plain.buffer.byteLength, plain.buffer === plain.buffer, plain.toFixedLengthBuffer().byteLength, plain.toResizableBuffer().byteLength]`
    const end = await run(source, { controls: grantedAlone })
    assert.equal(end.resultText, '[1,"TypeError",65536,true,65536,65536]', messageIn(end))
  })

  test('Is compiled and instantiated by the usual functions, and an invalid module is refused', async () => {
    const bytes = `const bytes = Uint8Array.of(${[...adds].join()})`
    for (const [source, result] of [
      [
        `const { instance } = await WebAssembly.instantiate(bytes, {}); return instance.exports.add(40, 2)`,
        '42',
      ],
      [
        `const { module, instance } = await WebAssembly.instantiate(bytes); return [module instanceof WebAssembly.Module, instance instanceof WebAssembly.Instance]`,
        '[true,true]',
      ],
      [
        `const module = await WebAssembly.compile(bytes); return (await WebAssembly.instantiate(module)).exports.add(1, 2)`,
        '3',
      ],
      [
        `return await WebAssembly.compile(bytes.slice(0, 20)).catch((error) => error instanceof WebAssembly.CompileError)`,
        'true',
      ],
      [`return await WebAssembly.instantiate().catch((error) => error.name)`, '"TypeError"'],
    ] as const) {
      const end = await run(`${bytes}\n${source}`, { controls: grantedAlone })
      assert.equal(end.resultText, result, `${source} ${messageIn(end)}`)
    }
  })

  for (const [what, source] of [
    [
      'many memories',
      `const all = []
for (;;) { const m = new WebAssembly.Memory({ initial: 200 }); new Uint8Array(m.buffer).fill(1); all.push(m) }`,
    ],
    [
      'a growing memory',
      `const m = new WebAssembly.Memory({ initial: 1 })
for (;;) { try { m.grow(100) } catch { m.grow(1) } new Uint8Array(m.buffer).fill(1) }`,
    ],
    [
      'tables',
      `const all = []
for (;;) all.push(new WebAssembly.Table({ initial: 1e6, element: 'externref' }, {}))`,
    ],
  ] as const) {
    test(`Memory that the isolate does not count is limited by the warden: ${what}`, async () => {
      const wish = { controls: grantedAlone, limits: { memory: 64 * 2 ** 20 } }
      const end = await run(source, wish)
      assert.deepEqual([end.status, end.error?.code], ['limit', 'MEMORY'], messageIn(end))
      const next = await run(`${load}\nreturn add(1, 1)`, wish)
      assert.equal(next.resultText, '2', messageIn(next))
    })
  }

  test('Cannot be withdrawn from a live isolate, which reports it', async () => {
    await using sandbox = await stand.launch({ controls: grantedAlone })
    const { controls } = stand.profile({ controls: grantedAlone })
    const { unenforced } = await sandbox.tighten(meet(controls, { ...controls, capabilities: [] }))
    assert.deepEqual(unenforced, ['capabilities'])
  })
})
