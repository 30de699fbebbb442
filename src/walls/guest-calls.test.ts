import assert from 'node:assert/strict'
import { test } from 'node:test'
import { taggedDepthMax } from '../lib/tagged.ts'
import { GuestCalls } from './guest-calls.ts'
import type { RealmEgress } from './guest-egress.ts'
import type { GuestLife } from './guest-life.ts'

/** Calls of a guest that was granted `echo`, with the texts that reach handlers, network and folders. */
function callsOf() {
  const seen: string[] = []
  const answers: { id: number; text?: string; error?: string }[] = []
  const handle = async (text: string) => {
    seen.push(text)
    return '1'
  }
  const life = {
    isEnded: false,
    parts: {
      wall: {
        backlogBytes: 0,
        send: (_kind: number, text: string) => answers.push(JSON.parse(text)),
      },
    },
    egressPath: { fetch: handle },
    io: { call: (_name: string, text: string) => handle(text) },
    controls: { capabilities: ['echo'] },
  }
  const egress = { folders: { answer: handle } }
  const calls = new GuestCalls(life as unknown as GuestLife, egress as unknown as RealmEgress)
  const call = async (name: string, args: string) => {
    await calls.answer(Buffer.from(`${JSON.stringify({ id: 1, name })}\n${args}`))
    return answers.at(-1)
  }
  return { call, seen }
}

const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels)

test('Attack: arguments of a call that are nested deeper than a result reach no parser of the server', async () => {
  const { call, seen } = callsOf()
  for (const name of ['echo', 'mayfly.fetch', 'mayfly.files'])
    for (const args of [nested(taggedDepthMax + 1), nested(1_000_000), '{"a":'.repeat(100_000)])
      assert.match((await call(name, args))?.error ?? '', /nested deeper than 1536 levels/, name)
  assert.deepEqual(seen, [])
  for (const name of ['echo', 'mayfly.fetch', 'mayfly.files'])
    assert.deepEqual(await call(name, nested(taggedDepthMax)), { id: 1, text: '1' }, name)
  assert.equal(seen.length, 3)
})
