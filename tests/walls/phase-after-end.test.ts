import assert from 'node:assert/strict'
import { after, before, suite } from 'node:test'
import { systemClock } from '../../src/contract/clock.ts'
import { jailKinds } from '../../src/contract/jail-kind.ts'
import { supervise } from '../../src/lives/supervise.ts'
import { inPython } from '../conformance/guests-of-programs.ts'
import { makeProcesses } from '../conformance/process.ts'
import { Stand, type Made } from '../conformance/stand.ts'
import { test } from '../fixtures/drawn.ts'
import { isMissing, unable } from './process-stands.ts'

/** More than one read of its output, and less than the sockets between hold. */
const CHARACTERS = 100_000

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

    test('S2-3: a phase that begins once a program has ended, while its output is unread, does not end the job', async (t) => {
      if (isMissing(t, { jailKind })) return
      const stand = new Stand(made.provider, () => Promise.reject(new Error('no other')), inPython)
      const usual = stand.profile({ limits: { timeout: 60_000 }, entry: 'program' })
      const { controls } = usual
      const phases = [
        { name: 'full', for: 1_000, controls },
        { name: 'less', for: 59_000, controls: { ...controls, cpu: controls.cpu / 2 } },
      ]
      const profile = { ...usual, schedule: { ...usual.schedule, phases } }
      const begun = Promise.withResolvers<void>()
      let characters = 0
      await using sandbox = await made.provider.launch(profile, systemClock)
      await using supervisor = supervise({
        sandbox,
        profile,
        clock: systemClock,
        emitter: { emit() {} },
        signal: new AbortController().signal,
        on({ event }) {
          if (event === 'tightened' || event === 'terminated') begun.resolve()
        },
      })
      const task = {
        run: 'exec_after',
        language: 'python',
        entry: 'program',
        code: `print('x' * ${CHARACTERS})`,
        inputText: 'null',
        files: [],
        capabilities: [],
      } as const
      const { end, timeline } = await supervisor.run(task, {
        async stdout(chunk) {
          characters += chunk.length
          await begun.promise
        },
        stderr() {},
      })
      assert.deepEqual([end.status, characters], ['ok', CHARACTERS + 1], JSON.stringify(timeline))
    })
  })
