import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { after, before, suite, test } from 'node:test'
import { configuredNetworkOf, type NetworkInput, networkOf } from '../../src/contract/network.ts'
import { Ledger } from '../../src/egress/ledger.ts'
import { upstreamFrom } from '../../src/egress/upstream.ts'
import type { Event } from '../../src/contract/event.ts'
import { openCompanyProxy, type CompanyProxy, type ProxyParts } from '../fixtures/company-proxy.ts'
import {
  brokeredFetch,
  openStand,
  openWorld,
  emitterInto,
  type Stand,
  type World,
} from '../fixtures/egress.ts'

const secret = 'robot:pass-word-of-the-proxy'
let world: World
before(async () => {
  world = await openWorld()
})
after(() => world[Symbol.asyncDispose]())

interface Opened extends AsyncDisposable {
  readonly company: CompanyProxy
  readonly stand: Stand
}

/** Egress proxy behind a corporate upstream proxy; names are not resolved here. */
async function open(
  network: NetworkInput,
  parts: ProxyParts & { direct?: readonly string[]; env?: NodeJS.ProcessEnv } = {},
): Promise<Opened> {
  const company = await openCompanyProxy(parts)
  const upstream = upstreamOf(company, parts)
  const resolver = () => Promise.reject(new Error('a name was resolved here'))
  const stand = await openStand(world, network, {
    resolver,
    upstream,
    authority: world.authority,
  })
  return {
    company,
    stand,
    async [Symbol.asyncDispose]() {
      await stand[Symbol.asyncDispose]()
      await company[Symbol.asyncDispose]()
    },
  }
}

function upstreamOf(
  { port }: CompanyProxy,
  { direct = [], credentials }: ProxyParts & { direct?: readonly string[] },
) {
  const asked = {
    proxy: `http://127.0.0.1:${port}`,
    no_proxy: direct,
    ...(credentials !== undefined && { proxy_credentials_env: 'CORP_PROXY' }),
  }
  return upstreamFrom(asked, { CORP_PROXY: credentials })
}

const get = (url: string, more = '') =>
  `GET ${url} HTTP/1.1\r\nHost: ${new URL(url).host}\r\n${more}Connection: close\r\n\r\n`

async function connected(port: number, place: string): Promise<{ socket: Socket; said: string }> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  socket.write(`CONNECT ${place} HTTP/1.1\r\nHost: ${place}\r\n\r\n`)
  const [said] = (await Promise.race([
    once(socket, 'data'),
    once(socket, 'close').then(() => ['']),
  ])) as [Buffer | string]
  return { socket, said: String(said) }
}

suite('An upstream proxy', () => {
  test('takes plain requests in absolute form and TLS by CONNECT, with its credentials', async () => {
    const { http, https } = world.ports
    await using all = await open(
      { allow: [`http://a.example:${http}`, `https://b.example:${https}`] },
      { credentials: secret },
    )
    const { company, stand } = all
    const said = await stand.say(get(`http://a.example:${http}/one?q=1`))
    assert.match(said, /^HTTP\/1.1 200 [^]*GET \/one\?q=1/)
    const { socket } = await connected(stand.port, `b.example:${https}`)
    const secure = connectTls({ socket, servername: 'b.example', ca: world.authority.pem })
    await once(secure, 'secureConnect')
    secure.write(get(`https://b.example:${https}/two`).replace(`https://b.example:${https}`, ''))
    let answer = ''
    secure.on('data', (chunk: Buffer) => (answer += String(chunk)))
    await once(secure, 'close')
    assert.match(answer, /GET \/two/)
    assert.deepEqual(
      company.asked.map(({ line }) => line),
      [`GET http://a.example:${http}/one?q=1 HTTP/1.1`, `CONNECT b.example:${https} HTTP/1.1`],
    )
    const expected = `Basic ${Buffer.from(secret).toString('base64')}`
    assert.ok(company.asked.every(({ authorization }) => authorization === expected))
    // Neither the server nor any event received the credentials.
    const heard = world.heard.filter(({ line }) => /\/(one|two)/.test(line))
    assert.equal(heard.length, 2)
    for (const { headers } of heard) assert.equal(headers['proxy-authorization'], undefined)
    assert.ok(!JSON.stringify(stand.events).includes('pass-word'))
    assert.deepEqual(
      stand.proxy.attempts.map(({ verdict }) => verdict),
      ['allowed', 'allowed'],
    )
  })

  test('is not asked for hosts closed by rules, addresses or names', async () => {
    await using all = await open('open')
    const { company, stand } = all
    for (const url of [
      'http://10.0.0.5/',
      'http://127.0.0.1:1/',
      'http://169.254.169.254/latest/',
      'http://[fd00:ec2::254]/',
      'http://localhost/',
      'http://metadata.google.internal/',
    ])
      assert.match(await stand.say(get(url)), /^HTTP\/1.1 403 /, url)
    for (const place of ['10.0.0.5:443', '[::1]:443', '169.254.169.254:80'])
      assert.match((await connected(stand.port, place)).said, /^HTTP\/1.1 403 /, place)
    await using narrow = await open({ allow: ['a.example'] })
    assert.match(await narrow.stand.say(get('http://b.example/')), /^HTTP\/1.1 403 /)
    assert.deepEqual([...company.asked, ...narrow.company.asked], [])
  })

  test('is asked for a private address that a rule permits, and never for this machine', async () => {
    const { http } = world.ports
    const rule = (host: string) => ({ host, private: true })
    const asked = configuredNetworkOf({
      allow: [rule('http://10.255.0.5:80'), rule(`http://127.0.0.1:${http}`)],
    })
    const company = await openCompanyProxy({
      answer: (_, socket) => (socket.end('HTTP/1.1 204 No Content\r\n\r\n'), true),
    })
    await using stand = await openStand(world, 'none', {
      network: () => ({ allow: asked.allow, deny: [] }),
      upstream: upstreamOf(company, {}),
      privateHosts: asked.private ?? [],
    })
    assert.match(await stand.say(get('http://10.255.0.5/')), /^HTTP\/1.1 204 /)
    assert.match(await stand.say(get(`http://127.0.0.1:${http}/direct`)), /^HTTP\/1.1 200 /)
    assert.deepEqual(
      company.asked.map(({ line }) => line),
      ['GET http://10.255.0.5/ HTTP/1.1'],
    )
    await company[Symbol.asyncDispose]()
  })

  test('is bypassed for configured exceptions, which are resolved and checked here', async () => {
    const { http } = world.ports
    const company = await openCompanyProxy()
    await using stand = await openStand(world, 'open', {
      upstream: upstreamOf(company, { direct: ['*.example'] }),
    })
    assert.match(await stand.say(get(`http://a.example:${http}/past`)), /^HTTP\/1.1 200 /)
    assert.deepEqual(company.asked, [])
    await company[Symbol.asyncDispose]()
  })

  const refusals: readonly (readonly [string, string | undefined, RegExp])[] = [
    ['garbage', 'SSH-2.0-OpenSSH_9.2\r\n\r\n', /502 /],
    ['nothing', '', /502 /],
    ['an invalid status', 'HTTP/1.1 20x OK\r\n\r\n', /502 /],
    ['a head without an end', `HTTP/1.1 200 ${'x'.repeat(80_000)}`, /502 |431 /],
    ['its own ban', 'HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n', /403 /],
    ['a request for credentials', undefined, /502 [^]*asks for credentials/],
  ]
  for (const [what, bytes, expected] of refusals)
    test(`answering with ${what} opens no tunnel, and its answer is hidden from the guest`, async () => {
      const parts: ProxyParts =
        bytes === undefined
          ? { answer: challenge }
          : { answer: (_, socket) => (socket.end(bytes), true) }
      await using all = await open({ allow: ['a.example'] }, parts)
      const { said } = await connected(all.stand.port, 'a.example:443')
      assert.match(said, new RegExp(`^HTTP/1.1 (?:${expected.source})`))
      assert.ok(!/corp|realm|Proxy-Authenticate/i.test(said), said)
    })

  test('with credentials of its own, passes an archive with a content coding', async () => {
    const archive = 'HTTP/1.1 200 OK\r\nContent-Encoding: x-gzip\r\n\r\npacked'
    const parts: ProxyParts = {
      credentials: secret,
      answer: (_, socket) => (socket.end(archive), true),
    }
    await using all = await open({ allow: ['http://a.example'] }, parts)
    assert.ok((await all.stand.say(get('http://a.example/a.tgz'))).endsWith('packed'))
  })

  test('asking for credentials is hidden from the guest', async () => {
    await using all = await open({ allow: ['http://a.example'] }, { answer: challenge })
    const said = await all.stand.say(get('http://a.example/'))
    assert.match(said, /^HTTP\/1.1 502 [^]*asks for credentials/)
    assert.ok(!/realm/.test(said))
    const told = all.stand.events.map(({ fields }) => JSON.stringify(fields)).join()
    assert.ok(!told.includes('pass-word'))
  })

  test('echoing its credentials is withheld from the guest', async () => {
    const echo: NonNullable<ProxyParts['answer']> = (_, socket, head) => {
      socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${head.length}\r\n\r\n${head}`)
      return true
    }
    const parts = { credentials: secret, answer: echo }
    await using all = await open({ allow: ['http://a.example', 'TRACE http://a.example'] }, parts)
    const said = await all.stand.say(get('http://a.example/', 'Max-Forwards: 0\r\n'))
    const traced = await all.stand.say(get('http://a.example/').replace('GET', 'TRACE'))
    for (const text of [said, traced]) {
      assert.ok(!text.includes(Buffer.from(secret).toString('base64')), text)
      assert.ok(!text.includes('pass-word'), text)
    }
    assert.ok(all.company.heads.every((head) => !/max-forwards/i.test(head)))
    assert.match(traced, /^HTTP\/1.1 403 /)
  })

  test('carries brokered requests too, with end-to-end TLS and redirects decided again', async () => {
    const { https } = world.ports
    const company = await openCompanyProxy({ credentials: secret })
    const events: Event[] = []
    const emitter = emitterInto(events)
    const ledger = new Ledger({ sentMax: 2 ** 20, receivedMax: 2 ** 20 }, { emitter, run: null })
    const network = networkOf({ allow: [`https://b.example:${https}`, 'http://c.example'] })
    const terms = {
      network: () => network,
      ledger,
      upstream: upstreamOf(company, { credentials: secret }),
      trust: [world.authority.pem],
    }
    const ask = async (url: string) =>
      JSON.parse(
        await brokeredFetch(
          JSON.stringify({ url, method: 'GET', headers: [], body: null, redirect: 'follow' }),
          terms,
        ),
      ) as { status?: number; error?: { code: string } }
    assert.equal((await ask(`https://b.example:${https}/brokered`)).status, 200)
    assert.equal((await ask('https://d.example/')).error?.code, 'EGRESS_DENIED')
    assert.deepEqual(
      company.asked.map(({ line }) => line),
      [`CONNECT b.example:${https} HTTP/1.1`],
    )
    assert.ok(!JSON.stringify(events).includes('pass-word'))
    await company[Symbol.asyncDispose]()
  })

  test("adds no bytes to the run's counts, and the budget still holds", async () => {
    const { https } = world.ports
    const company = await openCompanyProxy({ credentials: secret })
    await using stand = await openStand(
      world,
      { allow: [`*://b.example:${https}`] },
      {
        upstream: upstreamOf(company, { credentials: secret }),
        budget: { sentMax: 100, receivedMax: 2 ** 20 },
      },
    )
    const { socket } = await connected(stand.port, `b.example:${https}`)
    assert.equal(stand.proxy.attempts[0]?.sent, 0)
    socket.write(Buffer.alloc(101, 1))
    await once(socket, 'close')
    assert.match(stand.proxy.attempts[0]?.because ?? '', /used up/)
    assert.equal(stand.proxy.attempts[0]?.sent, 0)
    await company[Symbol.asyncDispose]()
  })
})

const challenge: NonNullable<ProxyParts['answer']> = (_, socket) => {
  socket.end(
    'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="corp"\r\nContent-Length: 0\r\n\r\n',
  )
  return true
}

test('Missing or malformed upstream credentials fail the start, and are absent from the error', () => {
  const asked = { proxy: 'http://a.example:1', proxy_credentials_env: 'P', no_proxy: [] }
  for (const value of [undefined, '', 'no-colon', 'a:b\r\nX: y'])
    assert.throws(
      () => upstreamFrom(asked, { P: value }),
      (thrown: Error) => !value || !thrown.message.includes(value),
    )
})
