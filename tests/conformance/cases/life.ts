import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { MayflyError, messageOf } from '../../../src/contract/error.ts'
import type { Sandbox } from '../../../src/contract/provider.ts'
import type { Chapter } from '../case.ts'
import { inTime, messageIn, patienceMs, until, type Running } from '../stand.ts'

/** Many times the interval of a tick. */
const quietMs = 200
const pollsMax = 50

export const life: Chapter = {
  name: 'The life of a sandbox',
  cases: [
    {
      title: 'Each sandbox has its own id, and names its provider',
      needs: [],
      async run(stand) {
        await using one = await stand.launch()
        await using two = await stand.launch()
        assert.notEqual(one.id, two.id)
        assert.equal(one.provider, stand.provider.name)
        assert.equal(one.receipt, undefined)
      },
    },
    {
      title: 'Destroying a sandbox is idempotent, and returns a receipt',
      needs: [],
      async run(stand) {
        const sandbox = await stand.launch()
        await Promise.all([sandbox[Symbol.asyncDispose](), sandbox[Symbol.asyncDispose]()])
        const { receipt } = sandbox
        assert.equal(receipt?.id, sandbox.id)
        assert.ok(receipt && receipt.took >= 0 && receipt.freedBytes >= 0)
        await sandbox[Symbol.asyncDispose]()
        assert.deepEqual(sandbox.receipt, receipt)
      },
    },
    {
      title: 'Destroying a sandbox ends its running guest, with a status other than ok',
      needs: [{ guest: 'spins' }, { guest: 'waits' }],
      async run(stand) {
        for (const guest of ['spins', 'waits'] as const) {
          const { sandbox, end, said } = await stand.start(stand.guests[guest])
          await said(guest === 'spins' ? 'spinning' : 'waiting')
          await inTime(
            Promise.resolve(sandbox[Symbol.asyncDispose]()),
            'the destruction of a running sandbox',
          )
          const { status } = await inTime(end, 'the end of a destroyed guest')
          assert.ok(['failed', 'terminated', 'cancelled'].includes(status), status)
          assert.ok(sandbox.receipt)
        }
      },
    },
    {
      title: 'A destroyed sandbox runs nothing',
      needs: [{ guest: 'echo' }],
      async run(stand) {
        const sandbox = await stand.launch()
        await sandbox[Symbol.asyncDispose]()
        await assert.rejects(
          inTime(stand.begin(sandbox, stand.guests.echo).end, 'a refusal'),
          (thrown) => thrown instanceof MayflyError && thrown.code === 'CONFLICT',
        )
      },
    },
    {
      title: 'A capture has the parts that the wall can read, and a reason if there are none',
      needs: [],
      async run(stand) {
        await using sandbox = await stand.launch()
        const { kind, parts } = await inTime(sandbox.capture(), 'a capture')
        const seesMemory = stand.provider.can.includes('capture-memory')
        assert.equal(kind === 'none', !seesMemory)
        assert.equal(parts.length > 0, seesMemory)
      },
    },
    {
      title: 'A wall that cannot freeze refuses with a code, and continues',
      needs: [{ guest: 'echo' }, { cannot: 'freeze' }],
      async run(stand) {
        const running = await stand.start(stand.guests.echo, { input: 7 })
        await using sandbox = running.sandbox
        for (const asked of [() => sandbox.freeze(), () => sandbox.thaw()])
          await assert.rejects(
            asked,
            (thrown) => thrown instanceof MayflyError && thrown.code === 'UNAVAILABLE',
          )
        assert.equal((await inTime(running.end, 'the end of a run')).status, 'ok')
      },
    },
    {
      title: 'A frozen guest makes no progress until it is thawed',
      needs: [{ guest: 'ticks' }, { can: 'freeze' }],
      async run(stand) {
        const running = await stand.start(stand.guests.ticks, {
          capabilities: { tick: () => 'null' },
        })
        await using sandbox = running.sandbox
        await running.said('ticking')
        await freezeOf(sandbox)
        const frozenAt = await settledProgress(running)
        await sleep(quietMs)
        assert.equal(progressOf(running), frozenAt, 'a frozen guest made progress')
        await inTime(sandbox.thaw(), 'a thaw')
        await until(() => progressOf(running) > frozenAt, 'progress after the thaw')
        sandbox.kill({ status: 'cancelled' })
        assert.equal((await inTime(running.end, 'the end')).status, 'cancelled')
      },
    },
    {
      title: 'Concurrent sandboxes each return their own result',
      needs: [{ guest: 'echo' }],
      async run(stand) {
        // Eight that start at once have little of a small machine each.
        const limits = { timeout: patienceMs }
        const all = await Promise.all(
          Array.from({ length: 8 }, (_, n) => stand.run(stand.guests.echo, { input: n, limits })),
        )
        assert.deepEqual(
          all.map(({ end }) => (end.status === 'ok' ? end.resultText : messageIn(end))),
          all.map((_, n) => String(n)),
        )
      },
    },
  ],
}

/** Again where a busy machine gave a process no time in which to stop. */
async function freezeOf(sandbox: Sandbox, triesLeft = 2): Promise<void> {
  try {
    await inTime(sandbox.freeze(), 'a freeze')
  } catch (thrown) {
    if (triesLeft === 0 || !/still runs after/.test(messageOf(thrown))) throw thrown
    await freezeOf(sandbox, triesLeft - 1)
  }
}

/** Number of calls and of characters of output so far. */
const progressOf = (running: Running) => running.calls.length + running.stdout().length

/** Progress of a frozen guest once all output in transit has arrived. */
async function settledProgress(running: Running): Promise<number> {
  for (let polls = 0; polls < pollsMax; polls++) {
    const before = progressOf(running)
    await sleep(quietMs)
    if (progressOf(running) === before) return before
  }
  assert.fail('a frozen guest keeps making progress')
}
