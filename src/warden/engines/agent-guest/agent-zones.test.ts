import assert from 'node:assert/strict'
import { constants } from 'node:os'
import { suite, test } from 'node:test'
import type { AgentMessageOf } from '../../../agent-wire/decode.ts'
import type { HostMessage } from '../../../agent-wire/encode.ts'
import type { ZoneReport } from '../../../contract/warden.ts'
import type { ZoneRule } from '../../../contract/zone-rules.ts'
import { AgentZones, type AgentZonesParts } from './agent-zones.ts'

const rules: readonly ZoneRule[] = [
  { kind: 'video', programs: ['ffmpeg'], memory: 9, cpu: 0.25, life: 1_000 },
  { kind: 'main', programs: ['/bin/a*'], processes: 3, life: 60_000 },
]
const { EAGAIN, ELOOP, EINVAL, ESRCH } = constants.errno
type Report = AgentMessageOf<'zone'>

/** Zones of a played agent, which answers each request with `errno`. */
async function zonesOf({
  abilities = ['zones'],
  errno = 0,
  endMsMax = 60_000,
}: {
  readonly abilities?: readonly string[]
  readonly errno?: number
  readonly endMsMax?: number
} = {}) {
  const sent: Omit<HostMessage, 'nonce'>[] = []
  const told: ZoneReport[] = []
  const state = { isPaused: false, isFrozen: false, stuck: 0, errno }
  const agent: AgentZonesParts['agent'] = {
    can: (ability) => abilities.includes(ability),
    fault: undefined,
    onZone: () => undefined,
    ask: (async (question: HostMessage) => {
      sent.push(question)
      return { kind: 'zoned', nonce: 0, errno: state.errno }
    }) as never,
  }
  const zones = await AgentZones.open({
    agent,
    rules,
    report: (report) => void told.push(report),
    isPaused: () => state.isPaused,
    isFrozen: () => state.isFrozen,
    onStuck: () => void state.stuck++,
    endMsMax,
  })
  const say = (report: { readonly [Name in keyof Report]?: unknown } & { what: string }) =>
    agent.onZone({ kind: 'zone', ...report } as unknown as Report)
  const begin = (zone: number, rule = 0, outer = 0) =>
    say({ what: 'began', zone, rule, outer, path: '/usr/bin/ffmpeg' } as never)
  const end = (zone: number, isOutOfMemory = false) =>
    say({ what: 'gone', zone, isOutOfMemory, peakBytes: 5 } as never)
  return { zones: zones!, isOpen: zones !== undefined, sent, told, state, say, begin, end, agent }
}

const about = { kind: 'video', parent: 'main', entered: 'asked', trust: 'guest' } as const

suite('Zones of programs in a guest, at the host', () => {
  test('Rules are sent in their order; a guest that cannot make zones gets none, and one that refuses a rule fails the claim', async () => {
    const { sent } = await zonesOf()
    assert.deepEqual(sent, [
      { kind: 'rule', programs: ['ffmpeg'], limits: { memory: 9, cpu: 250 } },
      { kind: 'rule', programs: ['/bin/a*'], limits: { processes: 3 } },
    ])
    const without = await zonesOf({ abilities: ['watches'] })
    assert.deepEqual([without.isOpen, without.sent], [false, []])
    await assert.rejects(zonesOf({ errno: EINVAL }), { code: 'UNAVAILABLE' })
  })

  test('Zones are reported by name, with the trust of a guest and the cause of their end', async () => {
    const { told, begin, end, say } = await zonesOf()
    begin(1)
    begin(2, 1, 1)
    for (const errno of [EAGAIN, ELOOP])
      say({ what: 'refused', zone: 0, rule: 0, outer: 1, errno, path: '/f' } as never)
    end(2, true)
    end(1)
    const enforced = { memory: 'cgroup', cpu: 'cgroup', processes: 'none' } as const
    const inner = { ...about, zone: 'main.2', kind: 'main', parent: 'video' }
    const held = { memory: 'none', cpu: 'none', processes: 'cgroup' }
    const full = { what: 'gone', program: '', why: 'limit MEMORY', peakBytes: 5 }
    const none = { ...about, parent: 'video', what: 'refused', program: '/f' }
    assert.deepEqual(told, [
      { ...about, zone: 'video', what: 'began', program: '/usr/bin/ffmpeg', enforced },
      { ...inner, what: 'began', program: '/usr/bin/ffmpeg', enforced: held },
      { ...none, zone: 'video.2', why: 'there are too many zones' },
      { ...none, zone: 'video.3', why: 'its zone would be nested too deep' },
      { ...inner, ...full },
      { ...about, zone: 'video', ...full, why: 'its programs have ended' },
    ])
  })

  test('A zone ends at its deadline with the zones in it, and the others stay', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const { told, begin, end, sent, zones } = await zonesOf()
    begin(1)
    begin(2, 1, 1)
    begin(3, 1)
    t.mock.timers.tick(1_039)
    assert.equal(sent.length, rules.length)
    t.mock.timers.tick(1)
    assert.deepEqual(sent.slice(rules.length), [{ kind: 'finish', zone: 1 }])
    end(2)
    end(1)
    const ends = told.filter(({ what }) => what === 'gone')
    assert.deepEqual(
      ends.map(({ zone, why }) => [zone, why]),
      [
        ['main.2', 'timeout'],
        ['video', 'timeout'],
      ],
    )
    zones.close()
  })

  test('An order to end a zone resolves once it is gone; in a frozen guest at once, and without a zone too', async () => {
    const { begin, end, zones, sent, state, told } = await zonesOf()
    await zones.end('video')
    begin(1)
    let isOver = false
    const over = zones.end('video').then(() => (isOver = true))
    await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual([isOver, sent.at(-1)], [false, { kind: 'finish', zone: 1 }])
    state.isFrozen = true
    await zones.end('video')
    end(1)
    await over
    assert.equal(told.at(-1)!.why, 'ended')
  })

  test('A guest that does not end a zone loses its wall, unless it is paused', async (t) => {
    const { begin, zones, state } = await zonesOf({ endMsMax: 200 })
    begin(1)
    state.isPaused = true
    void zones.end('video')
    await new Promise((resolve) => setTimeout(resolve, 500))
    assert.equal(state.stuck, 0)
    state.isPaused = false
    await t.waitFor(() => assert.ok(state.stuck > 0), { timeout: 60_000 })
    zones.close()
  })

  test('A live zone is tightened, one that is ending is left to its end, and one that is missing is not found', async () => {
    const { begin, zones, sent, state } = await zonesOf()
    begin(1)
    const held = await zones.tighten('video', { memory: 5, processes: 2 })
    const limits = { memory: 5, processes: 2 }
    assert.deepEqual(sent.at(-1), { kind: 'bound', zone: 1, limits })
    const all = { memory: 'cgroup', cpu: 'cgroup', processes: 'cgroup', io: 'none' }
    assert.deepEqual(held, all)
    await assert.rejects(zones.tighten('audio', {}), { code: 'NOT_FOUND' })
    state.errno = ESRCH
    await assert.rejects(zones.tighten('video', {}), { code: 'NOT_FOUND' })
    state.errno = EINVAL
    await assert.rejects(zones.tighten('video', {}), { code: 'UNAVAILABLE' })
    state.isFrozen = true
    await zones.end('video')
    const asked = sent.length
    assert.deepEqual(await zones.tighten('video', {}), all)
    assert.equal(sent.length, asked)
    zones.close()
  })
})
