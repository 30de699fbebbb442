import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite, test } from 'node:test'
import { findProgram } from '../../src/jail/facts.ts'
import { processFacts } from '../../src/os/proc.ts'
import { until } from '../conformance/stand.ts'
import { isMissing, unable } from './process-stands.ts'
import { openWhole, type WholeWall } from './whole-wall.ts'

/** Programs that have themselves woken while they are frozen, by timers that they set before. */
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

const ways = ['embedded', 'bubblewrap'] as const
const ticksOf = ({ started }: WholeWall) => processFacts(started.wall.pid)?.cpuTicks ?? 0

suite('A program that wakes itself while it is frozen', { skip: unable('python') }, () => {
  for (const way of ways)
    for (const hide of [[], ['cgroup']])
      test(`stands still, or is ended, ${[way, ...hide.map((one) => `without a ${one}`)].join(', ')}`, async (t) => {
        if (isMissing(t, { way })) return
        await using whole = await openWhole({ hide })
        const wall = await whole.start('python', way)
        await wall.claim()
        wall.run(wakes)
        await until(() => wall.said.stdout.includes('ready'), 'it to begin')
        await whole.warden.freeze(wall.id)
        const before = ticksOf(wall)
        let end: string | undefined
        void wall.ended.then(({ how }) => (end = how))
        await sleep(1500)
        if (end === undefined) assert.equal(ticksOf(wall), before)
        else assert.equal(end, 'killed')
      })

  test(
    'is copied before it is ended',
    { skip: !findProgram('cc') && 'there is no C compiler here' },
    async (t) => {
      if (isMissing(t, { way: 'embedded' })) return
      await using whole = await openWhole()
      const wall = await whole.start('python')
      await wall.claim()
      wall.run(wakes)
      await until(() => wall.said.stdout.includes('ready'), 'it to begin')
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
