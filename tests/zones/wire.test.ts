import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { openChannels } from '../../guest/zone/wire.js'

interface Wire {
  ask(to: string, args: readonly unknown[]): Promise<unknown>
  serve(callee: (...args: any[]) => unknown): Promise<null>
}
type Call = (name: string, args: any) => Promise<any>
const wireOf = openChannels as (call: Call) => Wire

/** Sends arguments as JSON text to a serving function and returns its result. */
async function through(callee: (...args: any[]) => unknown, args: readonly unknown[]) {
  const replied = Promise.withResolvers<any>()
  let asked = 0
  const server: { call?: Call } = {}
  const sent = Promise.withResolvers<any>()
  server.call = async (_name, said) => {
    if (said.reply) return replied.resolve(said.reply)
    if (asked++ > 0) return { over: true }
    return JSON.parse(JSON.stringify({ id: 1, args: (await sent.promise).args }))
  }
  const served = wireOf(server.call).serve(callee)
  const client = wireOf(async (_name, said) => {
    sent.resolve(said)
    return JSON.parse(JSON.stringify(await replied.promise))
  })
  try {
    return await client.ask('f', args)
  } finally {
    sent.resolve({ args: ['a', []] })
    await served
  }
}

const thenName = ['th', 'en'].join('')

/** Raw answer of a hostile zone. */
const answered = (value: unknown) =>
  wireOf(async () => JSON.parse(JSON.stringify({ value }))).ask('f', [])

test('Plain data of every shape is copied by value', async () => {
  const data = fc.anything({ withBigInt: true, withDate: true, withMap: true, withSet: true })
  await fc.assert(
    fc.asyncProperty(data, async (value) => {
      assert.deepEqual(await through((one) => one, [value]), value)
    }),
    { numRuns: 300 },
  )
  const [a, b] = (await through((x) => [x, x], [{}])) as [object, object]
  assert.equal(a, b)
  const list: unknown[] = []
  list.push(list)
  const back = (await through((x) => x, [list])) as unknown[]
  assert.equal(back[0], back)
  assert.notEqual(back, list)
})

test('Functions, promises, accessors, classes, symbols and trapping proxies are never sent', async () => {
  const values = [
    () => 1,
    Promise.resolve(1),
    { [thenName]: () => 1 },
    new Error('an object of a class'),
    Object.defineProperty({}, 'a', { get: () => 1, enumerable: true }),
    Object.defineProperty({}, 'a', { value: 1 }),
    { [Symbol('a')]: 1 },
    Symbol('a'),
    // oxlint-disable-next-line no-sparse-arrays
    [1, , 2],
    Object.assign([1], { more: 1 }),
    Object.assign(new Date(0), { more: 1 }),
    /a/,
    new Proxy(() => 1, {}),
  ]
  for (const value of values) {
    await assert.rejects(wireOf(async () => ({ value: null })).ask('f', [value]), /not plain data/)
  }
})

test('Hostile answers pollute no prototype: keys stay plain keys', async () => {
  const made = (await answered(['o', [['__proto__', ['o', [['polluted', true]]]]]])) as object
  assert.equal(Object.getPrototypeOf(made), Object.prototype)
  assert.ok(Object.hasOwn(made, '__proto__'))
  assert.equal(({} as { polluted?: boolean }).polluted, undefined)
  const inherited = await answered(['o', [['constructor', ['o', [['prototype', 1]]]]]])
  assert.deepEqual(Object.keys(inherited as object), ['constructor'])
})

test('Hostile answers are no thenables, and decoding costs no more than their size', async () => {
  const thenable = await answered(['o', [['then', 'text']]])
  assert.deepEqual(thenable, { [thenName]: 'text' })
  for (const inner of [{ length: 1e9 }, 'a'.repeat(10), 5, null, true])
    for (const kind of ['a', 'o', 's', 'm', 'z'])
      await assert.rejects(answered([kind, inner]), TypeError)
  assert.equal(await answered(['r', 7]), undefined)
  await assert.rejects(answered(5).then(() => answered({})))
})

test('Errors keep their kind and text, and nothing else', async () => {
  const caught = (callee: () => unknown) => through(callee, []).catch((error: unknown) => error)
  const type = (await caught(() => {
    throw Object.assign(new RangeError('too much'), { secret: 1 })
  })) as RangeError & { secret?: number }
  assert.ok(type instanceof RangeError)
  assert.deepEqual([type.message, type.secret], ['too much', undefined])
  class Own extends Error {
    override name = 'constructor'
  }
  const own = await caught(() => {
    throw new Own('mine')
  })
  assert.equal(Object.getPrototypeOf(own), Error.prototype)
  assert.deepEqual(
    await caught(() => {
      // oxlint-disable-next-line no-throw-literal, only-throw-error
      throw { plain: [1] }
    }),
    { plain: [1] },
  )
})

test('Every call is answered, also if its answer is too large or its error cannot be sent', async () => {
  const long = 'x'.repeat(100_000)
  const thrown = await through(() => {
    throw Object.assign(new RangeError(long), { name: long })
  }, []).catch((error: unknown) => error as Error)
  assert.equal((thrown as Error).message.length, 65_536)

  const replies: any[] = []
  let asked = 0
  await wireOf(async (_name, said) => {
    if (said.next) return asked++ > 0 ? { over: true } : { id: 7, args: ['a', []] }
    replies.push(said.reply)
    if (replies.length === 1) throw new RangeError('the arguments are larger than 4 MiB')
    return null
  }).serve(() => 'a'.repeat(10))
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(replies.at(-1), {
    id: 7,
    error: {
      isError: true,
      name: 'RangeError',
      message: 'The reply exceeds the limits of the channel',
    },
  })
})
