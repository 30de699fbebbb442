import assert from 'node:assert/strict'
import { code, type Chapter } from '../case.ts'
import { messageIn, inTime } from '../stand.ts'

export const capabilities: Chapter = {
  name: 'Capabilities',
  cases: [
    {
      title: 'A granted capability gets its arguments as JSON and returns JSON',
      needs: [{ language: 'js' }, code, { enforces: 'capabilities' }],
      async run(stand) {
        const { end, calls } = await stand.run(stand.guests.asks, { capabilities: { double } })
        assert.deepEqual([end.status, end.resultText], ['ok', '42'], messageIn(end))
        assert.deepEqual(calls, ['double({"n":21})'])
      },
    },
    {
      title: 'A call without a grant is refused before it reaches the host',
      needs: [{ language: 'js' }, code, { enforces: 'capabilities' }],
      async run(stand) {
        const taken = { capabilities: { double }, controls: { capabilities: [] } }
        for (const wish of [{}, taken]) {
          const { end, calls } = await stand.run(stand.guests.asks, wish)
          assert.equal(end.status, 'error', end.resultText)
          assert.deepEqual(calls, [])
        }
      },
    },
    {
      title: 'When the host fails, the guest gets an error with only its message',
      needs: [{ language: 'js' }, code, { enforces: 'capabilities' }],
      async run(stand) {
        const { end } = await stand.run(
          `try { await call('double', 1) } catch (error) { return [error.message, String(error.stack).includes('conformance')] }`,
          { capabilities: { double: () => Promise.reject(new Error('nobody is home')) } },
        )
        assert.equal(end.resultText, '["nobody is home",false]')
      },
    },
    {
      title: 'Calls are refused and reported after their grant is revoked during a run',
      needs: [{ language: 'js' }, code, { enforces: 'capabilities' }, { tightens: 'capabilities' }],
      async run(stand) {
        const wish = { capabilities: { tick: () => 'null' } }
        const running = await stand.start(stand.guests.ticks, wish)
        await using sandbox = running.sandbox
        await running.said('ticking')
        const { controls } = stand.profile(wish)
        await sandbox.tighten({ ...controls, capabilities: [] })
        const reached = running.calls.length
        const end = await inTime(running.end, 'the end of a guest that is refused')
        assert.equal(
          running.calls.length,
          reached,
          'a call was permitted after its grant was revoked',
        )
        assert.equal(end.status, 'ok', messageIn(end))
        assert.ok((JSON.parse(end.resultText) as { n: number }).n >= 1)
        assert.deepEqual(
          running.events.map(({ point, trust }) => [point, trust]),
          [['capability/denied', 'wall']],
        )
      },
    },
    {
      title: 'An answer that arrives after its grant was revoked is dropped',
      needs: [{ language: 'js' }, code, { enforces: 'capabilities' }, { tightens: 'capabilities' }],
      async run(stand) {
        const answer = Promise.withResolvers<string>()
        const asked = Promise.withResolvers<void>()
        const wish = {
          capabilities: {
            double() {
              asked.resolve()
              return answer.promise
            },
          },
        }
        const running = await stand.start(stand.guests.asks, wish)
        await using sandbox = running.sandbox
        await inTime(asked.promise, 'the call')
        const { controls } = stand.profile(wish)
        await sandbox.tighten({ ...controls, capabilities: [] })
        answer.resolve('"a secret"')
        const end = await inTime(running.end, 'the end of a guest that is refused')
        assert.equal(end.status, 'error')
        assert.doesNotMatch(end.resultText, /a secret/)
      },
    },
  ],
}

function double(argsText: string): string {
  return JSON.stringify((JSON.parse(argsText) as { n: number }).n * 2)
}
