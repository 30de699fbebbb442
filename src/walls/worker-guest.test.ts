import assert from 'node:assert/strict'
import { test } from 'node:test'
import { playedIdleBytes, playedMemory, playWorker } from '../../tests/fixtures/played-worker.ts'
import { allControls, noNetwork, type Controls } from '../contract/controls.ts'
import { MayflyError } from '../contract/error.ts'
import { execEndSchema, kind } from './wire.ts'

test('Codes of a worker are enumerated: any other text, or a code of the host, is mapped to OTHER', async () => {
  const text = 'what the guest wants to have in the record '.repeat(80)
  for (const [code, told] of [
    [text.slice(0, 3000), 'OTHER'],
    ['WALL_LOST', 'OTHER'],
    ['CANCELLED', 'OTHER'],
    ['MEMORY\u202e', 'OTHER'],
    ['constructor', 'OTHER'],
    ['USER_ERROR', 'USER_ERROR'],
    ['WASM_TRAP', 'WASM_TRAP'],
  ]) {
    for (const status of ['error', 'failed', 'limit'] as const) {
      const worker = await playWorker()
      const end = await worker.ends({ status, error: { code, message: 'said' } })
      assert.deepEqual([end.status, end.error?.code], [status, told])
      assert.ok(end.isReported, 'nothing outside saw it')
    }
  }
})

test('A worker that sends no text as its code ends as an error PROTOCOL', async () => {
  for (const code of [7, null, { toString: 'MEMORY' }, 'x'.repeat(70_000)]) {
    const worker = await playWorker()
    const end = await worker.ends({ status: 'limit', error: { code, message: 'said' } })
    assert.deepEqual([end.status, end.error?.code], ['error', 'PROTOCOL'])
    assert.ok(worker.isKilled())
  }
})

test('Codes of execs are enumerated as those of jobs; codes of the host are refused', () => {
  const codeOf = (code: string) =>
    execEndSchema.safeParse({
      protocol: 1,
      id: 'e',
      status: 'error',
      encoding: 'json',
      cpuTimeMs: 0,
      executionMs: 0,
      state: 'kept',
      error: { code, message: 'said' },
    }).data?.error?.code
  assert.equal(codeOf('x'.repeat(3000)), 'OTHER')
  assert.equal(codeOf('SYNTAX_ERROR'), 'SYNTAX_ERROR')
  assert.equal(codeOf('IMPORT_REFUSED'), 'IMPORT_REFUSED')
  assert.equal(codeOf('MEMORY'), undefined)
  assert.equal(codeOf('WALL_LOST'), undefined)
})

test('An exec counts as ended at its OUTPUT limit only if its output reached that limit; else the claim is a breach', async () => {
  const limits = { timeoutMs: 60_000, resultBytesMax: 100, artifactBytesMax: 0 }
  for (const [bytes, status, code] of [
    [1001, 'limit', 'OUTPUT'],
    [1000, 'error', 'PROTOCOL'],
  ] as const) {
    const worker = await playWorker({ isSession: true })
    const ended = worker.sandbox.session!.exec({ code: '', outputBytesMax: 1000, ...limits })
    const { id } = JSON.parse(worker.sent)
    worker.says(kind.stdout, 'x'.repeat(bytes))
    worker.says(kind.stderr, 'x'.repeat(1000))
    const head = { protocol: 1, status: 'error', encoding: 'json', cpuTimeMs: 0, executionMs: 0 }
    const claim = { ...head, id, state: 'kept', flooded: true }
    worker.says(kind.execEnd, `${JSON.stringify(claim)}\nnull`)
    const { end } = await ended
    assert.deepEqual([end.status, end.error?.code], [status, code])
    assert.equal(worker.isKilled(), code === 'PROTOCOL')
  }
})

test('A job under the deadline of an earlier one inherits neither its CPU time, peak nor deadline', async () => {
  const exit = { exitCode: null, signal: 'SIGKILL', cpuMs: 3_600_000 }
  const seen = { peakBytes: 2 ** 30, detail: 'exit SIGKILL', exit } as const
  for (const [how, status, code, peak] of [
    ['killed', 'failed', 'WALL_LOST', undefined],
    ['deadline', 'failed', 'WALL_LOST', undefined],
    ['memory', 'limit', 'MEMORY', 2 ** 30 - playedIdleBytes],
  ] as const) {
    const worker = await playWorker({ isShared: true })
    const end = await worker.isLost({ how, ...seen })
    assert.deepEqual([end.status, end.error?.code, end.memory?.peak], [status, code, peak])
    assert.ok(end.cpuTime < exit.cpuMs / 10, `${end.cpuTime} ms`)
  }
})

test('A job that reaches its own time limit under the deadline of an earlier one, while the server stands still, ends as a timeout', async () => {
  const exit = { exitCode: null, signal: 'SIGKILL', cpuMs: 3_600_000 }
  const killed = { how: 'deadline', peakBytes: 2 ** 30, detail: 'exit SIGKILL', exit } as const
  for (const [ranMs, status, code] of [
    [59_999, 'failed', 'WALL_LOST'],
    [60_000, 'timeout', 'TIMEOUT'],
  ] as const) {
    const at = { now: 5_000 }
    const worker = await playWorker({ isShared: true, now: () => at.now })
    at.now += ranMs
    const end = await worker.isLost(killed)
    assert.deepEqual(
      [end.status, end.error?.code, end.memory],
      [status, code, undefined],
      `after ${ranMs} ms`,
    )
    assert.ok(end.cpuTime < exit.cpuMs / 10, `${end.cpuTime} ms`)
  }
})

test('A job with figures of its own at the warden is charged by these', async () => {
  const worker = await playWorker()
  const exit = { exitCode: null, signal: 'SIGKILL', cpuMs: 3_600_000 }
  const end = await worker.isLost({ how: 'deadline', peakBytes: 2 ** 30, detail: '', exit })
  const peak = 2 ** 30 - playedIdleBytes
  assert.deepEqual([end.status, end.cpuTime, end.memory?.peak], ['timeout', exit.cpuMs, peak])
})

test('A job whose worker is killed for a garbled frame is charged the count of the warden', async () => {
  for (const [isShared, cpuMs, mostMs] of [
    [false, 81, 81],
    [true, 3_600_000, 360_000],
  ] as const) {
    const worker = await playWorker({ isShared, cpuMs })
    worker.says(kind.end, 'garbled')
    assert.deepEqual([(await worker.end).error?.code, (await worker.end).cpuTime], ['PROTOCOL', 0])
    await worker.sandbox[Symbol.asyncDispose]()
    const { cpuTime = 0 } = worker.sandbox.receipt!
    assert.ok(isShared ? cpuTime > 0 && cpuTime < mostMs : cpuTime === cpuMs, `${cpuTime} ms`)
  }
})

test('A job whose worker claims no CPU time is charged what the warden counted from the first sample to its end', async () => {
  for (const memory of [undefined, { used: 1, peak: 1 }]) {
    const sampled = Promise.withResolvers<void>()
    const counts = [500, 590]
    const usage = () => {
      setImmediate(sampled.resolve)
      return Promise.resolve({ ...noneUsed, cpuMs: counts.shift()! })
    }
    const worker = await playWorker({ isShared: true, usage })
    await sampled.promise
    await worker.ends({ cpuTimeMs: 0, memory })
    worker.says(kind.idle, '')
    await worker.sandbox[Symbol.asyncDispose]()
    assert.deepEqual([worker.sandbox.receipt!.cpuTime, counts], [90, []])
    assert.equal(worker.given.length, 1, 'its worker is given back')
  }
})

test('A job that ends before its first sample costs no request', async () => {
  let asked = 0
  const usage = () => Promise.resolve({ ...noneUsed, cpuMs: ++asked })
  const worker = await playWorker({ usage })
  await worker.ends({ cpuTimeMs: 3 })
  worker.says(kind.idle, '')
  await worker.sandbox[Symbol.asyncDispose]()
  assert.equal(asked, 0)
})

const noneUsed = { processes: 1, bytes: 1, waitedMs: 0, atMs: 0 }

test('Memory of a job whose worker was killed is reported without that of the idle worker', async () => {
  const exit = { exitCode: null, signal: 'SIGKILL', cpuMs: 1 } as const
  for (const [how, grownBytes, told] of [
    ['memory', 2 ** 28, 2 ** 28],
    ['memory', -1, playedMemory],
    ['deadline', 2 ** 28, 2 ** 28],
    ['deadline', -1, undefined],
  ] as const) {
    const worker = await playWorker()
    const peakBytes = playedIdleBytes + grownBytes
    const { memory } = await worker.isLost({ how, peakBytes, detail: '', exit })
    assert.equal(memory?.peak, told, `${how} ${grownBytes}`)
  }
})

test('A small job is answered before its worker has dropped the guest; the worker is no spare until then', async () => {
  const worker = await playWorker()
  await worker.ends({ memory: { used: 1, peak: 1 } })
  await worker.sandbox[Symbol.asyncDispose]()
  assert.deepEqual(worker.sandbox.receipt?.forced, [])
  const [clears] = worker.given
  let isClear: boolean | undefined
  void clears?.then((told) => (isClear = told))
  await new Promise((resolve) => void setTimeout(resolve, 50))
  assert.equal(isClear, undefined)
  worker.says(kind.idle, '')
  assert.equal(await clears, true)
})

test('A worker that never drops its guest is given back as not cleared, and an event reports it', async () => {
  const worker = await playWorker()
  await worker.ends({ memory: { used: 1, peak: 1 } })
  await worker.sandbox[Symbol.asyncDispose]()
  // A broken worker may send anything else meanwhile.
  worker.says(kind.stdout, 'more')
  assert.equal(await worker.given[0], false)
  assert.match(JSON.stringify(worker.emitted), /"tier\/lost".*did not drop its guest in 1000 ms/)
})

test('A job that may have grown its worker is answered once the worker has dropped it', async () => {
  const worker = await playWorker()
  await worker.ends({ memory: { used: 1, peak: 2 ** 27 } })
  const disposed = worker.sandbox[Symbol.asyncDispose]()
  await new Promise((resolve) => void setTimeout(resolve, 50))
  assert.deepEqual(worker.given, [])
  worker.says(kind.idle, '')
  await disposed
  assert.deepEqual(worker.given, [undefined])
})

test('A refused name has trust "guest", and is from a closed list', async () => {
  const worker = await playWorker()
  worker.says(kind.refused, '{"name":"process"}')
  worker.says(kind.refused, '{"name":"import","module":"fs"}')
  worker.says(kind.refused, '{"name":"require","module":"sqlite"}')
  for (const module of ['_http_agent', 'a module of a later Node', 'node:fs', 'x'.repeat(3000)])
    worker.says(kind.refused, JSON.stringify({ name: 'require', module }))
  const told = worker.emitted.filter(([point]) => point === 'name/refused')
  assert.deepEqual(told, [
    ['name/refused', { name: 'process' }, 'guest'],
    ['name/refused', { name: 'import', module: 'fs' }, 'guest'],
    ['name/refused', { name: 'require', module: 'sqlite' }, 'guest'],
    ...Array.from({ length: 4 }, () => ['name/refused', { name: 'require' }, 'guest']),
  ])
  assert.ok(!worker.isKilled())
})

test('A worker that sends too many names, or other text, ends as an error PROTOCOL', async () => {
  const text = 'what the guest wants to have in the record'
  for (const payloads of [
    [JSON.stringify({ name: text })],
    [JSON.stringify({ name: text, module: 'fs' })],
    [JSON.stringify({ name: 'import', module: 7 })],
    [JSON.stringify({ name: 'process', because: text })],
    ['{"name":"process"'],
    Array.from({ length: 65 }, () => '{"name":"process"}'),
  ]) {
    const worker = await playWorker()
    for (const payload of payloads) worker.says(kind.refused, payload)
    assert.equal((await worker.end).error?.code, 'PROTOCOL')
    assert.ok(worker.isKilled())
    const told = worker.emitted.filter(([point]) => point === 'name/refused')
    assert.equal(told.length, payloads.length - 1, 'each name but the last')
    assert.ok(!JSON.stringify(told).includes(text))
  }
})

test('A job that is killed has no folder in the time that its worker has to send its output, whatever a phase grants', async () => {
  const granted: string[][] = []
  const openFolders = async () => ({
    answer: () => Promise.resolve('null'),
    tighten: ({ files }: Controls) => void granted.push([...files.read, ...files.write]),
  })
  const worker = await playWorker({ openFolders })
  worker.sandbox.kill({ status: 'timeout' })
  assert.deepEqual([granted, worker.isKilled()], [[['/', '/'], []], false])
  await worker.sandbox.tighten({ ...allControls, network: noNetwork, memory: playedMemory })
  assert.deepEqual(granted, [['/', '/'], [], []])
})

test('A job that has ended has no folder: a write in flight is refused before its caller is answered', async () => {
  for (const [how, end] of [
    ['a reported end', (worker: Worker) => worker.ends({})],
    [
      'memory',
      (worker: Worker) => worker.isLost({ how: 'memory', peakBytes: 0, detail: '', exit }),
    ],
    ['garbage', (worker: Worker) => (worker.says(kind.end, 'garbled'), worker.end)],
  ] as const) {
    const granted: string[][] = []
    const openFolders = async () => ({
      answer: () => Promise.resolve('null'),
      tighten: ({ files }: Controls) => void granted.push([...files.read, ...files.write]),
    })
    const worker = await playWorker({ openFolders })
    assert.deepEqual(granted, [['/', '/']], how)
    await end(worker)
    assert.deepEqual(granted, [['/', '/'], []], how)
  }
})

type Worker = Awaited<ReturnType<typeof playWorker>>
const exit = { exitCode: null, signal: 'SIGKILL', cpuMs: 1 } as const

test('Calls of a session are counted for each exec', { timeout: 120_000 }, async () => {
  const worker = await playWorker({ isSession: true })
  const limits = { timeoutMs: 90_000, resultBytesMax: 9, artifactBytesMax: 0, outputBytesMax: 9 }
  const head = { protocol: 1, status: 'ok', encoding: 'json', cpuTimeMs: 0, executionMs: 0 }
  for (let execs = 0; execs < 2; execs++) {
    const ended = worker.sandbox.session!.exec({ code: '', ...limits })
    const { id } = JSON.parse(worker.sent)
    for (let at = 1; at < 50_100; at++) {
      worker.says(kind.call, `{"id":${at},"name":"x"}\nnull`)
      // Frames that are queued while others have their turn are read soon.
      if (at % 1000 === 0) await new Promise((then) => void setImmediate(then))
    }
    worker.says(kind.execEnd, `${JSON.stringify({ ...head, id, state: 'kept' })}\nnull`)
    const { end } = await ended
    assert.deepEqual([end.status, end.error?.code], ['ok', undefined])
  }
})

test(
  'An isolate in a wall of its own has the deadline of its life at the warden soon after its release, not that of its claim',
  { timeout: 60_000 },
  async () => {
    const armed = Promise.withResolvers<number>()
    const worker = await playWorker({ ownsWall: true, armed: armed.resolve })
    const deadlineMs = await armed.promise
    assert.ok(deadlineMs <= 60_040, `${deadlineMs} ms`)
    await worker.ends({ status: 'ok' })
  },
)

test('A worker that releases a second time ends as an error PROTOCOL; of a session it costs no second request', async () => {
  for (const isSession of [false, true]) {
    let asked = 0
    const usage = () => Promise.resolve({ ...noneUsed, cpuMs: ++asked })
    const worker = await playWorker({ isSession, usage })
    for (let n = 0; n < 3; n++) worker.says(kind.released, '')
    assert.ok(worker.isKilled())
    assert.equal((await worker.end).error?.code, 'PROTOCOL')
    assert.equal(asked, isSession ? 1 : 0)
  }
})

test('A worker that is idle before the end of its job, or twice, is killed', async () => {
  const early = await playWorker()
  early.says(kind.idle, '')
  assert.ok(early.isKilled())
  assert.equal((await early.end).error?.code, 'PROTOCOL')

  const late = await playWorker()
  assert.equal((await late.ends({})).status, 'ok')
  late.says(kind.idle, '')
  assert.ok(!late.isKilled())
  late.says(kind.idle, '')
  assert.ok(late.isKilled())
})

test('An exec that failed lifts the deadline of its wall only if the wall is gone', async () => {
  const limits = {
    timeoutMs: 60_000,
    resultBytesMax: 100,
    artifactBytesMax: 0,
    outputBytesMax: 1000,
  }
  for (const [codes, asks, releases] of [
    [['PROTOCOL', 'WARDEN_LOST'], 2, 0],
    [['PROTOCOL', 'NOT_FOUND'], 2, 1],
    [['NOT_FOUND'], 1, 1],
  ] as const) {
    let asked = 0
    const usageOfExec = () => Promise.reject(new MayflyError(codes[asked++]!, 'Cannot read it'))
    let released = 0
    const release = () => Promise.resolve({ cpuMs: 0, peakBytes: ++released })
    const worker = await playWorker({ isSession: true, usageOfExec, release })
    const ended = worker.sandbox.session!.exec({ code: '', ...limits })
    const { id } = JSON.parse(worker.sent)
    const head = { protocol: 1, status: 'error', encoding: 'json', cpuTimeMs: 0, executionMs: 0 }
    const error = { code: 'USER_ERROR', message: 'thrown' }
    worker.says(kind.execEnd, `${JSON.stringify({ ...head, id, error, state: 'kept' })}\nnull`)
    assert.equal((await ended).end.error?.code, 'USER_ERROR')
    assert.deepEqual([asked, released], [asks, releases])
  }
})
