import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { after, before, suite, test } from 'node:test'
import { promisify } from 'node:util'
import { BaseSandbox, isSandboxBackend } from 'deepagents'
import { Mayfly } from '../../src/index.ts'
import { sandboxSession } from '../../src/sdk/frameworks/ai.ts'
import { executor } from '../../src/sdk/frameworks/codemode.ts'
import { computeProvider } from '../../src/sdk/frameworks/computesdk.ts'
import { sandboxBackend } from '../../src/sdk/frameworks/deepagents.ts'
import { unable } from '../walls/process-stands.ts'
import { makePlace, type Place } from './program.ts'

const root = join(import.meta.dirname, '../..')
const run = promisify(execFile)
const exampleMsMax = 100_000

suite('Frameworks', { skip: unable('python') }, () => {
  let place: Place
  let mayfly: Mayfly
  before(async () => {
    place = makePlace()
    mayfly = await Mayfly.open({ state: join(place.state, 'own') })
  })
  after(async () => {
    await mayfly.close()
    rmSync(place.state, { recursive: true, force: true })
    place.remove()
  })

  const examples: Readonly<Record<string, readonly RegExp[]>> = {
    'ai-sdk': [/"exitCode":0,"stdout":"42\\n"/, /"result":\[1,4,9\]/],
    codemode: [/Weather in Paris: 22 degrees, sunny","Weather in London/],
    deepagents: [/^34$/m, /Successfully replaced 1/, /while a < 500/, /^377$/m],
    computesdk: [/^Hello World!$/m, /^from a file$/m],
  }
  for (const [name, shown] of Object.entries(examples))
    test(`the example of "${name}" runs against the package itself`, async () => {
      const file = join(root, 'examples/frameworks', `${name}.ts`)
      const { stdout } = await run(process.execPath, [file], {
        cwd: root,
        env: { ...place.env, MAYFLY_STATE: join(place.state, name) },
        timeout: exampleMsMax,
      })
      for (const pattern of shown) assert.match(stdout, pattern)
    })

  test('a sandbox session of the AI SDK reads files of its folder and of its sandbox, and none of the host', async () => {
    await using box = await mayfly.open({ language: 'sh' })
    const session = sandboxSession(box)
    for (const path of ['notes/a.txt', '/tmp/deep/b.txt']) {
      await session.writeTextFile({ path, content: 'one\ntwo\nthree' })
      assert.equal(await session.readTextFile({ path, startLine: 2, endLine: 2 }), 'two')
      assert.deepEqual(await session.stat({ path }), { type: 'file', size: 13 })
      assert.equal(await session.deleteFile({ path }), true)
      assert.equal(await session.deleteFile({ path }), false)
      assert.equal(await session.readBinaryFile({ path }), null)
      assert.equal(await session.stat({ path }), null)
    }
    await session.run({ command: 'mkdir d && touch "d/a b" && ln -s "a b" d/link' })
    assert.deepEqual(
      (await session.listDirectory({ path: 'd' }))?.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
      [
        { name: 'a b', type: 'file' },
        { name: 'link', type: 'symlink' },
      ],
    )
    assert.equal(await session.listDirectory({ path: 'none' }), null)
    await assert.rejects(session.listDirectory({ path: 'd/a b' }))
    await assert.rejects(session.deleteFile({ path: 'd' }))
    assert.equal(await session.readBinaryFile({ path: join(place.state, 'own', 'audit.db') }), null)
    const named = await session.run({
      command: 'echo $A; pwd; exit 3',
      workingDirectory: '/tmp',
      env: { A: 'b' },
    })
    assert.deepEqual(named, { exitCode: 3, stdout: 'b\n/tmp\n', stderr: '' })
  })

  test('a file or a list that exceeds the ceiling of output is refused, and no part of it is returned', async () => {
    const state = join(place.state, 'small')
    await using small = await Mayfly.open({ state, ceilings: { output: '64KB' } })
    await using box = await small.open({ language: 'sh' })
    const session = sandboxSession(box)
    const make = 'head -c 100000 /dev/zero > /tmp/x; head -c 20000 /dev/zero > /tmp/y'
    assert.equal((await session.run({ command: make })).exitCode, 0)
    await assert.rejects(Promise.resolve(session.readBinaryFile({ path: '/tmp/x' })), {
      code: 'TOO_LARGE',
    })
    assert.equal((await session.readBinaryFile({ path: '/tmp/y' }))?.length, 20_000)
    const names = 'mkdir /tmp/d && cd /tmp/d && touch $(seq -f %0100g 600)'
    assert.equal((await session.run({ command: names })).exitCode, 0)
    await assert.rejects(Promise.resolve(session.listDirectory({ path: '/tmp/d' })), {
      code: 'TOO_LARGE',
    })
  })

  test('a folder is listed by any name and through a link, and nothing else is done by its name', async () => {
    await using box = await mayfly.open({ language: 'sh' })
    const session = sandboxSession(box)
    await session.run({ command: 'mkdir -- -delete "(" real; touch keep real/x; ln -s real link' })
    const namesOf = async (path: string) =>
      (await session.listDirectory({ path }))?.map(({ name }) => name).toSorted()
    for (const path of ['-delete', '(']) assert.deepEqual(await namesOf(path), [], path)
    for (const path of ['link', '/work/link', 'real/']) assert.deepEqual(await namesOf(path), ['x'])
    assert.ok((await namesOf('.'))?.includes('keep'))
  })

  test('a command that a signal ends has the exit code of a shell for that signal', async () => {
    await using box = await mayfly.open({ language: 'sh' })
    const session = sandboxSession(box)
    for (const [name, exitCode] of [
      ['TERM', 143],
      ['ABRT', 134],
      ['KILL', 137],
    ] as const)
      assert.equal((await session.run({ command: `kill -${name} $$` })).exitCode, exitCode, name)
  })

  test('an executor of Code Mode keeps warnings and errors of the console in the logs, in their order', async () => {
    const { execute } = executor(mayfly)
    const code = 'async () => { console.warn("a", 1); console.log("b"); console.error("c") }'
    assert.deepEqual((await execute(code, {})).logs, ['[warn] a 1', 'b', '[error] c'])
  })

  test('a spawned process is read while it runs, and killed; parallel calls run in sequence', async () => {
    await using box = await mayfly.open({ language: 'sh' })
    const session = sandboxSession(box)
    const spawned = await session.spawn({ command: 'echo up; sleep 50' })
    const { value } = await spawned.stdout.getReader().read()
    assert.equal(Buffer.from(value!).toString(), 'up\n')
    await spawned.kill()
    assert.equal((await spawned.wait()).exitCode, 143)
    await assert.rejects(session.spawn({ command: 'cat', stdin: true }), /standard input/)
    const ends = await Promise.all([1, 2, 3, 4].map((n) => session.run({ command: `echo ${n}` })))
    assert.deepEqual(
      ends.map(({ stdout }) => stdout),
      ['1\n', '2\n', '3\n', '4\n'],
    )
    const cancel = new AbortController()
    const late = session.run({ command: 'sleep 50', abortSignal: cancel.signal })
    cancel.abort()
    await assert.rejects(Promise.resolve(late), { name: 'AbortError' })
    assert.equal((await session.run({ command: 'echo still' })).stdout, 'still\n')
  })

  test('an executor of Code Mode calls its tools, and no other property of an object', async () => {
    const calls: unknown[] = []
    const fns = {
      add: async (...args: unknown[]) => {
        calls.push(args)
        return { sum: (args as number[]).reduce((a, b) => a + b) }
      },
      fail: async () => {
        throw new Error('the tool said no')
      },
    }
    const { execute } = executor(mayfly)
    const ok = await execute(
      'async () => { console.log("hi"); return await codemode.add(1, 2) }',
      fns,
    )
    assert.deepEqual(ok, { result: { sum: 3 }, logs: ['hi'] })
    const spaces = [
      { name: 'math', fns, prelude: 'math.twice = async (n) => (await math.add(n, n)).sum' },
    ]
    assert.deepEqual(await execute('async () => math.twice(4)', spaces), { result: 8 })
    assert.deepEqual(calls, [
      [1, 2],
      [4, 4],
    ])
    for (const name of ['constructor', 'toString', 'hasOwnProperty', '__proto__x', 'none']) {
      const { error } = await execute(`async () => codemode[${JSON.stringify(name)}]()`, fns)
      assert.ok(error, name)
    }
    assert.match(
      (await execute('async () => codemode.fail()', fns)).error ?? '',
      /the tool said no/,
    )
    assert.match(
      (await execute('async () => { throw new Error("mine") }', fns)).error ?? '',
      /mine/,
    )
    assert.match((await execute('async () => {', fns)).error ?? '', /./)
    const other = [{ name: 'a b', fns }]
    assert.match((await execute('async () => 1', other)).error ?? '', /namespace/)
    const circular: Record<string, unknown> = {}
    circular['self'] = circular
    const turned = await execute('async () => codemode.bad()', { bad: async () => circular })
    assert.ok(turned.error)
    const bound = {
      name: 'hub',
      binding: { callTool: async (tool: string, args: unknown) => [tool, args] },
    }
    const via = await execute('async () => hub.list({ a: 1 })', [], { connectors: [bound] })
    assert.deepEqual(via.result, ['list', { a: 1 }])
  })

  test('an executor terminates endless code, and returns an error', async () => {
    const { execute } = executor(mayfly, { timeout: '300ms' })
    const { error } = await execute('async () => { for (;;); }', {})
    assert.ok(error)
  })

  test('a job calls functions of the application by name, within limits, and none without the option', async () => {
    const functions = { echo: (value: unknown) => value, big: () => 'a'.repeat(5 * 2 ** 20) }
    const code = (name: string, count = 1) =>
      `return await Promise.all(Array.from({ length: ${count} }, (_, n) => call('host.call', ['${name}', n])))`
    const ok = await mayfly.run({ code: code('echo', 3) }, { functions })
    assert.deepEqual(ok.result, [0, 1, 2])
    const none = await mayfly.run({ code: code('echo') })
    assert.match(none.error?.message ?? '', /not granted/)
    const asked = await mayfly.run({ code: code('echo'), capabilities: ['host.call'] })
    assert.match(asked.error?.message ?? '', /has no functions/)
    assert.match(
      (await mayfly.run({ code: code('big') }, { functions })).error?.message ?? '',
      /too large/,
    )
    const slow = { wait: () => new Promise((resolve) => void setTimeout(resolve, 100)) }
    const many = await mayfly.run({ code: code('wait', 40) }, { functions: slow })
    assert.equal(many.status, 'ok', many.error?.message ?? '')
    const loop = 'for (let n = 0; n <= 1000; n++) await echo(n)'
    const all = await mayfly.run({ code: loop }, { functions })
    assert.match(all.error?.message ?? '', /"echo": a job makes at most 1000 such calls/)
  })

  test('at most 16 functions of the application run at a time for a job, and further calls wait in order', async () => {
    let [running, most] = [0, 0]
    const order: unknown[] = []
    const slow = async (n: unknown) => {
      order.push(n)
      most = Math.max(most, ++running)
      await new Promise((resolve) => void setImmediate(resolve))
      running--
      if (n === 20) throw new Error('no twenty')
      return n
    }
    const code =
      'return (await Promise.allSettled(Array.from({ length: 200 }, (_, n) => slow(n)))).map((one) => one.value ?? one.reason.message)'
    const { result } = await mayfly.run({ code }, { functions: { slow } })
    const numbers = Array.from({ length: 200 }, (_, n) => n)
    assert.deepEqual(result, numbers.with(20, 'no twenty' as never))
    assert.deepEqual(order, numbers)
    assert.ok(most <= 16, String(most))
  })

  test('data of a function that is no JSON is named with the function and the argument', async () => {
    const functions = { price: () => 1n, echo: (value: unknown) => value }
    const messageOf = async (code: string) =>
      (await mayfly.run({ code }, { functions })).error?.message
    assert.match((await messageOf('return await price()'))!, /result of "price".*BigInt/)
    assert.match((await messageOf('return await echo(1, 2n)'))!, /"echo": argument 2 .*BigInt/)
    const circle = 'const o = {}; o.o = o; return await echo(o)'
    assert.match((await messageOf(circle))!, /"echo": argument 1 .*circular/)
    assert.match(
      (await messageOf('return await call("ccos.echo", [1n])'))!,
      /"ccos.echo": argument 1/,
    )
  })

  test('a function that a job could not call by its name is refused before the job', async () => {
    const refused = (functions: object, why: RegExp, network?: { allow: string[] }) =>
      assert.rejects(mayfly.run({ code: '1', network }, { functions: functions as never }), {
        code: 'INVALID',
        message: why,
      })
    await refused({ a: 5 }, /"a" of "functions": it is no function but of type "number"/)
    for (const name of ['', 'a b', '1x', 'a-b', 'return', 'await'])
      await refused({ [name]: () => 1 }, /no name of a variable/)
    for (const name of ['input', 'console', 'call', 'Array', 'globalThis', 'undefined', 'eval'])
      await refused({ [name]: () => 1 }, /"functions": .*(?:another global|no name of a variable)/)
    await refused({ fetch: () => 1 }, /another global/, { allow: ['example.com'] })
    const functions = { fetch: () => 1, $_é: () => 2 }
    const { result } = await mayfly.run(
      { code: 'return [await fetch(), await $_é()]' },
      { functions },
    )
    assert.deepEqual(result, [1, 2])
  })

  test('a backend of deep agents implements the whole protocol, and names a missing file', async () => {
    await using box = await mayfly.open({ language: 'sh' })
    const backend = sandboxBackend(BaseSandbox, box)
    assert.ok(isSandboxBackend(backend))
    const written = await backend.uploadFiles([['/work/a.txt', Buffer.from('x')]])
    assert.deepEqual(written, [{ path: '/work/a.txt', error: null }])
    const [there, gone] = await backend.downloadFiles(['/work/a.txt', '/work/b.txt'])
    assert.equal(Buffer.from(there?.content ?? []).toString(), 'x')
    assert.deepEqual([gone!.content, gone!.error], [null, 'file_not_found'])
    assert.ok((await backend.uploadFiles([['/usr/a', Buffer.from('x')]]))[0]!.error)
    const { files } = await backend.ls('/work')
    assert.ok(files?.some(({ path }) => path === '/work/a.txt'))
    const failed = await backend.execute('echo out; echo err >&2; exit 4')
    assert.deepEqual([failed.exitCode, failed.output], [4, 'out\nerr\n'])
  })

  test('a provider of ComputeSDK lists, finds and destroys its sandboxes, and leaves none running', async () => {
    const { sandbox: sandboxes } = computeProvider(mayfly)
    const one = await sandboxes.create({ envs: { A: 'b' }, timeout: 60_000 })
    assert.equal((await one.runCommand('echo $A', { cwd: '/tmp' })).stdout, 'b\n')
    assert.equal(await sandboxes.getById(one.sandboxId), one)
    const { provider, timeout } = await one.getInfo()
    // Dates of both ends are rounded to a millisecond.
    assert.deepEqual([provider, Math.round(timeout / 1000)], ['mayfly', 60])
    await one.filesystem.mkdir('d/e')
    await one.filesystem.writeFile('d/e/f', 'g')
    assert.deepEqual(
      (await one.filesystem.readdir('d')).map(({ name, type }) => [name, type]),
      [['e', 'directory']],
    )
    await one.filesystem.remove('d')
    assert.equal(await one.filesystem.exists('d'), false)
    await assert.rejects(one.filesystem.readFile('d/e/f'))
    await assert.rejects(one.getUrl())
    await sandboxes.destroy(one.sandboxId)
    assert.deepEqual(await sandboxes.list(), [])
    await assert.rejects(one.runCommand('true'))
  })

  test('a provider of ComputeSDK lists a sandbox until its end, also one that ends by itself', async () => {
    const { sandbox: sandboxes } = computeProvider(mayfly)
    const one = await sandboxes.create({ timeout: 500 })
    assert.deepEqual(await sandboxes.list(), [one])
    for (let tries = 0; (await sandboxes.list()).length > 0; tries++) {
      assert.ok(tries < 1000, 'it is listed after its timeout')
      await sleep(20)
    }
    assert.equal(await sandboxes.getById(one.sandboxId), null)
  })

  test('a provider of ComputeSDK lists a sandbox that it could not destroy', async () => {
    const box = await mayfly.open({ language: 'python' })
    let isBroken = true
    const close = () => (isBroken ? Promise.reject(new Error('no answer')) : box.close())
    const { id, row, files, ended } = box
    const run: typeof box.run = (...asked) => box.run(...asked)
    const open = () => Promise.resolve({ id, row, files, ended, run, close })
    const { sandbox: sandboxes } = computeProvider({ open })
    await sandboxes.create()
    await assert.rejects(sandboxes.destroy(id))
    assert.equal((await sandboxes.list()).length, 1)
    isBroken = false
    await sandboxes.destroy(id)
    assert.deepEqual(await sandboxes.list(), [])
  })
})
