import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, before, suite, test } from 'node:test'
import { drawn } from '../fixtures/drawn.ts'
import { makePlace, startServer, whenReady, type Server } from './program.ts'

const curlSecondsMax = 20
/** Error codes of an invalid call; NOT_FOUND, for an object that no longer exists, is not among them. */
const wrong =
  /"code":"(?:SYNTAX|INVALID|UNSUPPORTED_MEDIA_TYPE|METHOD_NOT_ALLOWED|UNAUTHENTICATED|FORBIDDEN)"/

suite('Each example of /docs runs unchanged', () => {
  const place = makePlace()
  let server: Server
  let examples: readonly string[] = []

  before(async () => {
    server = await startServer(place)
    await whenReady(server)
    const page = await (await fetch(`${server.active.replace(/\/$/, '')}/docs`)).text()
    examples = [...page.matchAll(/<pre tabindex="0">([^<]*)<\/pre>/g)].map(([, text]) =>
      text!.replace(/&#(\d+);/g, (_, code: string) => String.fromCharCode(Number(code))),
    )
  })
  after(async () => {
    await server?.stop()
    place.remove()
  })

  function run(script: string, id: string): Promise<string> {
    const { promise, resolve } = Promise.withResolvers<string>()
    const env = { ...process.env, MAYFLY_API_KEY: server.apiKey, ID: id, ZONE: 'main' }
    const bounded = script.replace(/^curl -s/, `curl -s --max-time ${curlSecondsMax}`)
    execFile('bash', ['-c', bounded], { env }, (_, stdout) => resolve(stdout))
    return promise
  }

  test('and is not refused as invalid', async () => {
    assert.ok(examples.length > 30)
    const first = JSON.parse(await run(examples[0]!, '')) as { id: string; result: unknown }
    assert.equal(first.result, 42)
    // A stream of threats has no end.
    const others = examples.filter((one) => !one.includes('/stream'))
    for (const example of drawn(others, 'examples'))
      assert.doesNotMatch(await run(example, first.id), wrong, example)
  })
})
