import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:os'
import { test } from 'node:test'
import type { Cgroup } from '../../../os/cgroup-interface.ts'
import { ProgramZones } from './program-zones.ts'
import { memoryHit, overByItself } from '../zone-ends.ts'
import type { ZoneReport } from '../../../contract/warden.ts'
import type { WallResources } from './resources.ts'
import type { ZoneRule } from '../../../contract/zone-rules.ts'

/** A wall of this process, whose cgroup accepts every write. */
function zonesOf(rules: readonly ZoneRule[], isAsked: boolean, own: Partial<Cgroup> = {}) {
  const told: ZoneReport[] = []
  const group: Partial<Cgroup> = {
    controllers: [],
    below: () => group as Cgroup,
    add() {},
    limit() {},
    liftCpuQuota() {},
    processes: () => [],
    memoryKills: () => 0,
    remove: () => true,
    ...own,
  }
  const resources = { processes: [], cgroup: group } as unknown as WallResources
  const report = (one: ZoneReport) => void told.push(one)
  const { pid } = process
  return {
    told,
    zones: new ProgramZones({ resources, rules, pid, cpu: undefined, isAsked, report }),
  }
}

test('A wall that calls exec in a loop gets EAGAIN', () => {
  const { pid } = process
  const { zones } = zonesOf([{ kind: 'video', programs: ['ffmpeg'], life: 1000 }], true)
  const asking = { pid, path: 'true', real: '/usr/bin/true', by: [] }
  const answers = Array.from({ length: 20_000 }, () => zones.answerExec(asking))
  assert.ok(answers.slice(0, 1000).every((answer) => answer === 0))
  assert.ok(answers.includes(constants.errno.EAGAIN))
})

test('A program that cannot be added to its zone is killed, and the scan continues', async () => {
  const child = spawn('sleep', ['30'])
  await once(child, 'spawn')
  const refuse = () => {
    throw new Error('no such process')
  }
  const rules = [{ kind: 'naps', programs: ['*'], life: 1000 }]
  const { zones, told } = zonesOf(rules, false, { add: refuse })
  const ended = once(child, 'exit')
  zones.check([child.pid!], performance.now())
  const [, signal] = await ended
  assert.equal(signal, 'SIGKILL')
  assert.deepEqual(
    told.map(({ what, why }) => [what, why]),
    [['refused', 'it could not be added to a zone: no such process']],
  )
})

test('Names of zones are unique, and differ from that of the whole wall', () => {
  const rules = ['main', 'a', 'a.2', 'a', 'a'].map((kind, index) => {
    return { kind, programs: [`p${index}`], life: 1000 }
  })
  const { zones, told } = zonesOf(rules, true)
  for (const index of rules.keys())
    assert.equal(zones.answerExec({ pid: process.pid, path: `p${index}`, real: '', by: [] }), 0)
  assert.deepEqual(
    told.map(({ zone }) => zone),
    ['main.2', 'a', 'a.2', 'a.3', 'a.4'],
  )
})

test('A zone that is ending, as at its limit, is not refused a tightening; one that has ended is', async () => {
  const rules = [{ kind: 'video', programs: ['ffmpeg'], memory: 2 ** 20, life: 60_000 }]
  const { zones, told } = zonesOf(rules, true)
  assert.equal(zones.answerExec({ pid: process.pid, path: 'ffmpeg', real: '', by: [] }), 0)
  const ended = zones.end('video', 'limit MEMORY')
  assert.equal(zones.tighten('video', { memory: 4096 }).memory, 'watch')
  await ended
  assert.equal(told.at(-1)?.why, 'limit MEMORY')
  assert.throws(() => zones.tighten('video', { memory: 1 }), /it has no zone/)
})

test('An OOM kill of a machine that is full ends no zone, and that of a full zone does', async (t) => {
  const child = spawn('sleep', ['30'])
  t.after(() => child.kill('SIGKILL'))
  await once(child, 'spawn')
  const ended = (isFull: boolean) => {
    let pids = [child.pid!]
    let kills = 0
    const rules = [{ kind: 'video', programs: ['ffmpeg'], memory: 2 ** 26, life: 60_000 }]
    const { zones, told } = zonesOf(rules, true, {
      memoryKills: () => 1,
      hasBeenFull: () => isFull,
      processes: () => pids,
      liftCpuQuota: () => void kills++,
    })
    assert.equal(zones.answerExec({ pid: process.pid, path: 'ffmpeg', real: '', by: [] }), 0)
    zones.check([], performance.now())
    const isEnded = kills > 0
    pids = []
    zones.check([], performance.now())
    return [isEnded, told.at(-1)?.what, told.at(-1)?.why]
  }
  assert.deepEqual(ended(false), [false, 'gone', overByItself])
  assert.deepEqual(ended(true), [true, 'gone', memoryHit])
})
