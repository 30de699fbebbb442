import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import {
  phasesOf,
  profileOf,
  scheduleOf,
  taskOf,
  observedBy,
} from '../../tests/sim/simulated-life.ts'
import { SimulatedClock } from '../../tests/sim/simulated-clock.ts'
import { anomalySeverities, type Anomaly } from '../contract/anomaly.ts'
import { configSchema, type ConfigInput } from '../contract/config.ts'
import { allControls } from '../contract/controls.ts'
import type { Event } from '../contract/event.ts'
import { jobRequest, type Job } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { Task } from '../contract/provider.ts'
import type { SupervisedRun, Supervisor } from '../contract/pipeline.ts'
import type { Verdict } from '../contract/verdict.ts'
import { EventStream } from '../telemetry/event-stream.ts'
import { createMockProvider } from '../tiers/mock/provider.ts'
import type { ScriptStep } from '../tiers/mock/script.ts'
import { runsToLearn } from './baseline.ts'
import { openBaselineStore } from './baseline-store.ts'
import { createEventForwarder } from './event-forwarder.ts'
import { foreseenOf } from './foreseen.ts'
import { createGuard, lateMs } from './guard.ts'
import { rates } from './react.ts'
import { openRaisedFloors } from './raised-floors.ts'
import { supervise } from '../lives/supervise.ts'

const controls = { ...allControls, capabilities: [] }
const phases = phasesOf(5000, 5000).map((phase) => ({ ...phase, controls }))
const profile = profileOf({
  controls,
  schedule: scheduleOf(phases),
  limits: { ...profileOf().limits, timeout: 10_000 },
})
const verdict = {
  capabilities: [],
  findings: [],
  language: 'js',
  digest: 'sha256:c',
} as unknown as Verdict

function jobOf(asked: Record<string, unknown> = {}): Job {
  const read = jobRequest.parse({ code: '1', ...asked })
  return {
    id: 'exec_1',
    tenant: 'acme',
    principal: 'p',
    origin: 'library',
    at: 0,
    inputText: 'null',
    asked: { ...read, code: '1' },
  }
}

/** A guard with its stores, and a function to run one scripted life. */
function houseOf(input: ConfigInput = {}) {
  const clock = new SimulatedClock()
  const events: Event[] = []
  const emitter = new EventStream({ clock, sinks: [(event) => void events.push(event)] })
  const baselines = openBaselineStore(':memory:')
  const stronger = openRaisedFloors(':memory:')
  const config = configSchema.parse(input)
  const notified: Anomaly[] = []
  const heard: string[] = []
  const guard = createGuard({
    clock,
    emitter,
    config: () => config,
    baselines: () => baselines,
    stronger: () => stronger,
    notify: (told) => void notified.push(told.anomaly),
  })
  emitter.listen(guard.watching.sink)
  const forwarder = createEventForwarder()
  emitter.listen(forwarder.sink)

  /** `denials`: times of refused calls. `exec`: digest of the code of an exec, or how code begins, before them, in a session. */
  async function live(
    steps: readonly ScriptStep[] | ((secret: string) => readonly ScriptStep[]),
    denials?: { readonly times: number; readonly at: number },
    as = profile,
    exec?: string | (() => void),
  ) {
    const job: Job = { ...jobOf(), ...(exec !== undefined && { session: { kind: 'open' } }) }
    guard.begin(job, verdict, as)
    const begin = typeof exec === 'string' ? () => void guard.codeRuns(job.id, exec, 'exec') : exec
    if (begin) clock.after(500, begin)
    const own =
      typeof steps === 'function' ? steps(guard.plantHoneytokens(job.id)[0]!.secret) : steps
    const fields = { capability: 'mail.send' }
    const deny = () => emitter.emit('capability/denied', fields, { run: job.id })
    for (let time = 0; time < (denials?.times ?? 0); time++) clock.after(denials!.at, deny)
    const sandbox = await createMockProvider({ script: () => own }).launch(as, clock)
    const { signal } = new AbortController()
    const observers = [guard.observe(), forwarder.observe()]
    const supervisor = supervise({ sandbox, profile: as, clock, emitter, signal, observers })
    const stdout = (chunk: Uint8Array) => void heard.push(Buffer.from(chunk).toString())
    const call = (name: string) => (heard.push(name), Promise.resolve('null'))
    const lived = supervisor.run(taskOf(), { stdout, stderr() {}, call })
    await clock.run()
    return await lived
  }
  return { guard, live, events, notified, heard, clock, baselines, stronger, emitter }
}

suite('A watched life', () => {
  test('S2-15: an anomaly advances the phase', async () => {
    const { live, notified } = houseOf({
      webhooks: [{ url: 'https://a.example/', secret_file: '/s' }],
    })
    const { timeline, end } = await live([], { times: 30, at: 2000 })
    const story = timeline.map(({ at, event, phase }) => `${at} ${event} ${phase ?? ''}`.trim())
    assert(story.includes('2000 anomaly'))
    assert(story.includes('2000 advanced phase-0'))
    assert(story.includes('2000 phase phase-1'))
    assert.equal(end.status, 'terminated')
    assert.deepEqual(
      notified.map(({ name }) => name),
      ['unforeseen-access', 'denied-burst'],
    )
  })

  test('S2-15: each of two anomalies halves what is left of a life', async () => {
    const { live } = houseOf()
    const three = phasesOf(5000, 3000, 2000).map((phase) => ({ ...phase, controls }))
    const as = { ...profile, schedule: scheduleOf(three) }
    const { timeline, executionTime } = await live([], { times: 30, at: 2000 }, as)
    const opened = timeline.flatMap(({ at, event, phase }) =>
      event === 'phase' ? [`${at} ${phase}`] : [],
    )
    assert.deepEqual(opened, ['0 phase-0', '2000 phase-1', '2000 phase-2'])
    assert.equal(executionTime, 2000 + 2000 / 4)
  })

  test('S2-16: a severe anomaly ends the life at once', async () => {
    const onAnomaly = { low: 'record', medium: 'record', high: 'terminate' } as const
    const as = { ...profile, schedule: { ...profile.schedule, onAnomaly } }
    const { live } = houseOf()
    const refused = { times: 150, at: 1000 }
    const { executionTime, end } = await live([{ at: 100, stdout: 'x' }], refused, as)
    assert.deepEqual([executionTime, end.status], [1000, 'terminated'])
    const milder = await houseOf().live([{ at: 5000, result: 1 }], { times: 30, at: 1000 }, as)
    assert.deepEqual([milder.executionTime, milder.end.status], [5000, 'ok'])
    assert.ok(milder.timeline.some(({ event }) => event === 'anomaly'))
  })

  test('S2-14: a honeytoken is blocked in output and calls, and ends the life', async () => {
    const printing = houseOf()
    const printed = await printing.live((secret) => [
      { at: 5, stdout: 'calm\n' },
      { at: 9, stdout: `key=${secret}\n` },
    ])
    assert.equal(printed.end.status, 'terminated')
    assert.deepEqual(printing.heard, ['calm\n'])

    const returning = houseOf()
    const returned = await returning.live((secret) => [{ at: 9, result: { calm: true, secret } }])
    assert.deepEqual([returned.end.status, returned.end.resultText], ['terminated', 'null'])
    assert.match(returned.timeline.at(-1)?.reason ?? '', /planted secret was seen in its result/)
    assert.deepEqual(
      returning.events.flatMap(({ point, fields }) =>
        point === 'anomaly/found' ? [fields['severity']] : [],
      ),
      ['high'],
    )

    const calling = houseOf()
    const args = (secret: string) => JSON.stringify([Buffer.from(secret).toString('hex')])
    const open = { ...profile, controls: allControls, schedule: scheduleOf(phasesOf(5000)) }
    const steps = (secret: string) => [{ at: 9, call: { name: 'kv.set', argsText: args(secret) } }]
    await calling.live(steps, undefined, open)
    assert.deepEqual(calling.heard, [])
    const [found] = calling.events.filter(({ point }) => point === 'anomaly/found')
    assert.deepEqual([found?.fields['name'], found?.fields['severity']], ['sensitive-data', 'high'])
  })

  test('S3-40: each anomaly is an event with severity, reason and evidence, and an honest life has none', async () => {
    const { live, events } = houseOf()
    await live([], { times: 3, at: 10 })
    const [found] = events.filter(({ point }) => point === 'anomaly/found')
    assert.equal(found?.fields['name'], 'unforeseen-access')
    assert.equal(found.fields['severity'], 'medium')
    assert((found.fields['evidence'] as readonly unknown[]).length > 0)
    const calm = houseOf()
    const { end } = await calm.live([
      { at: 50, stdout: 'done\n' },
      { at: 60, result: 1 },
    ])
    assert.equal(end.status, 'ok')
    assert(!calm.events.some(({ point }) => point === 'anomaly/found'))
  })

  test('A condition on a planted secret, on output or on calls ends the life at the first of them', async () => {
    const quiet = { low: 'record', medium: 'record', high: 'record' } as const
    const granted = { ...controls, capabilities: ['a.b'] }
    const until = (point: string) => {
      const [first, ...rest] = phases
      const conditional = {
        ...first!,
        controls: granted,
        terminateIf: `events["${point}"] > 0`,
      }
      const schedule = { ...scheduleOf([conditional, ...rest]), onAnomaly: quiet }
      return { ...profile, controls: granted, schedule }
    }
    const leak = (secret: string) => [
      { at: 100, stdout: secret },
      { at: 4000, result: 1 },
    ]
    const call = [
      { at: 100, call: { name: 'a.b', argsText: '[]' } },
      { at: 4000, result: 1 },
    ]
    for (const [point, steps] of [
      ['seen/honeytoken', leak],
      ['seen/output', leak],
      ['seen/capability', call],
    ] as const) {
      const { live, events } = houseOf()
      const { end, timeline } = await live(steps, undefined, until(point))
      assert.equal(end.status, 'terminated', point)
      assert.equal(timeline.at(-1)?.reason, `terminate_if events["${point}"] > 0`)
      assert.ok(timeline.at(-1)!.at < 300, point)
      const told = events.find((event) => event.point === point)!
      assert.deepEqual([told.run, told.trust], ['exec_1', 'host'])
      assert.doesNotMatch(JSON.stringify(told), /AKIA|[A-Za-z0-9+/]{40}/)
    }
  })

  test('Output in small pieces is reported in few events, with all of its bytes', async () => {
    const { live, events } = houseOf()
    const steps = Array.from({ length: 1000 }, (_, at) => ({ at: 1 + at / 10, stdout: 'x' }))
    await live([...steps, { at: 200, result: 1 }])
    const told = events.filter(({ point }) => point === 'seen/output')
    assert.ok(told.length <= 5, `${told.length}`)
    assert.equal(
      told.reduce((sum, { fields }) => sum + Number(fields['bytes']), 0),
      1000,
    )
  })

  test('S3-40: the score of a life rises with its anomalies, including a honeytoken in its result', async () => {
    const scoreOf = ({ guard }: ReturnType<typeof houseOf>) =>
      guard.watching.findings('exec_1').behaviorScore
    const calm = houseOf()
    await calm.live([{ at: 60, result: 1 }])
    assert.equal(scoreOf(calm), 0)
    const house = houseOf()
    const { live, events, emitter } = house
    const odd = await live([], { times: 30, at: 10 })
    const scores = (
      told: readonly { readonly fields?: Readonly<Record<string, unknown>> | undefined }[],
    ) => told.flatMap(({ fields }) => fields?.['behaviorScore'] ?? [])
    assert.deepEqual(scores(odd.timeline), [40, 45])
    assert.deepEqual(scores(events.filter(({ point }) => point === 'anomaly/found')), [40, 45])
    assert.equal(scoreOf(house), 45)
    // Found when the life is over and its timeline is reported.
    const giving = houseOf()
    const { timeline } = await giving.live((secret) => [{ at: 9, result: { secret } }])
    assert.deepEqual([scores(timeline), scoreOf(giving)], [[], 70])
    // Reports of a wall during teardown count as well.
    emitter.emit(
      'seen/syscall',
      { class: 'kernel', denied: true },
      { run: 'exec_1', trust: 'wall' },
    )
    assert.equal(scoreOf(house), 80)
  })

  test('CPU time reported by a running wall is observed', async () => {
    const { live, events, clock, emitter } = houseOf()
    const long = { ...profile, schedule: scheduleOf([{ name: 'full', for: 9000, controls }]) }
    for (let at = 0; at < 7000; at += 100)
      clock.after(at, () => {
        const about = { run: 'exec_1', trust: 'wall', actor: 'warden' } as const
        emitter.emit('seen/cpu', { used: Math.max(0, at - 4000) }, about)
      })
    await live([{ at: 8000, result: 1 }], undefined, long)
    const found = events.filter(({ point }) => point === 'anomaly/found')
    assert.deepEqual(
      found.map(({ fields }) => fields['name']),
      ['cpu-shape'],
    )
  })

  test('Output turning to noise is found, however short its chunks', async () => {
    const { live, events } = houseOf()
    const words = Array.from({ length: 30 }, (_, at) => ({
      at,
      stdout: `line ${at}: all is well\n`,
    }))
    const noise = Buffer.from(
      Array.from({ length: 40_000 }, (_, at) => (at * 197 + (at >> 3) * 31) % 251),
    )
    await live([...words, { at: 50, stdout: noise.toString('latin1') }, { at: 60, result: 1 }])
    const found = events.filter(({ point }) => point === 'anomaly/found')
    assert.deepEqual(
      found.map(({ fields }) => fields['name']),
      ['output-growth'],
    )
  })

  test('Granted calls are learned as behaviour', async () => {
    const { guard, live } = houseOf()
    const open = { ...profile, controls: allControls, schedule: scheduleOf(phasesOf(5000)) }
    const steps = [{ at: 9, call: { name: 'kv.get', argsText: '[]' } }]
    await live(steps, undefined, open)
    assert.deepEqual(guard.watching.findings('exec_1').trail.items.capabilities, ['kv.get'])
  })

  test("Reports shortly after a program's end are accepted, later ones are not", async () => {
    const { guard, events, emitter, clock, baselines } = houseOf()
    const about = { run: 'exec_1', trust: 'wall' } as const
    const steals = () => emitter.emit('seen/open', { path: '/etc/shadow', access: 'read' }, about)
    const founds = () => events.filter(({ point }) => point === 'anomaly/found').length
    const over = { status: 'ok', metrics: { executionTime: 1 } } as unknown as Outcome
    guard.begin(jobOf(), verdict, { ...profile, tier: 'process' })
    guard.end(jobOf(), over)
    guard.end(jobOf(), over)
    steals()
    assert.deepEqual([founds(), guard.watching.size], [1, 1])
    clock.after(lateMs, () => undefined)
    await clock.run()
    assert.equal(guard.watching.size, 0)
    steals()
    assert.equal(founds(), 1)
    assert.deepEqual(baselines.export('acme'), [])
  })

  test('Finished lives are released', async () => {
    const { guard, live } = houseOf()
    await live([{ at: 1, result: 1 }])
    assert.equal(guard.watching.size, 1)
    guard.end(jobOf())
    guard.end(jobOf())
    assert.equal(guard.watching.size, 0)
  })
})

suite('Reactions cannot be abused by a guest', () => {
  const often = {
    ...profile,
    schedule: {
      ...scheduleOf([{ name: 'full', for: 9000, controls }]),
      onAnomaly: { low: 'record', medium: 'record', high: 'capture' },
    },
  } as const
  const asked: ConfigInput = {
    anomalies: { stronger_from: 'high' },
    webhooks: [{ url: 'https://a.example/', secret_file: '/s' }],
  }

  /** A run with fifty high anomalies, and whether a capture was permitted. */
  async function run({ guard, emitter }: ReturnType<typeof houseOf>, tenant: string, at: number) {
    const id = `exec_${tenant}_${at}`
    const found = 50
    const supervisor = {
      notice: () => undefined,
      run() {
        for (let n = 0; n < found; n++)
          emitter.emit(
            'seen/syscall',
            { class: n === 0 ? 'kernel' : `odd-${n}`, denied: true },
            { run: id, trust: 'wall' },
          )
        for (let n = 0; n < found; n++)
          emitter.emit(
            'seen/honeytoken',
            { token: `t${n}`, where: 'output' },
            { run: id, trust: 'wall' },
          )
        return Promise.resolve({
          end: { resultText: 'null', artifacts: [] },
        } as unknown as SupervisedRun)
      },
    } as unknown as Supervisor
    guard.begin({ ...jobOf(), id, tenant }, verdict, often)
    await observedBy(guard.observe(), supervisor).run(taskOf({ run: id }), {
      stdout() {},
      stderr() {},
    })
    const mayCapture = guard.mayCapture(id)
    guard.end({ ...jobOf(), id, tenant })
    return mayCapture
  }

  test('Ten thousand anomalies of one code cause a bounded number of webhooks, captures and raised floors', async () => {
    const house = houseOf(asked)
    const captures: boolean[] = []
    for (let at = 0; at < 200; at++) captures.push(await run(house, 'acme', at))
    const said = (point: string) => house.events.filter((event) => event.point === point)
    assert.ok(said('anomaly/found').length >= 10_000)
    for (const word of anomalySeverities) {
      const notified = house.notified.filter(({ severity }) => severity === word).length
      assert.ok(notified <= rates.webhook.code.burst, `${notified} ${word}`)
    }
    assert.equal(captures.filter(Boolean).length, rates.capture.code.burst)
    const raised = said('anomaly/reacted').filter(({ fields }) => fields['strength'] !== undefined)
    assert.equal(raised.length, rates.stronger.code.burst)
    assert.equal(house.guard.floorFor({ tenant: 'acme' }, verdict)?.strength, profile.floor + 1)
  })

  test('Webhooks and floors of another tenant are unaffected by a flood', async () => {
    const house = houseOf(asked)
    for (let at = 0; at < 20; at++) await run(house, 'acme', at)
    assert.equal(house.guard.floorFor({ tenant: 'other' }, verdict), undefined)
    const before = house.notified.length
    await run(house, 'other', 0)
    const added = house.notified.slice(before).filter(({ severity }) => severity === 'high')
    assert.equal(added.length, rates.webhook.code.burst)
    const calm = await houseOf(asked).live([{ at: 5, result: 1 }])
    assert.equal(calm.end.status, 'ok')
  })

  test('The first run of a code may be captured, and the following ones not', async () => {
    const house = houseOf()
    const one = { ...jobOf(), id: 'exec_1' }
    const capturable = async (id: string) => {
      house.guard.begin({ ...one, id }, verdict, often)
      let answer: boolean | undefined
      const supervisor = {
        notice: () => undefined,
        run() {
          house.emitter.emit('seen/honeytoken', { token: 't', where: 'output' }, { run: id })
          answer = house.guard.mayCapture(id)
          return Promise.resolve({
            end: { resultText: 'null', artifacts: [] },
          } as unknown as SupervisedRun)
        },
      } as unknown as Supervisor
      const io = { stdout() {}, stderr() {} }
      await observedBy(house.guard.observe(), supervisor).run(taskOf({ run: id }), io)
      house.guard.end({ ...one, id })
      return answer
    }
    assert.deepEqual([await capturable('exec_1'), await capturable('exec_2')], [true, false])
  })
})

suite('After a run', () => {
  const outcome = {
    status: 'ok',
    tier: 'isolate',
    metrics: { cache: 'none', executionTime: 5, cpuTime: 3, memoryUsage: { peak: 9 }, network: [] },
  } as unknown as Outcome
  const effect = jobOf({ effectId: 'thumb' })

  test('Later runs of the same code get a stronger wall, if configured, for a limited time', async () => {
    const { guard, live, clock } = houseOf({
      anomalies: { stronger_from: 'high', stronger_for: '1h' },
    })
    assert.equal(guard.floorFor(effect, verdict), undefined)
    await live([], { times: 150, at: 1000 })
    const floor = guard.floorFor(effect, verdict)
    assert.equal(floor?.strength, profile.floor + 1)
    assert.match(floor.because, /^an earlier run: .* \(behavior 7\d\)$/)
    assert.equal(guard.floorFor({ tenant: 'other' }, verdict), undefined)
    clock.after(3_600_000, () => undefined)
    await clock.run()
    assert.equal(guard.floorFor(effect, verdict), undefined)
  })

  test('An anomaly in a session raises the floor of the code of its exec, and of no other session', async () => {
    const { guard, live, events } = houseOf({ anomalies: { stronger_from: 'high' } })
    const digest = 'digest of a cell'
    await live([], { times: 150, at: 1000 }, profile, digest)
    assert.equal(guard.floorFor({ tenant: 'acme' }, { digest })?.strength, profile.floor + 1)
    assert.equal(guard.floorFor({ tenant: 'acme' }, verdict), undefined)
    const before = events.filter(({ point }) => point === 'anomaly/reacted').length
    await live([], { times: 150, at: 100 }, profile, digest)
    assert.equal(guard.floorFor({ tenant: 'acme' }, verdict), undefined)
    assert.equal(events.filter(({ point }) => point === 'anomaly/reacted').length, before)
  })

  test('An anomaly raises the floor of the exec that runs, else of the exec or open terminal that began last, and of no shell', async () => {
    const kinds = ['exec', 'terminal', 'shell'] as const
    for (const [steps, blamed] of [
      ['terminal', 'terminal'],
      ['terminal, exec', 'exec'],
      ['exec, terminal', 'exec'],
      ['exec, terminal, exec ends', 'terminal'],
      ['exec, exec ends, terminal', 'terminal'],
      ['exec, exec ends, terminal, terminal ends', 'exec'],
      ['terminal, exec, exec ends', 'exec'],
      ['terminal, terminal ends', 'terminal'],
      ['shell', undefined],
      ['shell, shell ends', undefined],
      ['exec, exec ends, shell', undefined],
      ['exec, exec ends, shell, shell ends', 'exec'],
      ['terminal, shell, shell ends', 'terminal'],
      ['shell, exec', 'exec'],
      ['exec, shell', 'exec'],
      ['shell, exec, exec ends', 'exec'],
    ] as const) {
      const { guard, live, events } = houseOf({ anomalies: { stronger_from: 'high' } })
      const begin = () => {
        const ends = new Map<string, () => void>()
        for (const step of steps.split(', ')) {
          const as = kinds.find((kind) => kind === step)
          if (as) ends.set(`${as} ends`, guard.codeRuns('exec_1', as, as))
          else ends.get(step)!()
        }
      }
      await live([], { times: 150, at: 1000 }, profile, begin)
      assert.ok(events.some(({ fields }) => fields['severity'] === 'high'))
      const raised = kinds.filter((digest) => guard.floorFor({ tenant: 'acme' }, { digest }))
      assert.deepEqual(raised, blamed === undefined ? [] : [blamed], steps)
    }
  })

  test('An unwritable store fails no job and changes no end', async () => {
    const { guard, live, events, baselines, stronger } = houseOf({
      anomalies: { stronger_from: 'high' },
    })
    guard.begin(effect, verdict, profile)
    baselines.close()
    stronger.close()
    guard.end(effect, outcome)
    const { end } = await live([], { times: 150, at: 1000 })
    assert.equal(end.status, 'terminated')
    const said = (point: string) => events.filter((event) => event.point === point)
    assert.match(String(said('baseline/lost')[0]?.fields['because']), /^Cannot write the baselines/)
    assert.match(String(said('anomaly/reacted')[0]?.fields['left']), /^Cannot write the raised/)
  })

  test('A run does not change the wall of the next by default', async () => {
    const { guard, live } = houseOf()
    await live([], { times: 150, at: 1000 })
    assert.equal(guard.floorFor(effect, verdict), undefined)
  })

  test('S2-19: effects are learned from their runs; unnamed code and cached results are not', () => {
    const { guard, baselines, events } = houseOf()
    const run = (job: Job, how: Outcome = outcome) => {
      guard.begin(job, verdict, profile)
      guard.end(job, how)
    }
    run(jobOf())
    run(effect, { ...outcome, metrics: { ...outcome.metrics, cache: 'hit' } })
    run(effect, { ...outcome, status: 'timeout' })
    assert.deepEqual(baselines.export('acme'), [])
    for (let at = 0; at < runsToLearn + 2; at++) run(effect)
    const [kept] = baselines.export('acme')
    assert.deepEqual(
      [kept?.name, kept?.baseline.runs, kept?.baseline.peaks.memory.max],
      ['effect:thumb', runsToLearn, 9],
    )
    assert.equal(kept?.baseline.peaks.processes.max, 1, 'an isolate that no sample saw')
    assert.equal(events.filter(({ point }) => point === 'baseline/learned').length, runsToLearn)
  })
})

test('An effect whose baseline was reset is learned anew from its next run, also by a server that had learned it', () => {
  const outcome = {
    status: 'ok',
    metrics: { cache: 'none', executionTime: 5, cpuTime: 3, network: [] },
  } as unknown as Outcome
  const { guard, baselines } = houseOf()
  const run = () => {
    guard.begin(jobOf({ effectId: 'thumb' }), verdict, profile)
    guard.end(jobOf({ effectId: 'thumb' }), outcome)
  }
  for (let at = 0; at <= runsToLearn; at++) run()
  assert.equal(baselines.export('acme')[0]?.baseline.runs, runsToLearn)
  baselines.reset({ tenant: 'acme', name: 'effect:thumb' })
  run()
  assert.equal(baselines.export('acme')[0]?.baseline.runs, 1)
})

test('A run with an anomaly is not learned, however many claims of its guest follow', async () => {
  const { guard, baselines, emitter, clock, events } = houseOf()
  const job = jobOf({ effectId: 'thumb' })
  const over = {
    status: 'ok',
    metrics: { cache: 'none', executionTime: 5, cpuTime: 3, network: [] },
  } as unknown as Outcome
  guard.begin(job, verdict, profile)
  emitter.emit('phase/opened', {}, { run: job.id })
  const steals = { path: '/etc/shadow', access: 'read' }
  emitter.emit('seen/open', steals, { run: job.id, trust: 'wall' })
  const claim = (path: string) =>
    guard.watching.observe(job.id, {
      zone: 'main',
      trust: 'guest',
      seen: { kind: 'exec', path, written: true, denied: false },
    })
  for (let at = 1; at <= 250; at++) clock.after(at * 100, () => claim(`/work/a${at}`))
  await clock.run()
  guard.end(job, over)
  const found = events.filter(({ point }) => point === 'anomaly/found').map(({ fields }) => fields)
  assert.equal(found.filter(({ severity }) => severity !== 'low').length, 1)
  const [kept] = baselines.export('acme')
  assert.deepEqual([kept?.baseline.runs, kept?.baseline.setAside], [0, 1])
})

test('Expected system calls are those open in the first phase', () => {
  const narrow = { ...controls, syscalls: ['exec'] } as const
  const schedule = scheduleOf([{ name: 'full', for: 5000, controls: narrow }])
  assert.deepEqual(foreseenOf(jobOf(), verdict, { ...profile, schedule }).syscalls, ['exec'])
})

test('S2-19: images have baselines if configured, for all code in them, one per language', () => {
  const outcome = {
    status: 'ok',
    metrics: { cache: 'none', executionTime: 5, cpuTime: 3, network: [] },
  } as unknown as Outcome
  const configured = houseOf({ anomalies: { images: true } })
  const { baselines, events } = configured
  const run = (digest: string, host: string, language: 'js' | 'ts' = 'js', house = configured) => {
    const capabilities = ['network'] as const
    house.guard.begin(jobOf(), { ...verdict, digest, language, capabilities }, profile)
    house.emitter.emit('seen/connect', { host, port: 443 }, { run: 'exec_1' })
    house.guard.end(jobOf(), outcome)
  }
  const calm = { ...profile, controls: allControls }
  const plain = houseOf()
  for (let at = 0; at < runsToLearn; at++) run(`sha256:${at}`, 'a.example', 'js', plain)
  assert.deepEqual(plain.baselines.export('acme'), [])
  for (let at = 0; at < runsToLearn; at++) run(`sha256:${at}`, 'a.example')
  const [kept] = baselines.export('acme')
  assert.deepEqual(
    [kept?.name, kept?.code, kept?.baseline.runs],
    [`image:${calm.image}`, `${calm.tier}/js`, runsToLearn],
  )
  const before = events.length
  run('sha256:again', 'a.example')
  run('sha256:new', 'b.example')
  run('sha256:other', 'c.example', 'ts')
  const found = events
    .slice(before)
    .flatMap(({ point, fields }) =>
      point === 'anomaly/found' && fields['name'] === 'off-baseline' ? [fields['subject']] : [],
    )
  assert.deepEqual(found, ['hosts b.example:443'])
})

test('Expected access is that seen by analysis, and unknown where it could not read', () => {
  const foreseen = (parts: Partial<Verdict>) =>
    foreseenOf(jobOf(), { ...verdict, ...parts }, profile).access
  assert.deepEqual(foreseen({}), [])
  assert.deepEqual(foreseen({ capabilities: ['child-process', 'network'] }), ['network', 'process'])
  assert.equal(foreseen({ language: 'sh' }), undefined)
  assert.equal(foreseen({ capabilities: ['eval'] }), undefined)
})

test('Honeytokens are planted in the home folder and environment of programs, if configured, without overwriting files of the job', async () => {
  const { guard } = houseOf({ anomalies: { honeytokens: true } })
  const program = { ...verdict, language: 'python' } as const
  const given: string[][] = []
  const environments: (readonly string[])[] = []
  const supervisor = {
    run(task: Task) {
      given.push(task.files.map(({ path, content }) => `${path} ${content.length}`))
      environments.push(Object.keys(task.env ?? {}))
      return Promise.resolve({
        end: { resultText: 'null', artifacts: [] },
      } as unknown as SupervisedRun)
    },
  } as unknown as Supervisor
  const files = [{ path: '.aws/credentials', content: 'own', encoding: 'utf8' as const }]
  const io = { stdout() {}, stderr() {} }
  guard.begin(jobOf(), program, profile)
  await observedBy(guard.observe(), supervisor).run(taskOf({ files }), io)
  guard.begin(jobOf(), verdict, profile)
  guard.end(jobOf())
  guard.begin(jobOf(), verdict, profile)
  await observedBy(guard.observe(), supervisor).run(taskOf({ files }), io)
  assert.equal(given[0]?.[0], '.aws/credentials 3')
  assert.match(given[0]?.[1] ?? '', /^\.git-credentials \d+$/)
  assert.deepEqual(given[1], ['.aws/credentials 3'])
  const names = ['AWS_SECRET_ACCESS_KEY', 'GITHUB_TOKEN', 'DATABASE_PASSWORD']
  assert.deepEqual(environments, [names, []])
})
