import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, isSampled, suite, test } from '../fixtures/drawn.ts'
import type { Outcome } from '../../src/contract/outcome.ts'
import { machineState } from '../fixtures/machine-images.ts'
import { openWalls, type Walls } from '../hostile/process/walls.ts'
import { isQemuThere, noQemu } from './qemu-here.ts'

/** Concurrent jobs on clones of machines, through the library. */
const atOnce = isSampled ? 3 : process.env['MAYFLY_LONG'] ? 50 : 6
const timeout = 600_000
const found = isQemuThere() ? await machineState() : { missing: noQemu }
const imageState = 'state' in found ? found.state : ''
/** Jobs to run until one gets a spare machine; a miss starts a new one. */
const triesMax = 50
const skip = 'missing' in found ? found.missing : false

/** Searches for marks of other jobs, leaves its own, and reports the names of its machine. */
const plants = `
import builtins, os
places = ["/tmp/planted", "/work/planted", "/dev/shm/planted"]
found = [place for place in places if os.path.exists(place)] + [name for name in dir(builtins) if name.startswith("planted")]
builtins.planted = input["mark"]
for place in places:
    try: open(place, "w").write(input["mark"])
    except OSError: pass
written = [place for place in places if os.path.exists(place)]
result = {"boot": open("/proc/sys/kernel/random/boot_id").read().strip(), "host": os.uname().nodename, "found": found, "written": len(written), "mark": input["mark"]}`

interface Planted {
  readonly boot: string
  readonly host: string
  readonly found: readonly string[]
  readonly written: number
  readonly mark: string
}

suite('Jobs on clones of machines', { skip, timeout }, () => {
  let walls: Walls
  before(async () => {
    walls = await openWalls({ imageState })
    assert.equal(await walls.absent('qemu'), undefined)
  })
  after(() => walls[Symbol.asyncDispose]())

  async function plant(): Promise<Outcome & { readonly result: Planted }> {
    const mark = randomBytes(12).toString('hex')
    const limits = { timeout: 120_000, memory: '64MB' } as const
    const job = {
      code: plants,
      language: 'python',
      input: { mark },
      provider: 'qemu',
      limits,
    } as const
    const outcome = (await walls.run(job)) as Outcome & { readonly result: Planted }
    assert.equal(outcome.status, 'ok', JSON.stringify(outcome.error))
    assert.equal(outcome.provider, 'qemu')
    assert.equal(outcome.result.mark, mark)
    return outcome
  }

  function assertApart(outcomes: readonly { readonly result: Planted }[]): void {
    const all = outcomes.map(({ result }) => result)
    for (const name of ['boot', 'host'] as const)
      assert.equal(new Set(all.map((one) => one[name])).size, all.length, name)
    for (const { found: marks, written } of all) {
      assert.deepEqual(marks, [])
      assert.ok(written >= 2)
    }
  }

  async function plantUntilHit(): Promise<void> {
    for (let tries = 1; (await plant()).metrics.pool !== 'hit'; tries++)
      assert.ok(tries < triesMax, 'no machine waits for a job')
  }

  test('S0-1: concurrent jobs have their own boot id and host name, and find no file or global of another', async () => {
    // S0-5: a job with a spare is a hit, a job with a new machine is a miss, and spares are made again.
    await plantUntilHit()
    const outcomes = await Promise.all(Array.from({ length: atOnce }, () => plant()))
    assertApart(outcomes)
    assert.ok(outcomes.some(({ metrics }) => metrics.pool === 'miss'))
    await plantUntilHit()
  })
})
