import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { systemClock } from '../../src/contract/clock.ts'
import { noNetwork } from '../../src/contract/controls.ts'
import { chooseSchedule } from '../../src/profile/choose-schedule.ts'
import { makePlan } from '../../src/profile/make-profile.ts'
import { scheduleFor } from '../../src/profile/schedule.ts'
import { supervise } from '../../src/lives/supervise.ts'
import { makeIsolates } from '../conformance/isolated-vm.ts'
import type { Made } from '../conformance/stand.ts'
import { configOf, factsOf, jobOf, verdictOf } from '../fixtures/profile-world.ts'
import { assertInTime, untilInTime } from '../fixtures/lateness.ts'
import { documentedSchedule } from '../fixtures/schedules-page.ts'
import { taskOf } from '../sim/simulated-life.ts'

const fetchName = 'ccos.network.http-fetch'
/** Allowed lateness of a timeline event, on top of the scheduling delay of the machine. */
const lateMsMax = 100
/** Calls in an endless loop, and reports for each call whether it was permitted. */
const code = `for (;;) {
  try { await call('${fetchName}', {}); console.log('out') } catch { console.log('refused') }
  const until = Date.now() + 5
  while (Date.now() < until) await null
}`

let made: Made
before(async () => (made = await makeIsolates()))
after(() => made.close())

/** The documented schedule, fifty times as fast, of a job that may go out by a capability. */
function profileOfIt() {
  const config = configOf(documentedSchedule(50))
  const job = jobOf()
  const facts = [factsOf('isolate', { name: 'isolated-vm', languages: ['js', 'ts'] })]
  const { profile } = makePlan(job, verdictOf(), { config, facts })
  const controls = {
    ...profile.controls,
    network: { allow: 'any', deny: [] },
    capabilities: [fetchName],
  } as const
  const chosen = chooseSchedule(job, config)
  const schedule = scheduleFor({
    chosen,
    granted: controls,
    timeoutMs: profile.limits.timeout,
    trust: 'plain',
  })
  return { ...profile, controls, schedule }
}

test('S2-9: In an isolate the documented schedule lets calls out, then refuses them, then ends the guest', async (t) => {
  const told: string[] = []
  const isInTime = ({ story, printed }: Lived, late: number) => {
    const times = [0, 100, 100, 300]
    told.push(`${story.map(({ at }) => at.toFixed(1)).join()} beside ${late} ms`)
    const isEach = story.every(({ at }, index) => at <= times[index]! + lateMsMax + late)
    // A guest without CPU time in a phase of 0.1 s reports nothing in it.
    return isEach && printed.includes('out') && printed.includes('refused')
  }
  const { value, lateMs } = await untilInTime(t, live, isInTime)
  t.diagnostic(told.join('; '))
  const { end, story, took, calls, closedAfter, printed } = value
  assert.equal(end.status, 'timeout')
  assert.deepEqual(
    story.map(({ event, phase }) => (phase ? `${event} ${phase}` : event)),
    ['phase full', 'phase no-network', 'tightened no-network', 'terminated'],
  )
  assert.deepEqual(story[2]!.controls, { network: noNetwork, capabilities: [] })
  for (const [index, plannedMs] of [0, 100, 100].entries())
    assertInTime(`line ${index}`, story[index]!.at, { plannedMs, lateMsMax, lateMs })
  // The guest's clock for its whole time starts when it is released; the story starts when that is heard, maybe later.
  assert(took >= 299, 'it was over before its time')
  assert(story[3]!.at <= 300 + lateMsMax + lateMs, `it was over after ${story[3]!.at} ms`)
  assert(calls > 0 && closedAfter === calls, 'a call came through after it was closed')
  const said = printed.trim().split('\n')
  assert(said.includes('out') && said.includes('refused'))
  assert.equal(said.indexOf('refused'), said.lastIndexOf('out') + 1)
})

type Lived = Awaited<ReturnType<typeof live>>

async function live() {
  const profile = profileOfIt()
  const { signal } = new AbortController()
  let [calls, closedAfter, printed] = [0, -1, '']
  await using sandbox = await made.provider.launch(profile, systemClock)
  await using supervisor = supervise({
    sandbox,
    profile,
    clock: systemClock,
    emitter: { emit() {} },
    signal,
    on: ({ event }) => {
      if (event === 'tightened') closedAfter = calls
    },
  })
  const began = performance.now()
  const { end, timeline } = await supervisor.run(taskOf({ code, capabilities: [fetchName] }), {
    stdout: (chunk) => void (printed += Buffer.from(chunk).toString()),
    stderr() {},
    call: () => ((calls += 1), Promise.resolve('null')),
  })
  const took = performance.now() - began
  const story = timeline.filter(({ event }) => event !== 'denied')
  return { end, story, took, calls, closedAfter, printed }
}

test('A right that an operator withdraws from a running isolate is refused from then on', async (t) => {
  // An isolate without CPU time before its phase change has made no call, and there is no right left to withdraw.
  const isTaken = ({ isAsked, taken }: Took) => isAsked === true && taken
  const { value } = await untilInTime(t, takenFrom, isTaken)
  assert.ok(isTaken(value), JSON.stringify(value))
  assert.deepEqual([value.calls, value.status], [1, 'timeout'])
})

type Took = Awaited<ReturnType<typeof takenFrom>>

async function takenFrom() {
  const profile = profileOfIt()
  const { signal } = new AbortController()
  let calls = 0
  let supervised: Promise<boolean> | undefined
  await using sandbox = await made.provider.launch(profile, systemClock)
  const watch = { sandbox, profile, clock: systemClock, emitter: { emit() {} }, signal }
  await using supervisor = supervise(watch)
  const { end, timeline } = await supervisor.run(taskOf({ code, capabilities: [fetchName] }), {
    stdout() {},
    stderr() {},
    call() {
      calls += 1
      supervised ??= supervisor.tighten(
        { ...profile.controls, capabilities: [] },
        { actor: 'operator', reason: 'enough' },
      )
      return Promise.resolve('null')
    },
  })
  const isAsked = await supervised
  const reasons = timeline.flatMap(({ event, reason }) => (event === 'tightened' ? [reason] : []))
  return { isAsked, taken: reasons.includes('operator: enough'), calls, status: end.status }
}
