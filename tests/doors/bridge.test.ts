import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { Box as RealBox } from '../../src/sdk/box.ts'
import { BoxTerminal as RealBoxTerminal } from '../../src/sdk/box-terminal.ts'
import { Box, BoxTerminal, Mayfly } from '../../src/sdk/bridge/classes.ts'
import { classes, type MemberRow, type MemberRows } from '../../src/sdk/bridge/table.ts'
import { Mayfly as RealMayfly } from '../../src/sdk/mayfly.ts'
import { createMockProvider } from '../../src/tiers/mock/provider.ts'

/**
 * The library as older Nodes have it, here under Node 26: the road in a process of its own. What its members do is for the
 * tests of the library to say, which `tests/fixtures/bridged.js` has run on it.
 */
const root = join(import.meta.dirname, '../..')
const base = mkdtempSync(join(tmpdir(), 'mayfly-bridge-'))
after(() => rmSync(base, { recursive: true, force: true }))
const state = join(base, 'state')
const patienceMs = 30_000

suite('A library whose pipeline runs in another process', () => {
  test('classes have the members of the originals, and only Mayfly can construct them', () => {
    const pairs = [
      [Mayfly, RealMayfly],
      [Box, RealBox],
      [BoxTerminal, RealBoxTerminal],
    ] as const
    for (const [one, real] of pairs) {
      const own = new Set(Reflect.ownKeys(one.prototype))
      const missing = Reflect.ownKeys(real.prototype).filter((name) => !own.has(name))
      assert.deepEqual(missing, [], real.name)
      assert.equal(one.name, real.name)
      const made = one as unknown as new () => object
      assert.throws(() => new made(), TypeError)
    }
  })

  test('a configuration error has its position, and leaves no process', async () => {
    const wrong = { state, limits: { memory: 'much' } }
    await assert.rejects(Mayfly.open(wrong), {
      name: 'MayflyError',
      code: 'CONFIG',
    })
    await gone(() => roadsOf(process.pid).length === 0, 'the process of the road')
  })

  test('a provider is given by the path of its module; a provider object is refused with a hint', async () => {
    const refused = { code: 'UNAVAILABLE', hint: /path of its module/ }
    await assert.rejects(Mayfly.open({ state }, { providers: [createMockProvider()] }), refused)
    const module = join(root, 'examples/provider-module/python-alone.js')
    await using mayfly = await Mayfly.open({ state }, { providers: [module] })
    await assert.rejects(mayfly.addProvider(createMockProvider()), refused)
    const found = (await mayfly.providers()).find(
      ({ provider }) => provider.name === 'python-alone',
    )
    assert.deepEqual([found?.provider.tier, found?.availability.available], ['process', true])
    const job = { code: 'result = 6 * 7', language: 'python', provider: 'python-alone' } as const
    assert.equal((await mayfly.run(job)).result, 42)
  })

  test('sinks receive every event, in order and before the outcome', async () => {
    const heard: string[] = []
    await using mayfly = await Mayfly.open({ state }, { sinks: [({ point }) => heard.push(point)] })
    await mayfly.run({ code: 'return 1' })
    const own = heard.filter((point) =>
      ['job/admitted', 'phase/opened', 'job/ended'].includes(point),
    )
    assert.deepEqual(own, ['job/admitted', 'phase/opened', 'job/ended'])
  })

  test('a signal also ends what a call began after the call has answered', async () => {
    await using mayfly = await Mayfly.open({ state })
    const stop = new AbortController()
    const { signal } = stop
    const box = await mayfly.open({ language: 'python', timeout: 60_000 }, { signal })
    const info = { limits: { timeout: 60_000 }, signal }
    const code = 'for (;;) {}'
    const begun = await mayfly.initializeExecution(code, info)
    const planned = await mayfly.createTemporalZones(code, info)
    mayfly.assignCodeToZones(code, planned)
    const runs = [begun, planned].map((zones) => mayfly.monitorZones(zones))
    stop.abort()
    const outcomes = await Promise.all([box.ended, ...runs])
    const statuses = outcomes.map(({ status }) => status)
    assert.deepEqual(statuses, ['cancelled', 'cancelled', 'cancelled'])
  })

  test('when the process is killed, every call is rejected with that reason, and a new instance works', async () => {
    const mayfly = await Mayfly.open({ state })
    const box = await mayfly.open({})
    const began = Promise.withResolvers<void>()
    const job = { code: 'console.log("go"); for (;;) {}', limits: { timeout: 60_000 } } as const
    const running = mayfly.run(job, { tap: () => began.resolve() })
    await Promise.race([began.promise, running])
    const [road] = roadsOf(process.pid)
    process.kill(road!, 'SIGKILL')
    const lost = { code: 'WARDEN_LOST' }
    await assert.rejects(running, lost)
    const owners = [
      [box.files, classes.Box.files],
      [box, classes.Box],
      // Last, as it closes the library.
      [mayfly, classes.Mayfly],
    ] as const
    for (const [owner, rows] of owners)
      for (const [name, row] of Object.entries<MemberRow | MemberRows>(rows)) {
        const member = async () => (owner as unknown as Record<string, () => unknown>)[name]!()
        // Refused with another reason, whether the process is there or not.
        if (name === 'addProvider') continue
        if (row.kind === 'call' || row.kind === 'sync') await assert.rejects(member(), lost, name)
      }
    await using again = await Mayfly.open({ state })
    assert.equal((await again.run({ code: 'return 1' })).result, 1)
  })

  test('a close cancels what runs, and every later call is refused as one after it', async () => {
    const mayfly = await Mayfly.open({ state })
    const began = Promise.withResolvers<void>()
    const job = { code: 'console.log("go"); for (;;) {}', limits: { timeout: 60_000 } } as const
    const running = mayfly.run(job, { tap: () => began.resolve() })
    await began.promise
    await mayfly.close()
    assert.equal((await running).status, 'cancelled')
    const closed = { code: 'CONFLICT', message: 'Cannot use Mayfly: it was closed' }
    await assert.rejects(mayfly.run({ code: 'return 1' }), closed)
    assert.throws(() => mayfly.statistics(), closed)
    await mayfly.close()
  })

  test('after the close a box and a terminal still have their outcome, read for the first time, as in one process', async () => {
    for (const Library of [RealMayfly, Mayfly]) {
      const mayfly = await Library.open({ state })
      const [box, other] = [await mayfly.open({ language: 'python' }), await mayfly.open({})]
      const terminal = await box.pty({ command: ['cat'] })
      await other.close()
      await mayfly.close()
      const outcomes = await Promise.all([box.ended, other.ended, terminal.exited])
      const statuses = outcomes.map(({ status }) => status)
      assert.deepEqual(statuses, ['ok', 'ok', 'terminated'])
      const closed = await Promise.all([box.close(), other.close(), terminal.close()])
      assert.deepEqual(closed, outcomes)
    }
  })

  test('when the application is killed by SIGKILL, the process, its warden and its walls end', async () => {
    const { child, heard } = application(`
      const mayfly = await Mayfly.open({ state: ${JSON.stringify(state)} })
      const code = 'console.log("spinning"); for (;;) {}'
      void mayfly.run({ code, limits: { timeout: 60_000 } }, { tap: () => console.log('spins') })`)
    assert.equal(await heard(), 'spins')
    const below = treeOf(child.pid!).filter(isAlive)
    assert.ok(below.length >= 3, `${below.length} processes`)
    child.kill('SIGKILL')
    await gone(() => below.every((pid) => !isAlive(pid)), 'every process below the application')
  })

  test('an open and idle instance does not keep the application alive, and ends with it', async () => {
    const { child, heard } = application(`
      const mayfly = await Mayfly.open({ state: ${JSON.stringify(state)} })
      console.log((await mayfly.run({ code: 'return 6 * 7' })).result)`)
    const exited = once(child, 'exit')
    assert.equal(await heard(), '42')
    const below = treeOf(child.pid!)
    assert.deepEqual(await exited, [0, null])
    await gone(() => below.every((pid) => !isAlive(pid)), 'every process below the application')
  })

  test('Ctrl-C is left to the application: jobs run until it closes Mayfly', async () => {
    const { child, heard } = application(`
      const mayfly = await Mayfly.open({ state: ${JSON.stringify(state)} })
      process.once('SIGINT', async () => {
        console.log((await mayfly.run({ code: 'return "after"' })).result)
        await mayfly.close()
        console.log('closed')
        process.exit(0)
      })
      console.log('ready')
      setInterval(() => undefined, 1000)`)
    assert.equal(await heard(), 'ready')
    // Sent to the whole foreground process group, as a terminal does.
    process.kill(-child.pid!, 'SIGINT')
    assert.deepEqual([await heard(), await heard()], ['after', 'closed'])
  })
})

/** Starts an application that uses the library through the bridge, in its own process group. */
function application(code: string) {
  const bridged = join(root, 'tests/fixtures/bridged.js')
  const imports = `import { Mayfly } from ${JSON.stringify(join(root, 'src/index.ts'))}\n`
  const flags = ['--disable-warning=ExperimentalWarning', '--import', bridged]
  const args = [...flags, '--input-type=module', '--eval', imports + code]
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  })
  after(() => child.kill('SIGKILL'))
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const heard = async () => String((await lines.next()).value)
  return { child: child as ChildProcess, heard }
}

function roadsOf(pid: number): readonly number[] {
  return childrenOf(pid).filter((child) => commandOf(child).includes('bridge/host.ts'))
}

function treeOf(pid: number): readonly number[] {
  const below = childrenOf(pid)
  return [...below, ...below.flatMap(treeOf)]
}

function childrenOf(pid: number): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((one) => parentOf(one) === pid)
}

function parentOf(pid: number): number | undefined {
  const [, parent] = /^PPid:\t(\d+)$/m.exec(procFile(pid, 'status')) ?? []
  return parent === undefined ? undefined : Number(parent)
}

function commandOf(pid: number): string {
  return procFile(pid, 'cmdline').replaceAll('\0', ' ')
}

function isAlive(pid: number): boolean {
  return /^State:\t[^ZX]/m.test(procFile(pid, 'status'))
}

function procFile(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8')
  } catch {
    return ''
  }
}

async function gone(holds: () => boolean, what: string): Promise<void> {
  const until = performance.now() + patienceMs
  while (!holds()) {
    if (performance.now() > until) throw new Error(`Waited ${patienceMs} ms for the end of ${what}`)
    await sleep(20)
  }
}
