import assert from 'node:assert/strict'
import type { ExecTask } from '../../../src/contract/exec.ts'
import type { ExecEnd, SandboxSession } from '../../../src/contract/provider.ts'
import type { Chapter } from '../case.ts'
import { inTime, messageIn, patienceMs, type Running, type Stand, until } from '../stand.ts'

/** Includes the start of a new interpreter, which may replace one that does not answer; a busy emulator needs half a minute. */
const timeoutMs = 120_000

export const sessions: Chapter = {
  name: 'Sessions',
  cases: [
    {
      title: 'A variable that one exec of a session sets is visible to the next exec',
      needs: [{ can: 'session' }, { guest: 'sets' }, { guest: 'prints' }],
      async run(stand) {
        await using open = await openSession(stand)
        const first = await open.exec(stand.guests.sets)
        assert.equal(first.end.status, 'ok', messageIn(first.end))
        const { end, state } = await open.exec(stand.guests.prints)
        assert.deepEqual([end.status, state], ['ok', 'kept'], messageIn(end))
        await until(() => open.running.stdout().includes('21'), 'the output of the second exec')
      },
    },
    {
      title: 'An exec that loops ends when it is cancelled, and the next exec runs',
      needs: [{ can: 'session' }, { guest: 'loops' }, { guest: 'sets' }],
      async run(stand) {
        let next: ExecEnd | undefined
        for (let tries = 0; !next && tries < 4; tries++) next = await afterCancelledLoop(stand)
        assert.ok(next, 'the session of each cancelled exec ended')
        assert.deepEqual([next.end.status, next.ended], ['ok', false], messageIn(next.end))
      },
    },
    {
      title:
        'A file put into a session is read back byte for byte, and a closed session ends with status ok',
      needs: [{ can: 'session' }, { guest: 'sets' }, { can: 'files' }],
      async run(stand) {
        await using open = await openSession(stand)
        const bytes = Buffer.from(Array.from({ length: 200_000 }, (_, n) => n % 256))
        await open.session.files.put('below/it.bin', bytes)
        const got = await open.session.files.get('below/it.bin', bytes.length)
        assert.ok(bytes.equals(got))
        await open.session.close()
        const end = await inTime(open.running.end, 'the end of a closed session')
        assert.equal(end.status, 'ok', messageIn(end))
      },
    },
  ],
}

/**
 * The end of an exec after one that looped and was cancelled. Undefined if the session ended with that: on a busy
 * machine a new interpreter may take longer to start than an interrupted exec has.
 */
async function afterCancelledLoop(stand: Stand): Promise<ExecEnd | undefined> {
  await using open = await openSession(stand)
  const abort = new AbortController()
  const looping = open.exec(stand.guests.loops, abort.signal)
  await open.running.said('looping')
  abort.abort()
  const cut = await inTime(looping, 'the end of a cancelled exec')
  assert.equal(cut.end.status, 'cancelled', messageIn(cut.end))
  return cut.ended ? undefined : await open.exec(stand.guests.sets)
}

interface OpenSession extends AsyncDisposable {
  readonly running: Running
  readonly session: SandboxSession
  exec(code: string, signal?: AbortSignal): ReturnType<SandboxSession['exec']>
}

async function openSession(stand: Stand): Promise<OpenSession> {
  const running = await stand.start('', { session: true, limits: { timeout: patienceMs } })
  const { session } = running.sandbox
  assert.ok(session, 'the sandbox has no session')
  await inTime(session.ready, 'a session to be ready')
  const bytes = { outputBytesMax: 2 ** 20, resultBytesMax: 2 ** 20, artifactBytesMax: 2 ** 20 }
  return {
    running,
    session,
    exec: (code, signal) => {
      const task: ExecTask = { code, timeoutMs, ...bytes }
      return session.exec(task, signal)
    },
    [Symbol.asyncDispose]: async () => await running.sandbox[Symbol.asyncDispose](),
  }
}
