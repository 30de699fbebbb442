import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { WASI } from 'node:wasi'
import { Mayfly } from '../../../src/index.ts'
import type { Outcome } from '../../../src/contract/outcome.ts'
import { isSampled } from '../../fixtures/drawn.ts'
import { op, wasm } from '../../fixtures/wasm.ts'
import { Trap } from '../bait.ts'
import { leastGrowth, mebi } from '../growth.ts'
import { restsAfterwards } from '../proc.ts'
import { inParallel, sample, seed } from '../sample.ts'
import { wasiFamilies, type WasiCase } from './case.ts'
import { wasiCases, wasiCorpus } from './corpus.ts'

/**
 * Hostile modules on the wasm wall, at its stated strength: nothing of the host by any call of WASI, memory, time and
 * output within their limits, ends told as they were. A seeded sample runs unless MAYFLY_LONG is set; MAYFLY_SEED repeats
 * one.
 */
const long = process.env['MAYFLY_LONG'] !== undefined
const perFamily = long ? Infinity : isSampled ? 2 : 20
const atATime = 2
const memoryMiB = 64
const outputBytes = 50_000
const limits = { timeout: 600, memory: `${memoryMiB}MB`, output: outputBytes }
/** More than a module can run in its time. */
const instructions = 10 ** 12
/** Growth of any process of the wall over its idle size, as of a worker of isolates. */
const growthBytesMax = (memoryMiB * 1.25 + 32) * 2 ** 20
/** Without a cgroup, polling sees an allocation after it was made. */
const unseenBytes = 64 * 2 ** 20
const triesMax = 3
const timeoutAlone = 10_000
/** An end by a limit of the wall, on a busy machine, where another was expected. */
const ranOut = /^ended (?:timeout|limit):/

/** Missing in the types of Node alone. */
const { Module, Instance } = (globalThis as any).WebAssembly
const compiled = (bytes: Buffer) => new Module(new Uint8Array(bytes))

type Limits = typeof limits & { readonly instructions?: number }
const folder = mkdtempSync(join(tmpdir(), 'hostile-wasi-'))
const honest = wasm({
  functions: [{ export: 'run', results: ['i32'], body: [...op.i32(7)] }],
}).toString('base64')
/** Modules find the bait in their own data. */
const noInput = { input: {} } as never
let trap: Trap
let mayfly: Mayfly

before(async () => {
  trap = await Trap.set()
  mayfly = await Mayfly.open({ state: join(folder, 'state'), escalation: { 0: 'isolate' } })
})
after(async () => {
  await mayfly[Symbol.asyncDispose]()
  await trap[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

test('The corpus of modules has unique names, and every family has cases', () => {
  assert.ok(wasiCases.length >= 100)
  assert.equal(new Set(wasiCases.map(({ name }) => name)).size, wasiCases.length)
  for (const family of wasiFamilies) {
    assert.ok(wasiCorpus[family].length > 0, family)
    for (const { family: own, because } of wasiCorpus[family])
      assert.ok(own === family && because.length > 3)
  }
})

test('Every module is valid, so that the wall is under test and not the compiler', () => {
  const { bait } = trap.lure(noInput)
  for (const { name, module } of wasiCases) assert.doesNotThrow(() => compiled(module(bait)), name)
})

test('Attacks on paths and fds succeed against a WASI with a preopened folder', () => {
  const open = mkdtempSync(join(folder, 'open-'))
  const { bait } = trap.lure(noInput)
  for (const name of openable) {
    const { module } = wasiCases.find((one) => one.name === name)!
    const wasi = new WASI({ version: 'preview1', preopens: { '/': open } })
    const instance = new Instance(compiled(module(bait)), wasi.getImportObject())
    wasi.initialize(instance)
    assert.notEqual(instance.exports.run(), 0, name)
  }
})

/** Attacks that a preopened folder lets succeed. */
const openable = [
  'paths by path_open',
  'paths by path_filestat_get',
  'paths that are made',
  'links and moves between folders',
  'prestat',
  'forged preopens',
  'what a stream is',
]

for (const family of wasiFamilies)
  test(`Every hostile module of the family "${family}" is contained (S4-29, S0-15)`, async () => {
    const uncontained = new Map<WasiCase, string>()
    await inParallel(sample(wasiCorpus[family], perFamily), atATime, async (hostile) => {
      const why = await tryBoth(hostile)
      if (why) uncontained.set(hostile, why)
    })
    for (const [hostile, first] of uncontained)
      if (ranOut.test(first) && (await isContainedAlone(hostile))) uncontained.delete(hostile)
    assert.deepEqual(
      [...uncontained].map(([{ name }, why]) => `${name}: ${why}`),
      [],
      `seed ${seed}`,
    )
    const { status, result } = await mayfly.run({ code: honest, language: 'wasm' })
    assert.deepEqual([status, result], ['ok', 7], 'an honest module runs afterwards')
    await restsAfterwards()
  })

test('No process of the wasm wall grows beyond limit × 1.25 + 32 MiB under a memory bomb of a module (S4-29)', async (t) => {
  const bound = growthBytesMax + ((await hasCgroup()) ? 0 : unseenBytes)
  for (const hostile of sample(wasiCorpus.memory, perFamily)) {
    const bomb = async () => assert.equal(await tryOut(hostile), undefined, hostile.name)
    const { least, told } = await leastGrowth(bound, bomb)
    t.diagnostic(`${hostile.name}: ${told.join('; ')}`)
    assert.ok(least <= bound, `${hostile.name}: ${told.join('; ')}, bound ${mebi(bound)}`)
  }
})

/** True if a module ended by a limit under load is contained when it is retried alone, with more time for a busy machine. */
async function isContainedAlone(hostile: WasiCase): Promise<boolean> {
  for (let tries = 1; tries < triesMax; tries++) {
    const why = await tryBoth(hostile, { ...limits, timeout: timeoutAlone })
    if (!why || !ranOut.test(why)) return !why
  }
  return false
}

/** With its instructions uncounted, and counted: another form of the module. */
async function tryBoth(hostile: WasiCase, within: Limits = limits): Promise<string | undefined> {
  return (await tryOut(hostile, within)) ?? (await tryOut(hostile, { ...within, instructions }))
}

/** Reason why a module was not contained; undefined if it was. */
async function tryOut(hostile: WasiCase, within: Limits = limits): Promise<string | undefined> {
  const lure = trap.lure(noInput)
  const outcome = await mayfly.run({
    code: hostile.module(lure.bait).toString('base64'),
    language: 'wasm',
    entry: hostile.entry ?? 'function',
    limits: within,
  })
  const { status, error, result, stdout, stderr } = outcome
  const said = JSON.stringify([result, error, stdout, stderr])
  const escaped = lure.evidence(said)
  if (escaped) return escaped
  if (!hostile.expect.includes(status)) return `ended ${status}: ${said.slice(0, 200)}`
  if (hostile.gives !== undefined && status === 'ok' && result !== hostile.gives)
    return `it gave ${JSON.stringify(result)}`
  return overflowing(outcome)
}

function overflowing({ stdout, stderr }: Outcome): string | undefined {
  const bytes = Math.max(Buffer.byteLength(stdout), Buffer.byteLength(stderr))
  return bytes > outputBytes ? `it printed ${bytes} bytes` : undefined
}

async function hasCgroup(): Promise<boolean> {
  const providers = await mayfly.providers()
  return providers.some(
    ({ availability }) => availability.available && availability.layers.includes('memory cgroup'),
  )
}
