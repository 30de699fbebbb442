import assert from 'node:assert/strict'
import { after, before, suite } from 'node:test'
import { systemClock } from '../../src/contract/clock.ts'
import { jailKinds } from '../../src/contract/jail-kind.ts'
import { supervise } from '../../src/lives/supervise.ts'
import { inPython } from '../conformance/guests-of-programs.ts'
import { makeProcesses } from '../conformance/process.ts'
import { Stand, type Made } from '../conformance/stand.ts'
import { noCompiler } from '../fixtures/c-compiler.ts'
import { test } from '../fixtures/drawn.ts'
import { assertInTime, untilInTime } from '../fixtures/lateness.ts'
import { taskOf } from '../sim/simulated-life.ts'
import { isMissing, unable } from './process-stands.ts'

/**
 * Guests that do all they can so that a phase comes late: who closes it stands outside, and needs no answer of theirs.
 * One process of each says, by a clock that this one reads too, what it still got.
 */
const fullMs = 800
const quietMs = 400
const lateMsMax = 100
const skip = unable('python') || noCompiler

const attacks = {
  'processes that stop each other and wake each other': `
    pids = [fork(lambda: spin(lambda: None)) for _ in range(4)]
    fork(lambda: spin(lambda: [os.kill(pid, signal.SIGSTOP) for pid in pids]))
    fork(lambda: spin(lambda: [os.kill(pid, signal.SIGCONT) for pid in pids]))`,
  'a process that stops all others but one': `
    pids = [fork(lambda: spin(calls)) for _ in range(8)]
    fork(lambda: spin(lambda: [os.kill(pid, signal.SIGSTOP) for pid in pids + [1]]))`,
  'a flood of calls that are judged': `
    for _ in range(12): fork(lambda: spin(calls))`,
  'a flood of signals': `
    signal.signal(signal.SIGUSR1, lambda *_: None)
    pids = [fork(lambda: spin(calls)) for _ in range(4)]
    for _ in range(4): fork(lambda: spin(lambda: [os.kill(pid, signal.SIGUSR1) for pid in pids]))`,
  'a flood of processes': `
    for _ in range(8): fork(lambda: spin(lambda: os.waitpid(fork(lambda: None), 0)))`,
} as const

const program = (attack: string) => `
import os, signal, socket, time
def fork(act):
    pid = os.fork()
    if pid == 0:
        try: act()
        finally: os._exit(0)
    return pid
def spin(act):
    while True:
        try: act()
        except OSError: pass
def calls(): os.close(os.open('/work/' + 'x' * 240, os.O_RDWR | os.O_CREAT))
def attempt(act):
    try: return act() or 'ok'
    except OSError: return 'refused'
def says():
    while True:
        began = time.monotonic_ns() // 1000
        got = attempt(lambda: open('/work/made', 'w').close()), attempt(lambda: socket.socket().close())
        print(began, *got, flush=True)
        time.sleep(0.005)
if os.fork() == 0:${attack}
    while True: time.sleep(1)
says()`

for (const jailKind of jailKinds)
  suite(`Phases under attack: ${jailKind}`, { skip, concurrency: 1 }, () => {
    let made: Made
    before(async () => (made = await makeProcesses(jailKind, {}, 'python')))
    after(async () => {
      await made.provider.close?.()
      await made.close()
    })

    for (const [what, attack] of Object.entries(attacks))
      test(`S2-1: A phase and the end take effect within ${lateMsMax} ms of their time under attack: ${what}`, async (t) => {
        if (isMissing(t, { jailKind })) return
        // A guest without CPU time prints nothing, which proves nothing about its controls.
        const { value, lateMs } = await untilInTime(
          t,
          () => live(made, program(attack)),
          (lived, lateMs) => !isMute(lived) && !isLate(lived, lateMs),
        )
        const { end, executionTime, timeline, said, heardAt } = value
        assert.equal(end.status, 'timeout', JSON.stringify(end.error))
        const at = closedAt(timeline)
        t.diagnostic(`closed at ${at.toFixed(1)}, ended at ${executionTime.toFixed(1)} ms`)
        assertInTime('the phase', at, { plannedMs: fullMs, lateMsMax, lateMs })
        assertInTime('the end', executionTime, { plannedMs: fullMs + quietMs, lateMsMax, lateMs })
        const [before, after] = [
          said.filter((one) => one.at <= heardAt),
          said.filter((one) => one.at > heardAt),
        ]
        assert.ok(
          before.some(({ got }) => got === 'ok ok'),
          'it had no rights to lose',
        )
        assert.ok(after.length > 0, 'it printed nothing about its last phase')
        assert.deepEqual([...new Set(after.map(({ got }) => got))], ['refused refused'])
      })
  })

type Lived = Awaited<ReturnType<typeof live>>

const closedAt = (timeline: Lived['timeline']): number =>
  timeline.find(({ event }) => event === 'tightened')?.at ?? Number.NaN

const isLate = ({ timeline, executionTime }: Lived, lateMs: number): boolean =>
  closedAt(timeline) > fullMs + lateMsMax + lateMs ||
  executionTime > fullMs + quietMs + lateMsMax + lateMs

const isMute = ({ said, heardAt }: Lived): boolean => !said.some(({ at }) => at > heardAt)

async function live(made: Made, code: string) {
  const stand = new Stand(made.provider, () => Promise.reject(new Error('no other')), inPython)
  const limits = { timeout: fullMs + quietMs }
  const usual = stand.profile({ limits, entry: 'program' })
  const phases = [
    { name: 'full', for: fullMs, controls: usual.controls },
    { name: 'quiet', for: quietMs, controls: { ...usual.controls, syscalls: ['outside'] } },
  ]
  // Anomalies must not change this run.
  const onAnomaly = { low: 'record', medium: 'record', high: 'record' } as const
  const profile = { ...usual, schedule: { ...usual.schedule, phases, onAnomaly } }
  const { signal } = new AbortController()
  let heardAt = Number.NaN
  let text = ''
  await using sandbox = await made.provider.launch(profile, systemClock)
  await using supervisor = supervise({
    sandbox,
    profile,
    clock: systemClock,
    emitter: { emit() {} },
    signal,
    on({ event }) {
      if (event === 'tightened') heardAt = Number(process.hrtime.bigint() / 1_000n)
    },
  })
  const task = taskOf({ language: 'python', entry: 'program', code })
  const lived = await supervisor.run(task, {
    stdout: (chunk) => void (text += Buffer.from(chunk).toString()),
    stderr() {},
  })
  const said = text
    .split('\n')
    .slice(0, -1)
    .map((line) => {
      const [at, ...got] = line.split(' ')
      return { at: Number(at), got: got.join(' ') }
    })
  return { ...lived, said, heardAt }
}
