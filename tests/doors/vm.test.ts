import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { VM as Vm2 } from 'vm2'
import { EffectError, Mayfly, VM } from '../../src/index.ts'

/** The basics of vm2, run by both side by side; differences are in docs/how-to/from-vm2.md and tested below. */
suite('The VM compatible with vm2 (S3-43)', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-vm-'))
  let mayfly: Mayfly
  before(async () => {
    mayfly = await Mayfly.open({ state: join(folder, 'state'), escalation: { 0: 'isolate' } })
  })
  after(async () => {
    await mayfly.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const same = [
    '1 + 1',
    '"a" + "b"',
    'var x = 2; x * 21',
    'if (true) { 7 } else { 8 }',
    '({ a: [1, { b: null }] })',
    '[1, 2, 3].map((n) => n * 2)',
    'function twice(n) { return n * 2 } twice(4)',
    'undefined',
    'null',
    'NaN',
    '-0',
    '10n ** 20n',
    'new Date(86400000)',
    'new Map([["a", 1]])',
    'new Set([1, 1, 2])',
    'eval("2 + 3")',
    'new Function("return 6")()',
    'Promise.resolve(9)',
    '(async () => 10)()',
    'typeof process',
    'typeof require',
    'typeof fetch',
    'this === globalThis',
    '"use strict"; (function () { return this })()',
    'label: for (;;) { break label } "done"',
  ]
  for (const script of same)
    test(`As vm2: ${script}`, async () => {
      const expected: unknown = await new Vm2().run(script)
      const actual = await new VM({ mayfly }).run(script)
      assert.equal(typeof actual, typeof expected)
      assert.deepEqual(JSON.stringify(plain(actual)), JSON.stringify(plain(expected)))
    })

  const throws = [
    'throw new TypeError("a")',
    'nobody',
    'null.x',
    'const a = 1; a = 2',
    '1 +',
    'JSON.parse("{")',
  ]
  for (const script of throws)
    test(`As vm2, by name and message: ${script}`, async () => {
      let expected: unknown
      try {
        new Vm2().run(script)
      } catch (thrown) {
        expected = thrown
      }
      const thrown = await new VM({ mayfly }).run(script).catch((error: unknown) => error)
      assert.ok(thrown instanceof EffectError)
      const { name, message } = expected as Error
      assert.deepEqual([thrown.outcome.error?.name, thrown.message], [name, message])
    })

  test('As vm2: globals of the sandbox are defined by name', async () => {
    const sandbox = { user: { name: 'Ada' }, n: 2 }
    const script = 'user.name + n'
    assert.equal(await new VM({ mayfly, sandbox }).run(script), new Vm2({ sandbox }).run(script))
  })

  test('As vm2: a script that does not end within its time is stopped', async () => {
    const vm = new VM({ mayfly, timeout: 100 })
    await assert.rejects(vm.run('while (true) {}'), { name: 'EffectError', code: 'TIMEOUT' })
    assert.throws(() => new Vm2({ timeout: 100 }).run('while (true) {}'), /timed out/)
  })

  test('Not as vm2: a run keeps no state of the previous run, and changes nothing outside', async () => {
    const sandbox = { list: [1] }
    const vm = new VM({ mayfly, sandbox })
    assert.equal(await vm.run('var kept = 1; list.push(2); list.length'), 2)
    assert.equal(await vm.run('typeof kept + JSON.stringify(list)'), 'undefined[1]')
    assert.deepEqual(sandbox.list, [1])
    const [first, second] = [new Vm2(), 'typeof kept']
    first.run('var kept = 1')
    assert.equal(first.run(second), 'number')
  })

  test('Not as vm2: functions do not cross the boundary in either direction', async () => {
    assert.throws(() => new VM({ mayfly, sandbox: { log: () => 1 } }), {
      code: 'INVALID',
      message: /"log"/,
    })
    await assert.rejects(new VM({ mayfly }).run('(() => 1)'), {
      name: 'EffectError',
      code: 'RESULT_NOT_SERIALISABLE',
    })
  })

  test('A destroyed VM runs nothing', async () => {
    const vm = new VM({ mayfly })
    assert.equal(await vm.run('1'), 1)
    await vm.destroy()
    await assert.rejects(vm.run('1'), { code: 'CONFLICT' })
  })
})

/** Comparable form of a result: distinguishes values, but not the realms that they come from. */
function plain(value: unknown): unknown {
  const tag = Object.prototype.toString.call(value)
  if (tag === '[object Map]' || tag === '[object Set]')
    return [tag, ...(value as Iterable<unknown>)]
  if (Object.is(value, -0)) return '-0'
  if (typeof value === 'number' || typeof value === 'bigint') return String(value)
  return value === undefined ? 'undefined' : value
}

test('S3-60: neither the server nor the library depends on vm2 or loads it', () => {
  const root = fileURLToPath(new URL('../..', import.meta.url))
  const { dependencies, devDependencies, optionalDependencies } = JSON.parse(
    readFileSync(join(root, 'package.json'), 'utf8'),
  ) as Record<string, Record<string, string>>
  assert.ok('isolated-vm' in devDependencies!, 'vm2 is bundled into the package')
  assert.ok(!('vm2' in { ...dependencies, ...optionalDependencies }))
  const sources = ['src', 'guest', 'bin'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => /\.[cm]?[jt]s$/.test(file))
      .map((file) => join(root, folder, file)),
  )
  assert.ok(sources.length > 100)
  const loads = /(?:from|import|require)\s*\(?\s*['"]vm2['"]/
  assert.match(readFileSync(import.meta.filename, 'utf8'), loads)
  assert.deepEqual(
    sources.filter((file) => !file.endsWith('.test.ts') && loads.test(readFileSync(file, 'utf8'))),
    [],
  )
})
