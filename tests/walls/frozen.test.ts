import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'node:test'
import { jailKinds, type JailKind } from '../../src/contract/jail-kind.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { processFacts } from '../../src/os/proc.ts'
import { belowOf, cpuMsOf } from '../../src/os/process-tree.ts'
import { until } from '../conformance/stand.ts'
import { test } from '../fixtures/drawn.ts'
import { untilInTime } from '../fixtures/lateness.ts'
import { isMissing, unable } from './process-stands.ts'
import { openWhole, type WholeEnd, type WholeWall } from './whole-wall.ts'

/** Programs that set timers which wake them while they are frozen. */
const wakes = `
import ctypes, platform, signal
libc = ctypes.CDLL(None, use_errno=True)
create, settime = (222, 223) if platform.machine() == 'x86_64' else (107, 110)
class Event(ctypes.Structure):
    _fields_ = [('value', ctypes.c_void_p), ('signal', ctypes.c_int), ('notify', ctypes.c_int), ('rest', ctypes.c_char * 48)]
class Spec(ctypes.Structure): _fields_ = [(name, ctypes.c_long) for name in ('every', 'every_ns', 's', 'ns')]
signal.signal(signal.SIGCONT, lambda *_: None)
kept = b'held-' + b'while-it-woke'
for n in range(200):
    timer, event, at = ctypes.c_int(), Event(None, signal.SIGCONT, 0), 500 + n * 20
    assert libc.syscall(create, 1, ctypes.byref(event), ctypes.byref(timer)) == 0
    assert libc.syscall(settime, timer.value, 0, ctypes.byref(Spec(0, 0, at // 1000, at % 1000 * 10**6)), None) == 0
print('ready', flush=True)
while True: pass`

/** Once awake, each process forks the next and exits: every scan finds another pid, or none. */
const chains = wakes.replace(
  'while True: pass',
  `
import os
signal.pause()
if os.fork() == 0:
    while True:
        if os.fork() != 0: os._exit(0)
while True: signal.pause()`,
)

/** Eight children that spin, and a parent that prints. */
const busy = `
import os, time
for _ in range(8):
    if os.fork() == 0:
        while True: pass
while True:
    print('.', end='', flush=True)
    time.sleep(0.02)`

/** A parent that the kernel suspends until its child ends, as the start of a program does until its exec. */
const spawns = `
import ctypes, os, platform, time
clone, vfork = (56 if platform.machine() == 'x86_64' else 220), 0x4000 | 17
if ctypes.CDLL(None).syscall(clone, vfork, 0, 0, 0, 0) == 0:
    print('held', flush=True)
    time.sleep(1)
    os._exit(0)
print('went on', flush=True)
time.sleep(60)`

/** CPU time allowed between a wake-up and the next stop, on top of the scheduling delay of the machine. */
const spentMsMax = 100
/** CPU milliseconds of all processes in the wall, including children they have reaped. */
function spentBy({ started: { wall } }: WholeWall): number {
  const first = processFacts(wall.pid)?.parent ?? wall.pid
  return cpuMsOf([first, ...belowOf(first)])
}

interface Woken {
  readonly ended: WholeEnd | undefined
  readonly spent: number
}

/** CPU time that a frozen wall used until its end, or until its timers stopped firing. */
async function wakesWhileFrozen(
  code: string,
  hide: readonly string[],
  jailKind: JailKind,
): Promise<Woken> {
  await using whole = await openWhole({ hide })
  const wall = await whole.start('python', jailKind)
  await wall.claim()
  const claimed = spentBy(wall)
  wall.run(code)
  await until(() => wall.said.stdout.includes('ready'), 'it to begin')
  await whole.warden.freeze(wall.id)
  const before = spentBy(wall) - claimed
  const ended = (await Promise.race([wall.ended, sleep(1500)])) ?? undefined
  // An end that does not say how long it ran shows nothing.
  const spent = (ended ? (ended.exit.cpuMs ?? Number.NaN) : spentBy(wall) - claimed) - before
  return { ended, spent }
}

/** A wall whose program has printed the word by which it says that it began. */
async function begun(
  whole: Awaited<ReturnType<typeof openWhole>>,
  code: string,
  word: string,
  jailKind?: JailKind,
): Promise<WholeWall> {
  const wall = await whole.start('python', jailKind)
  await wall.claim()
  wall.run(code)
  await until(() => wall.said.stdout.includes(word), 'it to begin')
  return wall
}

suite('A program woken by its own timers while it is frozen', { skip: unable('python') }, () => {
  for (const [what, code] of Object.entries({ alone: wakes, 'as a chain of processes': chains }))
    for (const jailKind of jailKinds)
      for (const hide of [[], ['cgroup']])
        test(`${what}: ${[jailKind, ...hide.map((one) => `without a ${one}`)].join(', ')}`, async (t) => {
          if (isMissing(t, { jailKind })) return
          const told: string[] = []
          const lives = async () => {
            const lived = await wakesWhileFrozen(code, hide, jailKind)
            told.push(`${lived.ended ? 'ended' : 'still'} after ${lived.spent} ms of its own`)
            return lived
          }
          // The warden is scheduled as late as every other process of this machine, and needs more than one scan.
          const isHeld = ({ spent }: Woken, late: number) => spent <= spentMsMax + late
          const { value, lateMs } = await untilInTime(t, lives, isHeld)
          t.diagnostic(told.join('; '))
          assert.ok(isHeld(value, lateMs), `${told.join('; ')}; the last beside ${lateMs} ms`)
          const { ended } = value
          if (!ended) return
          assert.equal(ended.how, 'killed')
          assert.match(ended.detail ?? '', /ran while it was frozen/)
        })

  for (const jailKind of jailKinds)
    for (const hide of [[], ['cgroup']]) {
      test(`continues if it is thawed while it is being frozen: ${[jailKind, ...hide].join(', without a ')}`, async (t) => {
        if (isMissing(t, { jailKind })) return
        await using whole = await openWhole({ hide })
        const wall = await begun(whole, busy, '.', jailKind)
        for (let round = 0; round < 10; round++) {
          await Promise.all([whole.warden.freeze(wall.id), whole.warden.thaw(wall.id)])
          const { length } = wall.said.stdout
          await until(() => wall.said.stdout.length > length, `it to go on in round ${round}`)
        }
      })

      test(`is frozen while it waits for a program to start: ${[jailKind, ...hide].join(', without a ')}`, async (t) => {
        if (isMissing(t, { jailKind })) return
        await using whole = await openWhole({ hide })
        const wall = await begun(whole, spawns, 'held', jailKind)
        await whole.warden.freeze(wall.id)
        assert.equal(await Promise.race([wall.ended, sleep(1500)]), undefined, 'it stays frozen')
        assert.ok(!wall.said.stdout.includes('went on'))
        await whole.warden.thaw(wall.id)
        await until(() => wall.said.stdout.includes('went on'), 'it to go on')
      })
    }

  test(
    'is copied before it is ended',
    { skip: !findProgram('cc') && 'there is no C compiler here' },
    async (t) => {
      if (isMissing(t, { jailKind: 'embedded' })) return
      await using whole = await openWhole()
      const wall = await begun(whole, wakes, 'ready')
      await whole.warden.freeze(wall.id)
      await sleep(30)
      const memory = await whole.warden.memory(wall.id)
      const pieces: Buffer[] = []
      memory.on('data', (piece: Buffer) => void pieces.push(piece))
      await whole.warden.capture(wall.id, 64 * 2 ** 20)
      const isOver = () =>
        Buffer.concat(pieces.slice(-2)).toString('latin1').endsWith('"end":true,"isWhole":true}\n')
      await until(isOver, 'the whole copy')
      assert.ok(Buffer.concat(pieces).includes('held-while-it-woke'))
      memory.destroy()
    },
  )
})
