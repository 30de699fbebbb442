import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { identify, livingOf } from '../../../os/proc.ts'
import { belowOf } from '../../../os/process-tree.ts'
import { forkGuest, JailedGuest, type GuestHost } from './jailed-guest.ts'

const WAIT_MS_MAX = 30_000
const skip = process.platform !== 'linux' && 'it needs Linux'
const host: GuestHost = {
  cgroups: undefined,
  isRoot: false,
  lease: () => undefined,
  releaseLease: () => undefined,
}

class PlayedGuest extends JailedGuest {}

/** A launcher whose child ignores its death, as that of bubblewrap does until it has set its parent-death signal. */
function launch(): PlayedGuest {
  const bounds = { memoryBytes: 2 ** 28, tasksMax: 64 }
  const forked = forkGuest(host, bounds, () => ({
    command: ['/bin/sh', '-c', 'sleep 600 & wait'],
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    filter: { fd: 3, bytes: Buffer.alloc(0) },
  }))
  return new PlayedGuest(forked, host)
}

test(
  'A guest that is killed before its processes are recorded leaves no child of its launcher',
  { skip },
  async () => {
    const guest = launch()
    const { pid } = guest.processes[0]!
    for (const until = Date.now() + WAIT_MS_MAX; belowOf(pid).length === 0;) {
      assert.ok(Date.now() < until, 'the launcher has no child')
      await sleep(5)
    }
    const children = belowOf(pid).map((one) => identify(one))
    await guest.release()
    for (const until = Date.now() + WAIT_MS_MAX; livingOf(children).length > 0;) {
      assert.ok(Date.now() < until, 'a child outlived the guest')
      await sleep(5)
    }
  },
)
