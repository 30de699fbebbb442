import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { assemble, type Assembly } from '../../src/assemble/assemble.ts'
import { loadConfig } from '../../src/config/load.ts'
import { systemClock } from '../../src/contract/clock.ts'
import { findProgram } from '../../src/os/find-program.ts'
import type { AnomalyName } from '../../src/contract/anomaly.ts'
import type { JobRequest } from '../../src/contract/job.ts'
import { jailKinds, type JailKind } from '../../src/contract/jail-kind.ts'
import { newJob } from '../../src/job.ts'
import { isAlive, processFacts } from '../../src/os/proc.ts'
import { startWarden } from '../../src/sdk/start-warden.ts'
import { descendantsOf } from '../conformance/remains.ts'
import { until } from '../conformance/stand.ts'
import { test } from '../fixtures/drawn.ts'
import { untilInTime, wakesInARow } from '../fixtures/lateness.ts'
import { isMissing, unable } from './process-stands.ts'

/**
 * From the moment a guest does what is odd, by its own clock just before, to what comes of it: the next phase, or the
 * end of all its processes. The whole road, and real walls.
 */
const nextMsMax = 200
const goneMsMax = 50
/** Lead time in which the wall's processes are listed, before the program acts anomalously. */
const leadMs = 500
const patienceMs = 60_000
const mark = 'is-odd-soon'
const isMark = /^is-odd-soon$/
/** Rights of the first phase, which the next phase removes. */
const network = { allow: ['api.example.com'] }

/** Processes that burn CPU, and one that acts anomalously and prints the time of a clock that this process shares. */
const program = (odd: string) => `
import ctypes, os, time
ctypes.CDLL(None).prctl(15, b'${mark}')
for _ in range(6):
    if os.fork() == 0:
        while True: pass
os.write(1, b'ready\\n')
time.sleep(${leadMs / 1_000})
os.write(2, b'odd %d.\\n' % (time.monotonic_ns() // 1000))
${odd}
while True: pass`

/** Connects to so many hosts that the last attempt is an anomaly; this process shares only its wall clock. */
const knocks = (times: number) => `
for (const until = Date.now() + ${leadMs}; Date.now() < until; );
console.log('ready')
for (let n = 1; n < ${times}; n++) try { await fetch('https://h' + n + '.example.org/') } catch {}
console.error('odd ' + Date.now() * 1000 + '.')
try { await fetch('https://h.example.org/') } catch {}
for (;;);`

interface Act {
  readonly title: string
  readonly job: JobRequest
  /** Milliseconds of the clock that the guest reads. */
  readonly now: () => number
  readonly anomaly: AnomalyName
  readonly isolate?: boolean
  readonly skip?: string | false
}

const onMachine = () => Number(process.hrtime.bigint()) / 1e6
const ofPrograms = {
  'prints a planted secret': [
    "os.write(1, os.environ['AWS_SECRET_ACCESS_KEY'].encode())",
    'sensitive-data',
  ],
  'opens a place where secrets lie': [
    "os.open('/work/.aws/credentials', os.O_RDONLY)",
    'sensitive-data',
  ],
} as const
const compiler = findProgram('cc') || process.env['CI'] === 'true'

function actsIn(times: number): readonly Act[] {
  const ofProcesses = jailKinds.flatMap((jailKind) =>
    Object.entries(ofPrograms).map(([what, [odd, anomaly]]) => ({
      title: `a program that ${what}, ${jailKind}`,
      job: { language: 'python', provider: jailKind, code: program(odd), network } as const,
      now: onMachine,
      anomaly,
      skip: unable('python') || (what.startsWith('opens') && !compiler && 'no C compiler is here'),
    })),
  )
  const code = knocks(times)
  const title = 'an isolate that tries one host after the other'
  const job = { code, network }
  const anomaly = 'denied-burst'
  return [{ title, job, now: () => Date.now(), anomaly, isolate: true }, ...ofProcesses]
}

suite('Time from an anomaly to its reaction', { concurrency: 1 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-hurried-'))
  const phases = [
    { name: 'full', for: '10s' },
    { name: 'next', for: '9s', network: 'none' },
  ]
  const object = {
    state: join(folder, 'state'),
    anomalies: { honeytokens: true },
    schedules: {
      // A file open is reported only if it has a reaction beyond a line in the record.
      severe: { phases },
      burst: { phases, on_anomaly: { low: 'record', medium: 'record', high: 'terminate' } },
      hurried: { phases, on_anomaly: { low: 'record', medium: 'advance', high: 'advance' } },
    },
  }
  const { config } = loadConfig({ object, env: {}, cwd: folder })
  let assembly: Assembly
  let warden: number

  before(async () => {
    const client = await startWarden({ stateFolder: config.state })
    warden = (await client.facts()).pid
    assembly = assemble({ config, warden: client, kind: 'library', sinks: [] })
  })
  after(async () => {
    await assembly[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  })

  /** Milliseconds from the anomalous act to the acknowledged next phase, and to the end of all processes. */
  async function react(
    { job, now, anomaly, isolate }: Act,
    schedule: 'severe' | 'burst' | 'hurried',
  ) {
    const who = { tenant: 'default', principal: 'test', origin: 'library' } as const
    const cancel = new AbortController()
    const said = { stdout: '', stderr: '' }
    let nextAt = Number.NaN
    const limits = { timeout: '19s', processes: 32 }
    const over = assembly.run(newJob({ ...job, schedule, limits }, who, systemClock), {
      signal: cancel.signal,
      on({ event }) {
        if (schedule !== 'hurried' || event !== 'tightened') return
        nextAt = now()
        cancel.abort()
      },
      tap: (stream, text) => void (said[stream] += text),
    })
    await until(() => said.stdout.includes('ready'), 'it to begin', patienceMs)
    const below = descendantsOf(warden)
    // Workers cannot be told apart, and idle ones do not end: the first that ends was that of the job.
    const own = below.filter((pid) => (isolate ? /^node/ : isMark).test(nameOf(pid)))
    assert.ok(own.length >= (isolate ? 1 : 7), `${own.length} processes of it were found`)
    const named = own.map((pid) => [pid, processFacts(pid)?.startTime] as const)
    const isLeft = () => {
      const left = named.filter(([pid, startTime]) => isAlive(pid, startTime))
      return isolate ? left.length === named.length : left.length > 0
    }
    for (const began = now(); isLeft() && now() < began + patienceMs;) await sleep(1)
    const goneAt = now()
    cancel.abort()
    const outcome = await over
    const [, micros] = /odd (\d+)\./.exec(outcome.stderr) ?? []
    assert.ok(micros, `it said "${outcome.stderr}": ${JSON.stringify(outcome.error)}`)
    const found = outcome.timeline.filter(({ event }) => event === 'anomaly')
    assert.equal(found[0]?.fields?.['name'], anomaly, JSON.stringify(found))
    const oddAt = Number(micros) / 1_000
    return { outcome, nextMs: nextAt - oddAt, goneMs: goneAt - oddAt }
  }

  for (const act of actsIn(100))
    test(
      `S2-16: A severe anomaly ends the job within ${goneMsMax} ms: ${act.title}`,
      { skip: act.skip },
      async (t) => {
        if ('provider' in act.job && isMissing(t, { jailKind: act.job.provider as JailKind }))
          return
        const { value, lateMs } = await untilInTime(
          t,
          () => react(act, act.isolate ? 'burst' : 'severe'),
          ({ goneMs }, lateMs) => goneMs <= goneMsMax + wakesInARow * lateMs,
        )
        const { outcome, goneMs } = value
        t.diagnostic(`ended after ${goneMs.toFixed(1)} ms`)
        assert.equal(outcome.status, 'terminated')
        assert.ok(
          goneMs > 0 && goneMs <= goneMsMax + wakesInARow * lateMs,
          `it ended after ${goneMs} ms`,
        )
      },
    )

  for (const act of actsIn(20))
    test(
      `S2-15: An anomaly starts the next phase within ${nextMsMax} ms: ${act.title}`,
      { skip: act.skip },
      async (t) => {
        if ('provider' in act.job && isMissing(t, { jailKind: act.job.provider as JailKind }))
          return
        const { value, lateMs } = await untilInTime(
          t,
          () => react(act, 'hurried'),
          ({ nextMs }, lateMs) => nextMs <= nextMsMax + wakesInARow * lateMs,
        )
        const { outcome, nextMs } = value
        t.diagnostic(`the next phase was in force after ${nextMs.toFixed(1)} ms`)
        const { timeline } = outcome
        const events = timeline.map(({ event }) => event)
        const [first, second] = (['anomaly', 'tightened'] as const).map((one) =>
          events.indexOf(one),
        )
        assert.ok(first! >= 0 && first! < second!, events.join())
        assert.ok(nextMs >= 0, `the next phase came ${-nextMs} ms before its cause`)
        assert.ok(
          nextMs <= nextMsMax + wakesInARow * lateMs,
          `the next phase was in force after ${nextMs} ms`,
        )
      },
    )
})

function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim()
  } catch {
    return ''
  }
}
