import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { holdWarden } from '../../src/assemble/local-warden.ts'
import { isAlive } from '../../src/os/proc.ts'
import { belowOf } from '../../src/os/process-tree.ts'
import { isRunscThere, makeGvisor, noRunsc } from '../conformance/gvisor.ts'
import { inPython } from '../conformance/guests-of-programs.ts'
import { messageIn, until, type Made } from '../conformance/stand.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { assertGoneInTime, whyNoGroups } from './gone-in-time.ts'
import {
  assertFreezes,
  assertNetworkCloses,
  closeWalls,
  standOf,
  startWardenToKill,
} from './wall-lives.ts'
import { diskCases, nodeFillsDisk } from './wall-programs.ts'

/** Tests beyond the suite of conformance: the inside of a capture, the way out, and what an end leaves on the host. */
const planted = 'the-planted-text-of-a-program'
const hidden = JSON.stringify([...Buffer.from(planted)].map((byte) => byte ^ 0x55))
const holds = `
import os, time
def main(input):
    kept = bytes(b ^ 0x55 for b in ${hidden}) * 2
    if os.fork() == 0:
        with open('/tmp/own', 'wb') as file: file.write(kept[:11] + b'in-a-file' + kept[11:])
        os._exit(0)
    os.wait()
    print('holds', flush=True)
    for n in range(2000):
        print(n, flush=True)
        time.sleep(0.01)
    return len(kept)`
const skip = isRunscThere() ? false : noRunsc

suite('A wall of gvisor', { skip }, () => {
  let made: Made
  before(async () => void (made = await makeGvisor({}, 'python')))
  after(() => closeWalls(made))
  const stand = () => standOf(made)

  test('Captures are checkpoints with the memory, name their missing parts, and let the program continue', async () => {
    const running = await stand().start(holds)
    await using sandbox = running.sandbox
    await running.said('holds')
    const { kind, parts, why } = await sandbox.capture()
    assert.equal(kind, 'memory+disk')
    assert.match(why!, /connections/)
    const inFile = `${planted.slice(0, 11)}in-a-file${planted.slice(11)}${planted}`
    for (const text of [planted + planted, inFile])
      assert.ok(
        parts.some(({ bytes }) => Buffer.concat(bytes).includes(text)),
        text,
      )
    const before = running.stdout()
    await until(() => running.stdout() !== before, 'what it says next')
    sandbox.kill({ status: 'cancelled' })
    await running.end
  })

  test('Frozen programs make no progress until they are thawed', () => assertFreezes(stand()))

  test(
    'S1-19: no process of a wall is left 500 ms after the result of its program, in one of eight tries',
    { skip: whyNoGroups },
    () => assertGoneInTime(stand(), { timeout: 30_000 }),
  )

  test('Killed, it leaves no process and no folder', async () => {
    const running = await stand().start(inPython.guests.spins!)
    await running.said('spinning')
    const mine = belowOf(process.pid)
    const folder = join('/tmp', `mayfly-${running.sandbox.wall!}`)
    assert.ok(existsSync(folder))
    running.sandbox.kill({ status: 'cancelled' })
    assert.equal((await running.end).status, 'cancelled')
    await running.sandbox[Symbol.asyncDispose]()
    await until(() => !existsSync(folder), 'the folder to be removed')
    const isOf = (pid: number) => isAlive(pid) && !belowOf(process.pid).includes(pid)
    assert.deepEqual(mine.filter(isOf), [])
  })
})

suite('Egress of a gVisor wall', { skip }, () => {
  test('Granted hosts are reached, others are refused, and none once the network is closed', () =>
    assertNetworkCloses((egress) => makeGvisor({}, 'python', egress)))
})

suite('A killed warden', { skip }, () => {
  test('leaves no process of a gVisor wall, and the next one removes its folder', async () => {
    using killed = await startWardenToKill<{ wall: string; pids: number[] }>('gvisor-life.ts')
    const { wall, pids } = killed.said
    assert.ok(pids.length > 3)
    killed.child.kill('SIGKILL')
    await until(() => !pids.some((pid) => isAlive(pid)), 'its processes to end')
    const folder = `/tmp/mayfly-${wall}`
    assert.ok(existsSync(folder))
    const next = holdWarden({ stateFolder: killed.state })
    await until(() => !existsSync(folder), 'the folder to be removed')
    await next.close()
  })
})

suite('The disk of a gVisor wall', { skip }, () => {
  const made = new Map<string, Made>()
  before(async () => {
    for (const language of ['python', 'node', 'sh'] as const)
      made.set(language, await makeGvisor({}, language))
  })
  after(async () => {
    for (const walls of made.values()) await closeWalls(walls)
  })

  for (const { name, of, code, ends } of [...diskCases, nodeFillsDisk])
    test(`behind gVisor: ${name}: ${ends.join(' ')}`, async () => {
      const stand = standOf(made.get(of.language)!, of)
      const { end } = await stand.run(code, { entry: 'program' })
      assert.deepEqual([end.status, end.error?.code], ends, messageIn(end))
      if (end.status === 'limit') assert.equal(end.isReported, true, 'the sentry alone counts it')
    })
})
