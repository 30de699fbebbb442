import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { endOf } from './end.ts'
import type { ProcessWall } from './process-wall.ts'
import type { WallEnd } from '../../../contract/warden.ts'
import { EnclosureLife } from '../../enclosure-life.ts'

suite('The end of a wall', () => {
  test('An exit code and a signal are reported', () => {
    assert.deepEqual(exitOf({ exitCode: 3 }), { exitCode: 3, signal: null, cpuMs: null })
    assert.deepEqual(exitOf({ signalCode: 'SIGKILL' }).signal, 'SIGKILL')
  })

  test('A shell that waited for it reports a signal by an exit code', () => {
    assert.deepEqual(exitOf({ exitCode: 139 }), { exitCode: 139, signal: 'SIGSEGV', cpuMs: null })
    assert.equal(exitOf({ exitCode: 255 }).signal, null)
    assert.equal(exitOf({ exitCode: 128 }).signal, null)
  })

  test('An OOM kill at its limit, or V8’s message, is an end by memory; a deadline takes precedence', () => {
    const howOf = (how: WallEnd, kills: number, complaint = '', killsAtClaim = 0) => {
      const life = new EnclosureLife('w1', false)
      life.park()
      life.end(how)
      const end = ended({ exitCode: 1 }, { killsAtClaim }, { kills }, complaint)
      return life.reported(end.isOutOfMemory)
    }
    assert.equal(howOf('exit', 1), 'memory')
    assert.equal(howOf('exit', 1, '', 1), 'exit')
    assert.equal(howOf('exit', 0, 'FATAL ERROR: JavaScript heap out of memory'), 'memory')
    assert.equal(howOf('deadline', 1), 'deadline')
    assert.equal(howOf('killed', 0), 'killed')
  })

  test('An OOM kill of a machine that is full, in a wall below its limit, is no end by memory', () => {
    const killed = ended({ signalCode: 'SIGKILL' }, {}, { kills: 1, isFull: false })
    assert.deepEqual([killed.isOutOfMemory, killed.exit.signal], [false, 'SIGKILL'])
  })

  test('The end carries the reason of a sentinel that ended the wall', () => {
    const detailOf = (sentinel?: { readonly why: string | undefined }) =>
      ended({ signalCode: 'SIGKILL', sentinel }).detail
    assert.equal(detailOf(), 'exit SIGKILL')
    assert.equal(detailOf({ why: undefined }), 'exit SIGKILL')
    assert.equal(detailOf({ why: 'a call was not over' }), 'a call was not over')
  })

  test('CPU time is that of the last sample, less that before the job', () => {
    const cpuOf = (wall: Partial<ProcessWall>) => ended({}, wall).exit.cpuMs
    assert.equal(cpuOf({ spentBefore: 40, spentSeen: 140 }), 100)
    assert.equal(cpuOf({ spentBefore: 40, spentSeen: 0 }), null)
  })
})

interface Ended {
  readonly exitCode?: number
  readonly signalCode?: string
  readonly sentinel?: { readonly why: string | undefined } | undefined
}

function exitOf(child: Ended) {
  return ended(child).exit
}

interface Killed {
  readonly kills: number
  /** Whether its cgroup reached its limit. */
  readonly isFull?: boolean
}

function ended(
  { sentinel, ...child }: Ended,
  wall: Partial<ProcessWall> = {},
  { kills, isFull = true }: Killed = { kills: 0 },
  complaint = '',
) {
  const resources = {
    child: { exitCode: null, signalCode: null, ...child },
    cgroup: { memoryKills: () => kills, hasBeenFull: () => isFull, cpuMs: () => undefined },
    complaint: () => complaint,
    sentinel,
  }
  const unused = { killsAtClaim: 0, spentBefore: 0, spentSeen: 0 }
  return endOf({ ...unused, resources, ...wall } as unknown as ProcessWall)
}
