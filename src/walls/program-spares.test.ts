import assert from 'node:assert/strict'
import { Socket } from 'node:net'
import { suite, test } from 'node:test'
import type { WardenClient } from './client.ts'
import type { Wall } from '../contract/warden.ts'
import { ProgramSpares, spareDiskBytes, usualCalls } from './program-spares.ts'

suite('Parked walls of programs', () => {
  test('get another generation when a wall has a sentinel again after one without', async () => {
    const made: (() => string)[] = []
    const layers = ['sentinel', 'none', 'none', 'sentinel', 'sentinel', 'none', 'sentinel']
    const spares = new ProgramSpares({
      mechanism: 'embedded',
      least: 0,
      most: 1,
      warden: wardenOf(layers),
      warm: ({ madeOf, start }) => {
        made.push(madeOf)
        return {
          take: async () => ({ spare: await start(true, false), pool: 'miss' as const }),
          keep: () => undefined,
          close: () => Promise.resolve(),
        }
      },
    })
    const seen: string[] = []
    while (layers.length > 0) {
      await spares.take({ language: 'node', disk: spareDiskBytes, calls: usualCalls })
      seen.push(made[0]!())
    }
    const changes = seen.map((one, at) => at > 0 && one !== seen[at - 1])
    assert.deepEqual(changes, [false, false, false, true, false, false, true])
  })
})

/** Starts walls in sequence, each with or without a sentinel. */
function wardenOf(layers: string[]): WardenClient {
  let walls = 0
  const start = () => {
    const wall = { id: `w${++walls}`, layers: [layers.shift()], idleBytes: 0 } as unknown as Wall
    const streams = { stdout: new Socket(), stderr: new Socket() }
    return Promise.resolve({ wall, socket: new Socket(), streams })
  }
  return { start, onLost: () => () => undefined, onEnded: () => undefined } as never
}

interface PlayedKind {
  readonly key: string
  readonly image: string | undefined
  readonly most: number
  isClosed: boolean
}

/** Records the kinds of spares, on a warden whose walls have the requested image or that of `imageOf`. */
function imageStand(imageOf = (asked?: string) => asked) {
  const kinds: PlayedKind[] = []
  const killed: string[] = []
  let walls = 0
  const start = (_program: string, { image }: { image?: string }) => {
    const got = imageOf(image)
    const wall = { id: `w${++walls}`, layers: [], idleBytes: 0, ...(got && { image: got }) }
    return Promise.resolve({ wall: wall as unknown as Wall, socket: new Socket() })
  }
  const kill = (id: string) => Promise.resolve(void killed.push(id))
  const warden = { start, kill, onLost: () => () => undefined, onEnded: () => undefined } as never
  const spares = new ProgramSpares({
    mechanism: 'bubblewrap',
    least: 1,
    most: 9,
    warden,
    warm({ key, image, most, start: make }) {
      const kind = { key, image, most, isClosed: false }
      kinds.push(kind)
      return {
        take: async () => ({ spare: await make(false, false), pool: 'hit' as const }),
        keep: () => undefined,
        close: () => Promise.resolve(void (kind.isClosed = true)),
      }
    },
  })
  const take = (image?: string) =>
    spares.take({ language: 'python', disk: spareDiskBytes, calls: usualCalls, image })
  return { spares, kinds, killed, take }
}

suite('Parked walls of images', () => {
  test('are separate kinds by digest, of which the four most recently used are kept', async () => {
    const { kinds, take, spares } = imageStand()
    const images = ['a', 'b', 'c', 'd'].map((one) => one.repeat(64))
    for (const image of [...images, images[0]!, undefined]) await take(image)
    assert.deepEqual(
      kinds.map(({ key, most }) => [key, most]),
      [
        ...images.map((image) => [`bubblewrap/python/sha256:${image}`, 4]),
        ['bubblewrap/python', 9],
      ],
    )
    await take('e'.repeat(64))
    assert.deepEqual(
      kinds.filter(({ isClosed }) => isClosed).map(({ image }) => image),
      [images[1]],
    )
    await spares.close()
    assert.ok(kinds.every(({ isClosed }) => isClosed))
  })

  test('Attack: images whose digests begin alike have spares of their own', async () => {
    const { kinds, take } = imageStand()
    for (const image of ['a', 'b'].map((last) => `${'0'.repeat(63)}${last}`)) {
      const { wall } = await take(image)
      assert.equal(wall.wall.image, image)
    }
    assert.equal(kinds.length, 2)
  })

  test('Attack: a wall with another image than requested is killed and not handed out', async () => {
    for (const other of ['f'.repeat(64), undefined]) {
      const { take, killed } = imageStand(() => other)
      await assert.rejects(take('a'.repeat(64)), { code: 'PROTOCOL' })
      assert.deepEqual(killed, ['w1'])
    }
  })
})
