import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'node:test'
import { assemble } from '../../src/assemble/assemble.ts'
import { loadConfig } from '../../src/config/load.ts'
import { systemClock } from '../../src/contract/clock.ts'
import type { Outcome } from '../../src/contract/outcome.ts'
import { Mayfly } from '../../src/index.ts'
import { newJob } from '../../src/job.ts'
import { startWarden } from '../../src/sdk/start-warden.ts'
import { test } from '../fixtures/drawn.ts'
import { makePlace, startServer, whenReady, type Place, type Server } from './program.ts'

/** Concurrency of jobs: sleeping jobs use no CPU share, and memory counts as measured. */
const MiB = 2 ** 20
const busyMax = 4 * availableParallelism()
const many = busyMax * 3
/** The usual 5 s are too little for as many starts on a busy machine. */
const patient = { timeout: '60s' }
const sleepers = {
  python: `import time\ntime.sleep(4)\nprint('slept')`,
  node: `setTimeout(() => console.log('slept'), 4000)`,
} as const

suite('Jobs that sleep', () => {
  for (const [language, code] of Object.entries(sleepers))
    test(`${language}: jobs of one key over HTTP all end, none is refused, and more run at once than may use a CPU`, async () => {
      await inPlace(async (place) => {
        await using server = await startServer(place)
        await whenReady(server)
        const seen = mostRunning(server)
        const answers = await Promise.all(
          Array.from({ length: many }, () => post(server, { language, code, limits: patient })),
        )
        assert.deepEqual(
          answers.filter(({ body }) => body['status'] !== 'ok' || body['stdout'] !== 'slept\n'),
          [],
        )
        assert.ok((await seen.stop()) > busyMax, `${await seen.stop()} at once`)
        assert.deepEqual((await server.stop()).left, [])
      })
    })

  test('jobs of the library all end, and none is refused', async () => {
    const state = mkdtempSync(join(tmpdir(), 'mayfly-admission-'))
    try {
      await using mayfly = await Mayfly.open({ state })
      const job = { language: 'python', code: sleepers.python, limits: patient } as const
      const outcomes = await Promise.all(Array.from({ length: many }, () => mayfly.run(job)))
      assert.deepEqual(
        outcomes.map(({ status }) => status),
        outcomes.map(() => 'ok'),
      )
    } finally {
      for (const folder of [state, `${state}-warden`]) rmSync(folder, { recursive: true })
    }
  })
})

test('A short job is answered while more jobs of its key compute than may use a CPU at once', async () => {
  await inPlace(async (place) => {
    await using server = await startServer(place)
    await whenReady(server)
    const short = { language: 'python', code: 'print(1)' }
    assert.equal((await post(server, short)).body['status'], 'ok')
    const ended: unknown[] = []
    const cancel = new AbortController()
    const busy = { language: 'python', code: 'while True: pass', limits: { timeout: '10m' } }
    const busyOnes = Array.from({ length: busyMax * 2 }, async () => {
      const answer = await post(server, busy, cancel.signal).catch(() => undefined)
      ended.push(answer?.body)
    })
    await untilGauge(server, 'waiting', (count) => count > 0)
    for (let n = 0; n < 5; n++) {
      const { body } = await post(server, short)
      assert.equal(body['status'], 'ok', JSON.stringify(body))
      if (n === 0) assert.ok((await placesOf(server, 'waiting')) > 0, 'it overtakes busy jobs')
    }
    assert.deepEqual(ended, [], 'each busy job runs or waits')
    cancel.abort()
    await Promise.all(busyOnes)
    assert.deepEqual((await server.stop()).left, [])
  })
})

test('[server] jobs and queue_wait bound what runs at once and how long others wait, with Retry-After', async () => {
  await inPlace(async (place) => {
    writeFileSync(join(place.cwd, 'bounds.toml'), '[server]\njobs = 1\nqueue_wait = "200ms"\n')
    await using server = await startServer(place, ['--config', 'bounds.toml'])
    await whenReady(server)
    const first = post(server, { language: 'python', code: sleepers.python })
    await running(server)
    const second = await post(server, { language: 'python', code: 'print(1)' })
    assert.equal(second.status, 503)
    assert.equal(second.body['code'], 'OVERLOADED')
    assert.match(
      String(second.body['message']),
      /waited too long for a place: .*"server\.queue_wait"/,
    )
    assert.ok(Number(second.retryAfter) >= 1, String(second.retryAfter))
    assert.equal((await first).body['status'], 'ok')
  })
})

test('Jobs that sleep and then all allocate at once end ok or with an error code; none is lost', async () => {
  const state = mkdtempSync(join(tmpdir(), 'mayfly-admission-'))
  const { config } = loadConfig({ object: { state }, env: {}, cwd: state })
  const warden = await startWarden({ stateFolder: state, memoryBytes: 300 * MiB })
  const budget = { memory: 2_000 * MiB }
  const code = `
import time
def main(together):
    time.sleep(max(0, together - time.time()))
    held = b'x' * (90 * 2**20)
    time.sleep(5)
    return len(held)`
  const outcomes: Outcome[] = []
  try {
    await using assembly = assemble({ config, warden, kind: 'library', budget })
    const who = { tenant: 'default', principal: 'test', origin: 'library' } as const
    const together = Date.now() / 1000 + 6
    const signal = AbortSignal.timeout(100_000)
    const jobs = Array.from({ length: 6 }, () => {
      const limits = { memory: 100 * MiB, timeout: 20_000 }
      return newJob({ language: 'python', code, input: together, limits }, who, systemClock)
    })
    outcomes.push(...(await Promise.all(jobs.map((job) => assembly.run(job, { signal })))))
  } finally {
    for (const folder of [state, `${state}-warden`]) rmSync(folder, { recursive: true })
  }
  const ends = outcomes.map(({ status, error }) => (error ? `${status} ${error.code}` : status))
  assert.equal(ends.length, 6)
  const known = new Set(['ok', 'limit MEMORY', 'failed HOST_MEMORY'])
  assert.deepEqual(
    ends.filter((end) => !known.has(end)),
    [],
  )
  assert.ok(ends.includes('ok'), ends.join())
  assert.ok(ends.includes('failed HOST_MEMORY'), ends.join())
})

/** Samples the gauge until it is stopped. */
function mostRunning(server: Server) {
  const stopping = new AbortController()
  const looking = look(stopping.signal)
  return {
    stop() {
      stopping.abort()
      return looking
    },
  }

  async function look(signal: AbortSignal): Promise<number> {
    let most = 0
    while (!signal.aborted) {
      most = Math.max(most, await placesOf(server))
      await sleep(100)
    }
    return most
  }
}

async function placesOf(
  { active, apiKey }: Server,
  gauge: 'running' | 'waiting' = 'running',
): Promise<number> {
  const headers = { authorization: `Bearer ${apiKey}` }
  const text = await (await fetch(new URL('/metrics', active), { headers })).text()
  const line = new RegExp(`^mayfly_pool_${gauge}(?:\\{[^}]*\\})? (\\d+)`, 'm')
  return Number(line.exec(text)?.[1] ?? 0)
}

const running = (server: Server) => untilGauge(server, 'running', (count) => count > 0)

async function untilGauge(
  server: Server,
  gauge: 'running' | 'waiting',
  isRight: (count: number) => boolean,
): Promise<void> {
  const until = performance.now() + 30_000
  while (!isRight(await placesOf(server, gauge))) {
    if (performance.now() > until) throw new Error(`The gauge "${gauge}" did not come to that`)
    await sleep(20)
  }
}

async function post({ active, apiKey }: Server, job: unknown, signal?: AbortSignal) {
  const response = await fetch(new URL('/v1/executions', active), {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${apiKey}` },
    body: JSON.stringify(job),
    ...(signal && { signal }),
  })
  const body = (await response.json()) as Record<string, unknown>
  return { status: response.status, retryAfter: response.headers.get('retry-after'), body }
}

async function inPlace(work: (place: Place) => Promise<void>): Promise<void> {
  const place = makePlace()
  try {
    await work(place)
  } finally {
    place.remove()
  }
}
