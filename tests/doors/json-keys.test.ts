import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { after, before, suite } from 'node:test'
import { parseJson } from '../../src/lib/parse-json.ts'
import { test } from '../fixtures/drawn.ts'
import { isMissing } from '../walls/process-stands.ts'
import { makePlace, mayfly, startServer, whenReady, type Server } from './program.ts'

const place = makePlace()
let server: Server

before(async () => {
  server = await startServer(place)
  await whenReady(server)
})
after(async () => {
  await server.stop()
  place.remove()
})

/** Sends and receives JSON as text: the JSON parser of this process may misread keys too. */
async function run(body: string): Promise<string> {
  const response = await fetch(new URL('/v1/executions', server.active), {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${server.apiKey}` },
    body,
  })
  return response.text()
}

/** Returns the first keys of its input as numbers, which no JSON parser misreads, and the whole input. */
const code = JSON.stringify(
  `const last = [input].flat().at(-1)
  return { units: Object.keys(last).map((key) => key.charCodeAt(0)), input }`,
)
const poison = String.raw`{"h":[],"\\":0}`
const clean = String.raw`{"h":1,"\"":2}`

/** Whether V8 misreads the key after that input, in a process of its own; a fixed one would pass without `parseJson`. */
function fault(): string {
  const script =
    'JSON.parse(process.argv[1]); console.log(Object.keys(JSON.parse(process.argv[2]))[1])'
  const { stdout } = spawnSync(process.execPath, ['-e', script, poison, clean], {
    encoding: 'utf8',
  })
  assert.match(stdout, /^["\\]\n$/)
  return `V8 ${process.versions.v8} ${stdout === '"\n' ? 'reads such a key right by itself' : 'misreads such a key'}`
}

suite('JSON keys arrive unchanged after a request that tries to poison the parser', () => {
  for (const provider of ['isolated-vm', 'bubblewrap', 'embedded'] as const)
    test(`S0-16: through ${provider}`, async (t) => {
      if (provider !== 'isolated-vm' && isMissing(t, { jailKind: provider })) return
      t.diagnostic(fault())
      const body = (input: string) => `{"code":${code},"input":${input},"provider":"${provider}"}`
      for (const first of [poison, `[${poison},${poison}]`, `[[],${poison}]`]) {
        assert.match(await run(body(first)), /"status":"ok"/)
        for (const input of [clean, `[${poison},${clean}]`]) {
          const text = await run(body(input))
          const said = `"result":{"units":[104,34],"input":${input}}`
          assert.ok(text.includes(said), `${said} is not in ${text}`)
        }
      }
    })

  test('S0-16: the history has the same keys, and the record verifies', async (t) => {
    t.diagnostic(fault())
    assert.match(await run(`{"code":"return input","input":${poison}}`), /"status":"ok"/)
    const { id } = parseJson(await run(`{"code":"return input","input":${clean}}`)) as {
      id: string
    }
    const kept = await fetch(new URL(`/v1/executions/${id}`, server.active), {
      headers: { authorization: `Bearer ${server.apiKey}` },
    })
    assert.ok((await kept.text()).includes(`"result":${clean}`))
    const verified = await mayfly(place, ['audit', 'verify', '--state', join(place.state)])
    assert.equal(verified.code, 0, verified.stderr)
  })
})
