import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { createContext, runInContext } from 'node:vm'
import { publishedClient } from '../fixtures/page-of-a-site.ts'
import { openDoor, tokenOf, type TestDoor } from './http-door.ts'

const client = join(import.meta.dirname, '..', '..', 'src', 'web', 'client', 'mayfly.js')

/** Environment of the client in a page: its token, and a fetch with the headers that a browser sends. */
async function pageOf(
  door: TestDoor,
  token: string,
  log: (...values: unknown[]) => void = () => undefined,
) {
  const origin = door.gateway.staticUrl
  const page = createContext({
    console: { log },
    document: { querySelector: () => (token === '' ? null : { content: token }) },
    fetch: (path: string, init: RequestInit = {}) =>
      fetch(origin + path, {
        ...init,
        headers: { ...(init.headers as object), origin, referer: `${origin}/` },
      }),
  })
  runInContext(await readFile(client, 'utf8'), page)
  return page
}

test('S0-19: the published client-side code runs unchanged and gets its results', async () => {
  await using door = await openDoor()
  const logged = Promise.withResolvers<unknown[]>()
  const page = await pageOf(door, await tokenOf(door), (...values) => logged.resolve(values))
  runInContext(`${publishedClient}; requestActiveContent('/mayfly.js')`, page)
  const [label, data] = await logged.promise
  assert.equal(label, 'Active content results:')
  assert.equal((data as { status: string }).status, 'ok')
  assert.equal(door.jobs[0]?.asked.code, await readFile(client, 'utf8'))
})

test("The client's own requestActiveContent resolves with the outcome, and takes a language and an input", async () => {
  await using door = await openDoor()
  const page = await pageOf(door, await tokenOf(door))
  const call = `requestActiveContent('/mayfly.js', { language: 'ts', input: [1] })`
  const outcome = (await runInContext(call, page)) as { result: unknown }
  assert.deepEqual(outcome.result, { echo: [1] })
  assert.equal(door.jobs[0]?.asked.language, 'ts')
})

test('Content that cannot be fetched and a page without a token throw an error with the reason', async () => {
  await using door = await openDoor()
  const page = await pageOf(door, await tokenOf(door))
  await assert.rejects(
    runInContext(`requestActiveContent('/nope.js')`, page) as Promise<unknown>,
    /"\/nope.js": 404/,
  )
  const bare = await pageOf(door, '')
  assert.throws(() => runInContext('getSessionToken()', bare) as unknown, /no session tokens/)
})
