import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { outcomeSchema, type Status } from '../../src/index.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { packed } from '../fixtures/packed.ts'
import { bearer, call, post } from './http-door.ts'
import { documentOf, makePlace, mayfly, startServer, whenReady, type Server } from './program.ts'

/** The real server with all its modules. */
suite('A job over HTTP', () => {
  const place = makePlace()
  let server: Server
  before(async () => {
    server = await startServer(place)
    await whenReady(server)
  })
  after(async () => {
    assert.deepEqual(await server.stop(), { code: 0, left: [] })
    place.remove()
  })

  const executions = () => new URL('/v1/executions', server.active).href
  const send = (job: unknown) => post(executions(), job, bearer(server.apiKey))

  const ends: readonly (readonly [Status, http: number, code: string | undefined, job: object])[] =
    [
      ['ok', 200, undefined, { code: 'return 1' }],
      ['error', 200, 'USER_ERROR', { code: 'throw new Error("x")' }],
      ['error', 200, 'SYNTAX_ERROR', { code: 'return 1 +' }],
      ['timeout', 200, 'TIMEOUT', { code: 'for (;;) {}', limits: { timeout: '200ms' } }],
      [
        'limit',
        200,
        'MEMORY',
        {
          code: 'const a = []; for (;;) a.push(new Array(1e5).fill(1))',
          limits: { memory: '32MB' },
        },
      ],
      [
        'refused',
        200,
        'SCHEMA_MISMATCH',
        { code: 'return 1', output: { schema: { type: 'string' } } },
      ],
      [
        'blocked',
        403,
        'THREAT_DETECTED',
        { code: 'return this.constructor.constructor("return 1")()' },
      ],
      ['blocked', 403, 'TIER_TOO_WEAK', { code: 'return 1', tier: 'isolate', floor: 'process' }],
      ['unavailable', 503, 'UNAVAILABLE', { code: 'return 1', tier: 'userkernel' }],
      ['unavailable', 503, 'UNAVAILABLE', { code: packed, floor: 'microvm' }],
    ]
  for (const [status, http, code, job] of ends)
    test(`${status} ${code ?? ''} is ${http}, and the outcome is complete`, async () => {
      const answer = await send(job)
      assert.equal(answer.status, http, answer.text)
      const outcome = outcomeSchema.parse(http === 200 ? answer.json : answer.json['outcome'])
      assert.deepEqual([outcome.status, outcome.error?.code], [status, code])
      if (http === 200) return
      const { message, details } = answer.json
      assert.match(answer.headers.get('content-type') ?? '', /^application\/problem\+json/)
      assert.deepEqual([answer.json['code'], typeof message], [code, 'string'])
      assert.ok(details)
    })

  test('A job with unknown fields is 422 with their paths, and leaves no line in the record', async () => {
    const before = await admitted()
    const { status, json } = await send({ code: 'return 1', limits: { timeuot: 1 }, speed: 9 })
    assert.equal(status, 422)
    assert.match(
      JSON.stringify(json['details']),
      /limits\.timeuot[^]*speed|speed[^]*limits\.timeuot/,
    )
    assert.equal(await admitted(), before)
  })

  test('The page’s token runs active content on either endpoint', async () => {
    const page = await call(server.static)
    const [, sessionToken] = /<meta name="mayfly-session" content="([^"]+)">/.exec(page.text) ?? []
    const body = { content: 'return input * 2', sessionToken, input: 21 }
    const origin = new URL(server.static).origin
    for (const base of [server.static, server.active]) {
      const { status, json } = await post(new URL('/active-content', base).href, body, { origin })
      assert.deepEqual([status, json['result']], [200, 42])
    }
  })

  test('Jobs over HTTP and jobs by the command line are in one record', async () => {
    const { json } = await send({ code: 'return 1' })
    const ran = documentOf(await mayfly(place, ['run', '-', '--json'], { stdin: 'return 2' }))
    assert.ok(ran['evidence'].audit > json['evidence'].audit)
    const verified = await mayfly(place, ['audit', 'verify', '--json'])
    assert.equal(documentOf(verified)['ok'], true)
  })

  test('GET /v1/audit reads the lines of "audit list", those of a job as soon as it is answered', async () => {
    const { json } = await send({ code: 'return 1' })
    const { id, evidence } = json as { id: string; evidence: { audit: number; hash: string } }
    const page = await call(new URL(`/v1/audit?run=${id}`, server.active).href, {
      headers: bearer(server.apiKey),
    })
    const items = page.json['items'] as { seq: number; hash: string; kind: string }[]
    const ended = items.find(({ kind }) => kind === 'ended')
    assert.deepEqual([ended?.seq, ended?.hash], [evidence.audit, evidence.hash])
    const listed = await mayfly(place, ['audit', 'list', '--run', id, '--json'])
    assert.deepEqual(items.toReversed(), JSON.parse(listed.stdout))
  })

  async function admitted(): Promise<number> {
    const lines = documentOf(
      await mayfly(place, ['audit', 'list', '--limit', '100000', '--json']),
    ) as unknown
    return (lines as { kind: string }[]).filter(({ kind }) => kind === 'admitted').length
  }
})

suite('Starting a server', () => {
  test('The API key is shown on the first start only, and stays valid', async () => {
    await inPlace(async (place) => {
      const first = await startServer(place)
      await first.stop()
      await using second = await startServer(place)
      assert.equal(second.apiKey, null)
      const providers = new URL('/v1/providers', second.active).href
      assert.equal((await call(providers, { headers: bearer(first.apiKey) })).status, 200)
      assert.equal((await call(providers)).status, 401)
      await second.stop()
    })
  })

  test('MAYFLY_ADMIN_KEY sets the first key, and then none is shown; that of a client is taken without it, and said', async () => {
    const [own, client] = [`mfy_${'k'.repeat(40)}`, `mfy_${'c'.repeat(40)}`]
    for (const env of [
      { MAYFLY_ADMIN_KEY: own, MAYFLY_API_KEY: client },
      { MAYFLY_API_KEY: client },
    ])
      await inPlace(async (place) => {
        await using server = await startServer(place, [], env)
        assert.equal(server.apiKey, null)
        const providers = new URL('/v1/providers', server.active).href
        const isOwn = 'MAYFLY_ADMIN_KEY' in env
        for (const [key, status] of [
          [own, isOwn ? 200 : 401],
          [client, isOwn ? 401 : 200],
        ] as const)
          assert.equal((await call(providers, { headers: bearer(key) })).status, status)
        await server.stop()
        assert.equal(/MAYFLY_API_KEY is admin of this server/.test(server.stderr()), !isOwn)
      })
  })

  test('A first key that is too short ends the start with its variable', async () => {
    await inPlace(async (place) => {
      const env = { MAYFLY_ADMIN_KEY: 'short' }
      const ran = await mayfly(place, ['serve', '--port', '0'], { env })
      assert.equal(ran.code, 2)
      assert.match(
        ran.stderr,
        /Cannot use MAYFLY_ADMIN_KEY as the first API key\n +A key has 32 to/,
      )
    })
  })

  test('A port in use ends the start with exit code 2 and a hint to select another', async () => {
    await inPlace(async (place) => {
      await using server = await startServer(place)
      const port = new URL(server.static).port
      const ran = await mayfly(place, ['serve', '--port', port])
      assert.equal(ran.code, 2)
      assert.match(ran.stderr, /Cannot listen on[^]*--port/)
      await server.stop()
    })
  })

  test('Off loopback it refuses to start without TLS', async () => {
    await inPlace(async (place) => {
      const ran = await mayfly(place, ['serve', '--host', '0.0.0.0', '--port', '0'])
      assert.equal(ran.code, 2)
      assert.match(ran.stderr, /without TLS/)
    })
  })

  test('A state folder that cannot be created ends the start with its path', async () => {
    await inPlace(async (place) => {
      const ran = await mayfly(place, ['serve', '--state', '/proc/nowhere/mayfly'])
      assert.equal(ran.code, 9)
      assert.match(ran.stderr, /"\/proc\/nowhere\/mayfly"[^]*--state/)
    })
  })

  test('An invalid configuration ends the start with its position', async () => {
    await inPlace(async (place) => {
      writeFileSync(join(place.cwd, 'mayfly.toml'), '[server]\nprot = 1\n')
      const ran = await mayfly(place, ['serve'])
      assert.equal(ran.code, 2)
      assert.match(
        ran.stderr,
        /mayfly\.toml:2:1: server\.prot.*did you mean "port"|mayfly\.toml:2:1/,
      )
    })
  })

  test('The path of the development CA is printed, unless --quiet is set', async () => {
    await inPlace(async (place) => {
      for (const quiet of [[], ['--quiet']]) {
        const server = await startServer(place, ['--tls-dev', ...quiet])
        await server.stop()
        assert.equal(server.stderr().includes('Development authority: '), quiet.length === 0)
      }
    })
  })

  test('A wall that the configuration names and that is not available is a warning with its cause and fix', async () => {
    await inPlace(async (place) => {
      const config = join(place.cwd, 'own.toml')
      writeFileSync(config, 'default_provider = "no-such"\n')
      const server = await startServer(place, ['--config', config])
      const deadline = performance.now() + 60_000
      const warned =
        /Cannot use wall "no-such", which "default_provider" names: There is no provider[^\n]*\n +"mayfly providers"/
      while (!warned.test(server.stderr()) && performance.now() < deadline) await sleep(20)
      await server.stop()
      assert.match(server.stderr(), warned)
    })
  })

  test('Handlers in pages of a site, which their policy refuses, are named at the start', async () => {
    await inPlace(async (place) => {
      const site = join(place.cwd, 'site')
      mkdirSync(join(site, 'below'), { recursive: true })
      writeFileSync(
        join(site, 'index.html'),
        '<script>a()</script>\n<button onclick="a()">A</button>',
      )
      writeFileSync(join(site, 'below', 'two.html'), '<body onload="b()">')
      await using server = await startServer(place, [site])
      const deadline = performance.now() + 20_000
      while (!server.stderr().includes('content policy') && performance.now() < deadline)
        await sleep(20)
      assert.match(server.stderr(), /content policy[^]*^ +index\.html:2 +"onclick" of <button>$/m)
      assert.match(server.stderr(), /^ +below\/two\.html:1 +"onload" of <body>$/m)
      await server.stop()
    })
  })

  test('The log has a line for start, a refused key with its client, and the stop', async () => {
    await inPlace(async (place) => {
      await using server = await startServer(place)
      const url = new URL('/v1/providers', server.active).href
      await call(url, { headers: bearer(server.apiKey) })
      assert.equal((await call(url)).status, 401)
      await server.stop()
      const lines = server.stderr().split('\n')
      const logged = lines.filter((line) => /^\d{4}-\d\d-\d\dT\S+Z (info|warn|error) /.test(line))
      assert.deepEqual(
        logged.map((line) => line.split(/ +/)[2]),
        ['server/started', 'door/answered', 'server/draining', 'server/stopped'],
      )
      assert.match(
        logged[1]!,
        /route="\/v1\/providers" status=401 .*code="UNAUTHENTICATED" client="127/,
      )
    })
  })

  test('A log as JSON has nothing else on stderr, not even the first key, and an access log each request', async () => {
    await inPlace(async (place) => {
      await using server = await startServer(place, ['--log-format', 'json', '--access-log'])
      const url = new URL('/v1/providers', server.active).href
      await call(url, { headers: bearer(server.apiKey) })
      await server.stop()
      const lines = server.stderr().trim().split('\n')
      const read = lines.map((line) => JSON.parse(line) as Record<string, any>)
      assert.ok(read.every(({ time }) => time.endsWith('Z')))
      const asked = read.filter(({ point }) => point === 'door/answered')
      assert.deepEqual(
        asked.map(({ fields }) => [fields.route, fields.status]),
        [['/v1/providers', 200]],
      )
    })
  })

  test('Text output has the addresses, the key, and each wall with its layers', async () => {
    await inPlace(async (place) => {
      const stopAtWalls = (child: { stderr: NodeJS.ReadableStream | null; kill(): void }) =>
        child.stderr?.on('data', (chunk: Buffer) => {
          if (String(chunk).includes('isolated-vm')) child.kill()
        })
      const ran = await mayfly(place, ['serve', '--port', '0'], { started: stopAtWalls })
      assert.equal(ran.code, 0, ran.stderr)
      assert.equal(ran.stdout, '')
      assert.match(ran.stderr, /Page +http:[^]*API +http:[^]*API key +mfy_/)
      const again = await mayfly(place, ['serve', '--port', '0'], { started: stopAtWalls })
      assert.match(again.stderr, /^ +API key +made earlier.+"mayfly access create"/m)
      assert.match(ran.stderr, /✓ +isolated-vm +isolate +strength 1 +.*seccomp/)
    })
  })
})

async function inPlace(work: (place: ReturnType<typeof makePlace>) => Promise<void>) {
  const place = makePlace()
  try {
    await work(place)
  } finally {
    place.remove()
  }
}
