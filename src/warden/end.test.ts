import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { endOf } from './end.ts'
import type { Live } from './live.ts'
import type { Reply, WallEnd } from '../contract/warden.ts'

suite('The end of a wall', () => {
  test('It is told by exit code, and by the signal that killed it', () => {
    assert.deepEqual(exitOf({ exitCode: 3 }), { exitCode: 3, signal: null, cpuMs: null })
    assert.deepEqual(exitOf({ signalCode: 'SIGKILL' }).signal, 'SIGKILL')
  })

  test('A shell that waited for it tells of a signal by a code', () => {
    assert.deepEqual(exitOf({ exitCode: 139 }), { exitCode: 139, signal: 'SIGSEGV', cpuMs: null })
    assert.equal(exitOf({ exitCode: 255 }).signal, null)
    assert.equal(exitOf({ exitCode: 128 }).signal, null)
  })

  test('Whom the kernel ended for its memory, or who said so, had too much; a deadline came first', () => {
    const howOf = (live: Partial<Live>, kills: number, complaint = '') =>
      (told({ exitCode: 1 }, live, kills, complaint) as { how: WallEnd }).how
    assert.equal(howOf({}, 1), 'memory')
    assert.equal(howOf({ killsAtClaim: 1 }, 1), 'exit')
    assert.equal(howOf({}, 0, 'FATAL ERROR: JavaScript heap out of memory'), 'memory')
    assert.equal(howOf({ how: 'deadline' }, 1), 'deadline')
    assert.equal(howOf({ how: 'killed' }, 0), 'killed')
  })

  test('Its sentinel says why it ended it, where it did', () => {
    const detailOf = (sentinel?: { readonly why: string | undefined }) =>
      (told({ signalCode: 'SIGKILL', sentinel }, {}, 0) as { detail: string }).detail
    assert.equal(detailOf(), 'exit SIGKILL')
    assert.equal(detailOf({ why: undefined }), 'exit SIGKILL')
    assert.equal(detailOf({ why: 'a call was not over' }), 'a call was not over')
  })

  test('It used what was seen of it at its end, less what it had used before its job', () => {
    const cpuOf = (live: Partial<Live>) =>
      (told({}, live, 0) as Extract<Reply, { ended: string }>).exit.cpuMs
    assert.equal(cpuOf({ spentBefore: 40, spentSeen: 140 }), 100)
    assert.equal(cpuOf({ spentBefore: 40, spentSeen: 0 }), null)
  })

  test('The most that anybody saw is its peak', () => {
    const { peakBytes } = told({}, { peakBytes: 7 }, 0, '', 9) as { peakBytes: number }
    assert.equal(peakBytes, 9)
  })
})

interface Ended {
  readonly exitCode?: number
  readonly signalCode?: string
  readonly sentinel?: { readonly why: string | undefined } | undefined
}

function exitOf(child: Ended) {
  return (told(child, {}, 0) as Extract<Reply, { ended: string }>).exit
}

function told(
  { sentinel, ...child }: Ended,
  live: Partial<Live>,
  kills: number,
  complaint = '',
  held = 0,
): Reply {
  const taken = {
    child: { exitCode: null, signalCode: null, ...child },
    cgroup: { memoryKills: () => kills, cpuMs: () => undefined },
    complaint: () => complaint,
    sentinel,
  }
  const unused = { killsAtClaim: 0, spentBefore: 0, spentSeen: 0 }
  const life = { id: 'w1', how: undefined, peakBytes: 0, ...unused, taken, ...live }
  const seen = { wall: 'w1', pid: 1, deadlineAt: 0, residentMax: 0, peakBytes: held }
  return endOf(life as unknown as Live, seen)
}
