import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { AgentMessageOf } from '../../../agent-wire/decode.ts'
import type { HostMessage } from '../../../agent-wire/encode.ts'
import type { SeenReport } from '../../../contract/warden.ts'
import { GuestWatch, type GuestWatchParts } from './guest-watch.ts'

suite('Observations of a guest', () => {
  const about = { t: 5, pid: 7, leftOut: 2, trust: 'guest' } as const
  const call = { ...about, monotonic: 5, denied: true, writes: false }
  const reports: readonly (readonly [title: string, AgentMessageOf<'seen'>['seen'], SeenReport])[] =
    [
      [
        'A program',
        { what: 'exec', path: '/a', changedMs: 3 },
        { ...call, call: 'execve', class: 'exec', denied: false, path: '/a', wrote: 3 },
      ],
      [
        'A file that is refused',
        { what: 'refusal', class: 'write', operation: 'mknod', subject: '/a' },
        { ...call, call: 'mknod', class: 'write', writes: true, path: '/a' },
      ],
      [
        'A socket that is refused',
        { what: 'refusal', class: 'network', operation: 'create', subject: 'inet' },
        { ...call, call: 'create inet', class: 'network' },
      ],
      ['An exit', { what: 'exit', end: { exitCode: 3 } }, { ...about, exitCode: 3 }],
      ['A signal', { what: 'exit', end: { signal: 9 } }, { ...about, signal: 'SIGKILL' }],
      [
        'A signal without a name',
        { what: 'exit', end: { signal: 50 } },
        { ...about, signal: 'signal 50' },
      ],
      ['An end for memory', { what: 'oom', times: 1 }, { ...about, outOfMemory: 1 }],
    ]
  for (const [title, seen, report] of reports)
    test(`${title} is reported with the trust of a guest`, () => {
      const { see, reported } = watched()
      see(seen)
      assert.deepEqual(reported, [report])
    })

  test('After a burst, events are accepted at the rate per second', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const { see, sent, pass, reported } = watched()
    const flood = () => {
      for (let at = reported.length; at < given(sent); at++) see({ what: 'oom', times: 1 })
    }
    flood()
    assert.equal(reported.length, 200)
    for (let second = 1; second <= 10; second++) {
      pass(1_000)
      t.mock.timers.tick(1_000)
      flood()
      assert.equal(reported.length, 200 + 50 * second)
    }
    pass(3_600_000)
    t.mock.timers.tick(1_000)
    flood()
    assert.equal(reported.length, 900)
  })

  test('A guest without event support gets no credit, and an ended guest gets no more', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    assert.deepEqual(watched({ abilities: ['limits-memory'] }).sent, [])
    const { see, sent, pass, agent } = watched()
    for (let at = 0; at < 200; at++) see({ what: 'oom', times: 1 })
    Object.assign(agent, { fault: 'it ended' })
    pass(1_000)
    t.mock.timers.tick(1_000)
    assert.equal(sent.length, 1)
  })
})

function given(sent: readonly HostMessage[]): number {
  return sent.reduce((sum, one) => sum + (one.kind === 'watch' ? one.credit : 0), 0)
}

/** A watch of a played agent, whose clock `pass` moves. */
function watched({ abilities = ['watches'] }: { readonly abilities?: readonly string[] } = {}) {
  const sent: HostMessage[] = []
  const reported: SeenReport[] = []
  let now = 0
  const agent: GuestWatchParts['agent'] = {
    can: (ability) => abilities.includes(ability),
    fault: undefined,
    onSeen: () => undefined,
    send: (message) => void sent.push(message),
  }
  const watch = new GuestWatch({
    agent,
    report: (seen) => void reported.push(seen),
    now: () => now,
  })
  watch.begin()
  const see = (seen: AgentMessageOf<'seen'>['seen']) =>
    agent.onSeen({ kind: 'seen', pid: 7, timeMs: 5, leftOut: 2, seen })
  return { agent, sent, reported, see, pass: (ms: number) => void (now += ms) }
}
