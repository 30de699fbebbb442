import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { createShelf } from './shelf.ts'

/** A shelf over a warden that is played: a start lasts until the test finishes it. */
function stand({ keepReady = true } = {}) {
  const starts: { readonly spares: number; finish(): void }[] = []
  let count = 0
  const warden = {
    start(_program: string, { spares }: { readonly spares: number }) {
      const { promise, resolve } = Promise.withResolvers<unknown>()
      const wall = { id: `w${count++}`, layers: [], idleBytes: 0, took: 1 }
      const socket = Object.assign(new Duplex({ read() {}, write: (_1, _2, done) => done() }), {
        ref: () => undefined,
        unref: () => undefined,
      })
      starts.push({ spares, finish: () => resolve({ wall, socket }) })
      return promise
    },
    kill: () => Promise.resolve(),
    onLost: () => () => undefined,
    onEnded: () => undefined,
  }
  const shelf = createShelf({
    program: 'isolated-vm',
    warden: warden as never,
    voice: { say: () => undefined },
    spares: 8,
    spareMiB: 128,
    wallsMax: 100,
    keepReady,
  })
  return { shelf, starts }
}

test('Jobs that come at once get starts of their own; only the first waits for one that has begun', async () => {
  const { shelf, starts } = stand()
  void shelf.ready()
  const taken = Promise.all(['a', 'a', 'a'].map((tenant) => shelf.take(tenant)))
  assert.deepEqual(
    starts.map(({ spares }) => spares),
    [8, 1, 1],
  )
  for (const { finish } of starts.slice(0, 2)) finish()
  await turn()
  assert.equal(starts.length, 3, 'none is kept ready while a job waits')
  starts[2]!.finish()
  const walls = (await taken).map(({ wall }) => wall.wall.id)
  assert.equal(new Set(walls).size, 3)
  await turn()
  assert.deepEqual(
    starts.map(({ spares }) => spares),
    [8, 1, 1, 8],
  )
  await shelf.close()
})

test('A worker that was started for a job that waited is taken after the others', async () => {
  const { shelf, starts } = stand({ keepReady: false })
  const ready = shelf.ready()
  starts[0]!.finish()
  await ready
  const stocked = await shelf.take('a')
  const waiting = shelf.take('a')
  starts[1]!.finish()
  const bare = await waiting
  assert.deepEqual([stocked.pool, bare.pool], ['hit', 'miss'])
  shelf.give(stocked.wall)
  shelf.give(bare.wall)
  assert.equal((await shelf.take('a')).wall, stocked.wall)
  await shelf.close()
})
