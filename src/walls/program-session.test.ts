import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TaskEnd } from '../contract/provider.ts'
import { createArtifactCap } from './artifact-cap.ts'
import type { GuestLife } from './guest-life.ts'
import { ProgramSession, type SessionOutput } from './program-session.ts'
import { kind } from './wire.ts'

test(
  'A session is closed although the reader of an exec does not take its output',
  { timeout: 60_000 },
  async () => {
    const finished: string[] = []
    const life = {
      isEnded: false,
      wall: 'w',
      parts: {
        wall: { wall: { idleBytes: 0 } },
        warden: { release: () => Promise.resolve({ cpuMs: 5, peakBytes: 0 }) },
      },
      finish: ({ status }: { status: string }) => void finished.push(status),
    }
    const output: SessionOutput = {
      flooded: () => undefined,
      isCut: false,
      renew: () => undefined,
      drained: () => new Promise<void>(() => undefined),
    }
    const parts = { output, cap: createArtifactCap(1000) }
    const session = new ProgramSession(life as unknown as GuestLife, parts)
    await session.close()
    assert.deepEqual(finished, ['ok'])
  },
)

/** A session whose guest answers file requests when `answer` is called, in their order. */
function filing() {
  const end = Promise.withResolvers<TaskEnd>()
  const sent: { id: string; path: string }[] = []
  const wall = {
    backlogBytes: 0,
    send: (_kind: number, frame: Buffer) =>
      void sent.push(JSON.parse(frame.toString().split('\n')[0]!)),
  }
  const garbled: string[] = []
  const life = {
    isEnded: false,
    end,
    parts: { wall },
    garbled: (why: string) => void garbled.push(why),
  }
  const output = { flooded: () => undefined, isCut: false, renew: () => undefined }
  const parts = { output: output as unknown as SessionOutput, cap: createArtifactCap(1000) }
  const session = new ProgramSession(life as unknown as GuestLife, parts)
  session.begin()
  let answered = 0
  const answer = (more: object = {}) => {
    const { id } = sent[answered++]!
    void session.receive({
      kind: kind.filed,
      payload: Buffer.from(`${JSON.stringify({ protocol: 1, id, ...more })}\n`),
    })
  }
  const put = (n: number, bytes = 1) => session.files.put(`f${n}`, new Uint8Array(bytes))
  return { session, sent, answer, put, end, wall, garbled }
}

test('Thirty files that are put at once are sent in their order, eight at a time', async () => {
  const { sent, answer, put, garbled } = filing()
  const all = Array.from({ length: 30 }, (_, n) => put(n))
  assert.equal(sent.length, 8)
  for (let n = 0; n < 30; n++) {
    answer()
    assert.equal(sent.length, Math.min(30, n + 9))
  }
  await Promise.all(all)
  assert.deepEqual(
    [sent.map(({ path }) => path), garbled],
    [Array.from({ length: 30 }, (_, n) => `f${n}`), []],
  )
})

test('Attack: a guest that lists a path outside of its folder, or a time that is none, ends its session', async () => {
  const entry = { path: 'a/..b/...', type: 'file', size: 1, modifiedMs: 1 }
  const paths = ['/etc/passwd', '..', '../x', 'a/../../x', 'a/..', 'a\0']
  for (const lie of [...paths.map((path) => ({ path })), { modifiedMs: 9e15 }]) {
    const { session, answer, garbled } = filing()
    void session.files.list('.').catch(() => undefined)
    answer({ entries: [{ ...entry, ...lie }] })
    assert.deepEqual(garbled, ['unreadable answer for a file'], JSON.stringify(lie))
  }
  const { session, answer } = filing()
  const listed = session.files.list('.')
  answer({ entries: [entry] })
  assert.deepEqual((await listed).entries, [entry])
})

test('Files that wait are bounded in bytes, and fail with the session or with a guest that does not answer', async (t) => {
  const { sent, put, end, wall } = filing()
  const first = put(0)
  wall.backlogBytes = 80 * 2 ** 20
  const waiting = [put(1, 40 * 2 ** 20), put(2)]
  await assert.rejects(put(3, 40 * 2 ** 20), { code: 'OVERLOADED' })
  assert.equal(sent.length, 1)
  end.resolve({ status: 'ok' } as unknown as TaskEnd)
  for (const file of [first, ...waiting]) await assert.rejects(file, { code: 'SESSION_ENDED' })

  t.mock.timers.enable({ apis: ['setTimeout'] })
  const silent = filing()
  const all = Array.from({ length: 10 }, (_, n) => silent.put(n))
  t.mock.timers.tick(30_000)
  for (const file of all) await assert.rejects(file, /does not answer/)
  await assert.rejects(silent.put(10), { code: 'OVERLOADED' })
})
