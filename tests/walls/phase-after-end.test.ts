import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, suite } from 'node:test'
import { systemClock } from '../../src/contract/clock.ts'
import { jailKinds } from '../../src/contract/jail-kind.ts'
import { attempt } from '../../src/lib/attempt.ts'
import { supervise } from '../../src/lives/supervise.ts'
import { inPython } from '../conformance/guests-of-programs.ts'
import { makeProcesses } from '../conformance/process.ts'
import { Stand, until, type Made } from '../conformance/stand.ts'
import { test } from '../fixtures/drawn.ts'
import { descendantsOf } from '../hostile/proc.ts'
import { SimulatedClock } from '../sim/simulated-clock.ts'
import { isMissing, unable } from './process-stands.ts'

/** More than one read of its output, and less than the sockets between hold. */
const CHARACTERS = 100_000
const FULL_MS = 1_000
/** The warden knows the wall no more in some of them, in which an order to it fails. A life may also stop its clock before the phase. */
const ROUNDS = 8
const name = 'short-program'
const code = `import ctypes, time
ctypes.CDLL(None).prctl(15, b"${name}")
print('x' * ${CHARACTERS}, flush=True)
time.sleep(0.1)`

const isThere = () =>
  descendantsOf(process.pid).some(
    (pid) => attempt(() => readFileSync(`/proc/${pid}/comm`, 'utf8'))?.trim() === name,
  )

for (const jailKind of jailKinds)
  suite(`A phase after the end of a program: ${jailKind}`, { skip: unable('python') }, () => {
    let made: Made
    before(async () => {
      made = await makeProcesses(jailKind)
    })
    after(async () => {
      await made.provider.close?.()
      await made.close()
    })

    /** Runs the program by a clock that stands still until it has ended; true if the phase began then. */
    async function isTightenedAfterEnd(): Promise<boolean> {
      const stand = new Stand(made.provider, () => Promise.reject(new Error('no other')), inPython)
      const usual = stand.profile({ limits: { timeout: 60_000 }, entry: 'program' })
      const { controls } = usual
      const phases = [
        { name: 'full', for: FULL_MS, controls },
        { name: 'less', for: 59_000, controls: { ...controls, cpu: controls.cpu / 2 } },
      ]
      const profile = { ...usual, schedule: { ...usual.schedule, phases } }
      const clock = new SimulatedClock()
      let characters = 0
      let wasThere = false
      await using sandbox = await made.provider.launch(profile, systemClock)
      await using supervisor = supervise({
        sandbox,
        profile,
        clock,
        emitter: { emit() {} },
        signal: new AbortController().signal,
      })
      const task = {
        run: 'exec_after',
        language: 'python',
        entry: 'program',
        code,
        inputText: 'null',
        files: [],
        capabilities: [],
      } as const
      const { end, timeline } = await supervisor.run(task, {
        async stdout(chunk) {
          characters += chunk.length
          if (clock.now() > 0) return
          wasThere ||= isThere()
          await until(() => !isThere(), 'the end of the program')
          await clock.run(FULL_MS)
        },
        stderr() {},
      })
      assert.deepEqual([end.status, characters], ['ok', CHARACTERS + 1], JSON.stringify(timeline))
      return wasThere && timeline.some(({ event }) => event === 'tightened')
    }

    test('S2-3: a phase that begins once a program has ended, while its output is unread, does not end the job', async (t) => {
      if (isMissing(t, { jailKind })) return
      let count = 0
      for (let round = 0; round < ROUNDS; round++) if (await isTightenedAfterEnd()) count++
      t.diagnostic(`${count} of ${ROUNDS} phases began after the end`)
      assert.ok(count > 0, 'no phase began after the end of its program')
    })
  })
