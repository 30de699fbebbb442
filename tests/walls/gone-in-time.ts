import assert from 'node:assert/strict'
import { isAlive } from '../../src/os/proc.ts'
import { openCgroups } from '../../src/os/cgroup.ts'
import { until, type Stand } from '../conformance/stand.ts'

/** Milliseconds from the end of a program to the end of the last process of its wall. */
const goneMsMax = 500
const tries = 8
const waits = `
import time
def main(input):
    print('begin', flush=True)
    time.sleep(0.3)
    return 1`

export const whyNoGroups = openCgroups() ? false : 'the processes of a wall are found by its cgroup'

/** Asserts that no process of a wall is left in time after the result of its program, in one of eight tries, and eventually always. */
export async function assertGoneInTime(stand: Stand, limits: object): Promise<void> {
  const took: number[] = []
  while (took.length < tries && !took.some((ms) => ms <= goneMsMax)) {
    const running = await stand.start(waits, { limits })
    await running.said('begin')
    const pids = openCgroups()!.processes(running.sandbox.wall!)
    assert.ok(pids.length > 0)
    const { status } = await running.end
    const ended = performance.now()
    assert.equal(status, 'ok')
    await until(() => !pids.some((pid) => isAlive(pid)), 'its processes to be gone')
    took.push(performance.now() - ended)
    await running.sandbox[Symbol.asyncDispose]()
  }
  assert.ok(took.at(-1)! <= goneMsMax, `${took.join()} ms`)
}
