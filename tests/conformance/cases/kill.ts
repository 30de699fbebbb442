import assert from 'node:assert/strict'
import type { KillCause } from '../../../src/contract/provider.ts'
import { MayflyError } from '../../../src/contract/error.ts'
import type { Chapter } from '../case.ts'
import { inTime } from '../stand.ts'

const causes: readonly KillCause[] = [
  { status: 'timeout' },
  { status: 'cancelled' },
  { status: 'terminated', reason: 'An operator said so' },
  { status: 'limit', code: 'CPU' },
]

export const kill: Chapter = {
  name: 'Killing',
  cases: [
    {
      title: 'A task killed before its start ends with the cause and never runs',
      needs: [{ guest: 'speaks' }],
      async run(stand) {
        for (const cause of causes) {
          await using sandbox = await stand.launch()
          sandbox.kill(cause)
          const running = stand.begin(sandbox, stand.guests.speaks)
          const { status } = await inTime(running.end, 'the end of a task killed before')
          assert.equal(status, cause.status)
        }
      },
    },
    ...(['spins', 'waits'] as const).map((guest) => ({
      title: `Killed while it ${guest}, it ends at once and with the cause`,
      needs: [{ guest } as const],
      async run(stand: Parameters<Chapter['cases'][number]['run']>[0]) {
        for (const cause of causes) {
          const running = await stand.start(stand.guests[guest])
          await using sandbox = running.sandbox
          await running.said(guest === 'spins' ? 'spinning' : 'waiting')
          sandbox.kill(cause)
          sandbox.kill({ status: 'limit', code: 'DISK' })
          const end = await inTime(running.end, 'the end of a killed guest')
          assert.equal(end.status, cause.status)
          if (cause.status === 'limit') assert.equal(end.error?.code, cause.code)
        }
      },
    })),
    {
      title: 'Killing a task after its end does not change its end',
      needs: [{ guest: 'echo' }],
      async run(stand) {
        const running = await stand.start(stand.guests.echo, { input: 1 })
        await using sandbox = running.sandbox
        const end = await inTime(running.end, 'the end of a run')
        sandbox.kill({ status: 'cancelled' })
        assert.equal(end.status, 'ok')
        assert.equal((await running.end).status, 'ok')
      },
    },
    {
      title: 'A sandbox is used once: a second task is a conflict',
      needs: [{ guest: 'echo' }],
      async run(stand) {
        const running = await stand.start(stand.guests.echo)
        await using sandbox = running.sandbox
        await assert.rejects(stand.begin(sandbox, stand.guests.echo).end, isConflict)
        await inTime(running.end, 'the end of the first')
        await assert.rejects(stand.begin(sandbox, stand.guests.echo).end, isConflict)
      },
    },
    {
      title: 'A guest is released once, before any of its output or calls',
      needs: [{ guest: 'speaks' }],
      async run(stand) {
        let releasedFirst: boolean | undefined
        const running = await stand.start(stand.guests.speaks, {
          io: { stdout: () => void (releasedFirst ??= running.releases() === 1) },
        })
        await using _sandbox = running.sandbox
        await running.released()
        await inTime(running.end, 'the end of a run')
        assert.deepEqual([running.releases(), releasedFirst], [1, true])
      },
    },
  ],
}

function isConflict(thrown: unknown): boolean {
  return thrown instanceof MayflyError && thrown.code === 'CONFLICT'
}
