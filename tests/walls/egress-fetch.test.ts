import { openEgress } from '../../src/egress/open-egress.ts'
import { allControls } from '../../src/contract/controls.ts'
import { createServer as createTcp, type AddressInfo } from 'node:net'
import { createServer, type ServerResponse } from 'node:http'
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { createServer as createTls } from 'node:tls'
import assert from 'node:assert/strict'
import { after, before, suite, test, type TestContext } from 'node:test'
import type { Event } from '../../src/contract/event.ts'
import { networkOf, type NetworkInput } from '../../src/contract/network.ts'
import { openFetch, type FetchTerms } from '../../src/egress/fetch.ts'
import { Ledger } from '../../src/egress/ledger.ts'
import { brokeredFetch, openWorld, emitterInto, type World } from '../fixtures/egress.ts'
import { GuestCalls } from '../../src/walls/guest-calls.ts'
import type { RealmEgress } from '../../src/walls/guest-egress.ts'
import type { GuestLife } from '../../src/walls/guest-life.ts'
import { valueOf } from './in-cell.ts'

const secret = 'sk-live-0123456789abcdef'
let world: World
before(async () => {
  world = await openWorld((request, response) => {
    const to = new URL(request.url ?? '/', 'http://a.example').searchParams.get('to')
    if (to) return !!response.writeHead(302, { Location: to, 'X-Hop': '1' }).end()
    if (request.url === '/bytes')
      return !!response.setHeader('X-Two', ['a', 'b']).end(Buffer.from([0, 255, 128]))
    if (request.url === '/large') return !!response.end(Buffer.alloc(300_000, 'x'))
    if (request.url === '/echo-headers') return !!response.end(JSON.stringify(request.headers))
    const key = String(request.headers['x-key'])
    if (request.url === '/repeat-header') return !!response.setHeader('X-Own', key).end()
    if (request.url === '/repeat-status') return !!response.writeHead(200, key).end()
    const coding = /^\/in-([a-z-]+)\/(.*)/.exec(request.url ?? '')
    if (coding) return !!response.setHeader(coding[1]!, coding[2]!).end('body')
    return request.url === '/never'
  })
})
after(() => world[Symbol.asyncDispose]())

const termsFor = (asked: NetworkInput, more: Partial<FetchTerms> = {}) => {
  const events: Event[] = []
  const ledger = new Ledger(
    { sentMax: 2 ** 30, receivedMax: 2 ** 30 },
    { emitter: emitterInto(events), run: 'exec_test' },
  )
  const network = networkOf(asked)
  const terms: FetchTerms = {
    network: () => network,
    ledger,
    resolver: () => Promise.resolve(['127.0.0.1']),
    exceptions: world.exceptions,
    trust: [world.authority.pem],
    ...more,
  }
  return { terms, events, ledger }
}
const request = (url: string, more: object = {}): string =>
  JSON.stringify({ url, method: 'GET', headers: [], body: null, redirect: 'follow', ...more })
const a = (path: string) => `http://a.example:${world.ports.http}${path}`
const b = (path: string) => `http://b.example:${world.ports.http}${path}`
const ask = async (text: string, terms: FetchTerms) => JSON.parse(await brokeredFetch(text, terms))

suite('Brokered requests', () => {
  test('Requests and responses keep their bytes, over http and https', async () => {
    const { terms, ledger, events } = termsFor('open')
    const answer = await ask(request(a('/bytes')), terms)
    assert.deepEqual([answer.status, answer.url, answer.redirected], [200, a('/bytes'), false])
    assert.deepEqual([...Buffer.from(answer.body, 'base64')], [0, 255, 128])
    const posted = { method: 'POST', body: btoa('hi'), headers: [['X-Own', '1']] }
    const secure = await ask(request(`https://a.example:${world.ports.https}/p?q`, posted), terms)
    assert.match(atob(secure.body), /"line":"POST \/p\?q".*"body":"hi"/)
    const closed = events.filter(({ point }) => point === 'seen/connect')
    assert.deepEqual(
      closed.map(({ fields, trust, run }) => [fields['host'], fields['part'], trust, run]),
      ['a.example', 'a.example'].map((host) => [host, 'closed', 'host', 'exec_test']),
    )
    for (const { fields } of closed)
      assert.ok(Number(fields['sent']) > 50, 'its byte count is reported')
    assert.deepEqual(
      ledger.attempts.map(({ verdict }) => verdict),
      ['allowed', 'allowed'],
    )
    assert.ok(ledger.attempts.every(({ sent, received }) => sent > 0 && received > 0))
  })

  test('S4-8: each redirect is decided separately, and credentials do not follow to another host', async () => {
    const { terms, ledger } = termsFor({ allow: [a('')] })
    const denied = await ask(request(a(`/?to=${b('/x')}`)), terms)
    assert.deepEqual([denied.error.code, ledger.attempts.length], ['EGRESS_DENIED', 2])
    const { terms: wider } = termsFor('open')
    const headers = [
      ['Authorization', 'Bearer own'],
      ['Cookie', 'c=1'],
      ['X-Own', '1'],
    ]
    const moved = await ask(request(a(`/?to=${b('/echo-headers')}`), { headers }), wider)
    assert.deepEqual([moved.status, moved.redirected, moved.url], [200, true, b('/echo-headers')])
    const seen = JSON.parse(atob(moved.body))
    assert.deepEqual([seen.authorization, seen.cookie, seen['x-own']], [undefined, undefined, '1'])
    const first = world.heard.at(-2)!.headers
    assert.deepEqual([first.authorization, first.cookie], ['Bearer own', 'c=1'])
    for (const [to, why] of [
      ['http://127.0.0.1:1/', /loopback/],
      ['http://169.254.169.254/', /metadata/],
      ['http://[::ffff:7f00:1]/', /IPv6 form/],
      ['file:///etc/passwd', /not a valid http/],
      [`http://u:p@a.example:${world.ports.http}/`, /not a valid http/],
    ] as const)
      assert.match(
        (await ask(request(a(`/?to=${encodeURIComponent(to)}`)), wider)).error.message,
        why,
      )
    assert.equal(
      (await ask(request(a(`/?to=${b('/')}`), { redirect: 'manual' }), wider)).status,
      302,
    )
    assert.match(
      (await ask(request(a(`/?to=${b('/')}`), { redirect: 'error' }), wider)).error.message,
      /redirect/,
    )
    const loop = await ask(
      request(a(`/?to=${encodeURIComponent('?to=' + encodeURIComponent('/'))}`)),
      wider,
    )
    assert.equal(loop.status, 200)
  })

  test('DNS lookup where only that is permitted', async () => {
    const { terms } = termsFor(
      { allow: ['dns://a.example'] },
      { resolver: () => Promise.resolve(['93.184.215.14']) },
    )
    const found = await ask(request('http://dns.mayfly/resolve?name=a.example'), terms)
    assert.deepEqual(JSON.parse(atob(found.body)), {
      name: 'a.example',
      addresses: ['93.184.215.14'],
    })
    assert.equal(
      (await ask(request('http://dns.mayfly/resolve?name=b.example'), terms)).error.code,
      'EGRESS_DENIED',
    )
  })

  test('Rules on method and path hold, also for https', async () => {
    const { terms } = termsFor({ allow: [`GET https://a.example:${world.ports.https}/v1/*`] })
    const url = `https://a.example:${world.ports.https}`
    assert.equal((await ask(request(`${url}/v1/x`), terms)).status, 200)
    assert.equal((await ask(request(`${url}/v2`), terms)).error.code, 'EGRESS_DENIED')
    const post = await ask(request(`${url}/v1/x`, { method: 'POST', body: '' }), terms)
    assert.equal(post.error.code, 'EGRESS_DENIED')
  })

  test('Methods forbidden by fetch are refused, and each is recorded as an attempt', async () => {
    const { terms, ledger } = termsFor('open')
    const before = world.connections()
    for (const method of ['CONNECT', 'TRACE', 'TRACK']) {
      const { error } = await ask(request(a('/'), { method }), terms)
      assert.deepEqual(
        [error.code, error.message],
        ['EGRESS_DENIED', `Cannot fetch it: "${method}" is not fetched`],
      )
    }
    assert.equal(world.connections(), before)
    assert.deepEqual(
      ledger.attempts.map(({ host, verdict }) => [host, verdict]),
      ['CONNECT', 'TRACE', 'TRACK'].map(() => ['a.example', 'denied']),
    )
  })

  test('Range headers are removed where the answer is scanned for a credential', async () => {
    const credential = { name: 'api', value: secret, header: 'x-key', hosts: [a('')] }
    const headers = [
      ['Range', 'bytes=0-15'],
      ['If-Range', '"x"'],
      ['Accept_Encoding', 'gzip'],
    ]
    for (const [credentials, kept] of [
      [[credential], [undefined, undefined, undefined]],
      [[], ['bytes=0-15', '"x"', undefined]],
    ] as const) {
      const { terms } = termsFor('open', { credentials })
      assert.equal((await ask(request(a('/'), { headers }), terms)).status, 200)
      const heard = world.heard.at(-1)!.headers
      assert.deepEqual([heard['range'], heard['if-range'], heard['accept_encoding']], kept)
    }
  })

  test('A credential is placed, and an answer that echoes it is withheld', async () => {
    const credentials = [{ name: 'KEY', value: secret, header: 'X-Key', hosts: [a('')] }]
    const { terms, events, ledger } = termsFor('open', { credentials })
    const headers = [['X-Key', 'mayfly-secret:KEY']]
    assert.equal((await ask(request(a('/x'), { headers }), terms)).status, 200)
    assert.equal(world.heard.at(-1)!.headers['x-key'], secret)
    const echoed = await brokeredFetch(request(a('/echo-headers'), { headers }), terms)
    assert.match(echoed, /repeats a secret/)
    assert.equal((await ask(request(b('/x'), { headers }), terms)).error.code, 'EGRESS_DENIED')
    assert.ok(![echoed, JSON.stringify([ledger.attempts, events])].join().includes(secret))
  })

  test('S4-8: an encoded answer of a host with a credential is refused, and of another host passed on', async () => {
    const credentials = [{ name: 'KEY', value: secret, header: 'X-Key', hosts: [a('')] }]
    for (const coding of ['content-encoding/gzip', 'transfer-encoding/gzip,chunked']) {
      const { terms } = termsFor('open', { credentials })
      assert.match((await ask(request(a(`/in-${coding}`)), terms)).error?.message, /encoded/)
      assert.equal((await ask(request(b(`/in-${coding}`)), terms)).status, 200)
    }
    const { terms } = termsFor('open', { credentials })
    for (const plain of ['content-encoding/identity', 'transfer-encoding/chunked'])
      assert.equal((await ask(request(a(`/in-${plain}`)), terms)).status, 200)
    const head = request(a('/in-content-encoding/gzip'), { method: 'HEAD' })
    assert.equal((await ask(head, terms)).status, 200)
  })

  test('S2-14: a planted secret in URL, header or body blocks the request', async () => {
    const planted = 'planted-secret'
    const makeOutboundCheck = () => {
      let said = ''
      return (piece: Buffer) => !(said += piece.toString('latin1')).includes(planted)
    }
    const { terms, ledger } = termsFor('open', { makeOutboundCheck })
    const before = world.connections()
    for (const text of [
      request(a(`/?q=${planted}`)),
      request(a('/'), { headers: [['X-Own', planted]] }),
      request(a('/'), { method: 'POST', body: btoa(planted) }),
    ])
      assert.match((await ask(text, terms)).error.message, /planted secret/)
    assert.equal((await ask(request(a('/x')), terms)).status, 200)
    assert.equal(world.connections(), before + 1)
    assert.deepEqual(
      ledger.attempts.map(({ verdict }) => verdict),
      ['denied', 'denied', 'denied', 'allowed'],
    )
  })

  test('S2-14: a planted secret in a host name is blocked before the DNS query', async () => {
    const planted = '706c616e746564'
    const makeOutboundCheck = () => (piece: Buffer) => !piece.includes(planted)
    const asked: string[] = []
    const resolver = (name: string) => {
      asked.push(name)
      return Promise.resolve(['127.0.0.1'])
    }
    const allow = ['http://*.a.example', 'dns://*.a.example']
    const { terms } = termsFor({ allow }, { makeOutboundCheck, resolver })
    const carrying = [`${planted}.a.example`, '706C616E.746564.a.example']
    for (const name of carrying)
      for (const url of [`http://${name}/`, `http://dns.mayfly/resolve?name=${name}`])
        assert.match((await ask(request(url), terms)).error.message, /planted secret/, url)
    assert.deepEqual(asked, [])
    for (const url of ['http://plain.a.example/', 'http://dns.mayfly/resolve?name=plain.a.example'])
      await ask(request(url), terms)
    assert.deepEqual(asked, ['plain.a.example', 'plain.a.example'])
  })

  test("S4-8: a credential is found in the answer's head too, in its raw spelling", async () => {
    const value = 'sk"live\\0123456789'
    const credentials = [{ name: 'KEY', value, header: 'X-Key', hosts: [a('')] }]
    const { terms } = termsFor('open', { credentials })
    const headers = [['X-Key', 'mayfly-secret:KEY']]
    for (const path of ['/repeat-header', '/repeat-status'])
      assert.match(await brokeredFetch(request(a(path), { headers }), terms), /repeats a secret/)
  })

  test('Oversized answers, a used-up budget and hanging servers end the request', async () => {
    assert.match(
      (await ask(request(a('/large')), termsFor('open', { bodyBytesMax: 1_000 }).terms)).error
        .message,
      /more than 1000 bytes/,
    )
    const small = new Ledger(
      { sentMax: 2 ** 30, receivedMax: 50_000 },
      { emitter: emitterInto([]), run: null },
    )
    assert.match(
      (await ask(request(a('/large')), termsFor('open', { ledger: small }).terms)).error.message,
      /used up/,
    )
    assert.match(
      (await ask(request(a('/never')), termsFor('open', { timeoutMs: 50 }).terms)).error.message,
      /too long/,
    )
    for (const text of [
      '',
      '{}',
      'null',
      request('x', { more: 1 }),
      request(a('/'), { headers: [['a b', 'c']] }),
      request(a('/'), { headers: [['a', 'b\r\nc: d']] }),
    ])
      assert.equal((await ask(text, termsFor('open').terms)).error.code, 'EGRESS_FAILED', text)
  })

  test('The reason for a header that cannot be sent tells which one it is', async () => {
    const { terms } = termsFor('open')
    for (const [header, why] of [
      [['x-token', 'y'.repeat(8193)], /its header 2 has more than 8192 characters/],
      [['x-name', 'Ω'], /its header 2 has .* not Latin-1/],
      [['a b', 'c'], /the name of its header 2 is no token/],
    ] as const) {
      const headers = [['x-fine', '1'], header]
      const { error } = await ask(request(a('/'), { headers }), terms)
      assert.equal(error.code, 'EGRESS_FAILED')
      assert.match(error.message, why)
    }
  })

  test('A hanging server may take minutes, and the reason of the end has the limit', async (t) => {
    const model = createTcp((socket) => void socket.on('error', () => undefined).resume())
    await new Promise<void>((done) => model.listen(0, '127.0.0.1', done))
    t.after(() => model.close())
    const { port } = model.address() as AddressInfo
    const { terms, ledger } = termsFor('open', { exceptions: [`127.0.0.1:${port}`] })
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const answer = ask(request(`http://a.example:${port}/`), terms)
    const sent = () => ledger.attempts[0]?.sent ?? 0
    while (sent() === 0) await new Promise((done) => setImmediate(done))
    for (let minute = 0; minute < 9; minute++) t.mock.timers.tick(60_000)
    assert.doesNotMatch(ledger.attempts[0]!.because, /too long/)
    t.mock.timers.tick(60_000)
    assert.match((await answer).error.message, /it took too long: more than 600 s/)
    assert.match(ledger.attempts[0]!.because, /it took too long: more than 600 s/)
  })

  test('An answer that is stored compressed is decoded, within the limit of a body', async (t) => {
    const plain = Buffer.from(JSON.stringify({ text: 'é'.repeat(5000) }))
    const bodies: Record<string, Buffer> = {
      gzip: gzipSync(plain),
      deflate: deflateSync(plain),
      br: brotliCompressSync(plain),
      zstd: Buffer.concat([zstdCompressSync(plain), zstdCompressSync(plain)]),
      bomb: gzipSync(Buffer.alloc(1_000_000)),
      broken: Buffer.from('no gzip'),
      exi: Buffer.from('unknown'),
    }
    const store = createServer(({ url = '', headers }, response) => {
      const name = url.slice(1)
      const coding = { bomb: 'gzip', broken: 'gzip' }[name] ?? name
      response.setHeader('Content-Encoding', coding)
      if (headers.range) response.writeHead(206)
      response.end(bodies[name])
    })
    await new Promise<void>((done) => store.listen(0, '127.0.0.1', done))
    t.after(() => store.close())
    const { port } = store.address() as AddressInfo
    const { terms } = termsFor('open', {
      exceptions: [`127.0.0.1:${port}`],
      bodyBytesMax: 100_000,
    })
    const get = (name: string, headers: readonly (readonly string[])[] = []) =>
      ask(request(`http://a.example:${port}/${name}`, { headers }), terms)
    for (const name of ['gzip', 'deflate']) {
      const { body, headers } = await get(name)
      assert.ok(Buffer.from(body, 'base64').equals(plain), name)
      const names = headers.map(([own]: readonly string[]) => own!.toLowerCase())
      assert.ok(!names.includes('content-encoding') && !names.includes('content-length'), name)
    }
    assert.match((await get('bomb')).error.message, /more than 100000 bytes once it is decoded/)
    assert.equal(atob((await get('broken')).body), 'no gzip')
    assert.equal(atob((await get('exi')).body), 'unknown')
    for (const name of ['br', 'zstd']) {
      const { body, headers } = await get(name)
      assert.ok(Buffer.from(body, 'base64').equals(bodies[name]!), name)
      assert.ok(
        headers.some(([, value]: readonly string[]) => value === name),
        name,
      )
    }
    const part = await get('broken', [['range', 'bytes=0-6']])
    assert.deepEqual([part.status, atob(part.body)], [206, 'no gzip'])
  })

  test('Attack: answers that are small only while they are compressed use up the budget of a run', async (t) => {
    const bodies: Record<string, Buffer> = {
      '/fits': gzipSync(Buffer.alloc(90_000)),
      '/bomb': deflateSync(Buffer.alloc(1_000_000)),
      '/broken': gzipSync(Buffer.alloc(90_000)).subarray(0, -1),
      '/member': Buffer.concat([gzipSync(Buffer.alloc(90_000)), Buffer.from([0x1f, 0])]),
    }
    const store = createServer(({ url = '' }, response) => {
      response.setHeader('Content-Encoding', url === '/bomb' ? 'deflate' : 'gzip').end(bodies[url])
    })
    await new Promise<void>((done) => store.listen(0, '127.0.0.1', done))
    t.after(() => store.close())
    const { port } = store.address() as AddressInfo
    for (const path of Object.keys(bodies)) {
      const events: Event[] = []
      const budget = { sentMax: 2 ** 20, receivedMax: 250_000 }
      const ledger = new Ledger(budget, { emitter: emitterInto(events), run: 'exec_test' })
      const exceptions = [`127.0.0.1:${port}`]
      const { terms } = termsFor('open', { exceptions, bodyBytesMax: 100_000, ledger })
      const get = () => ask(request(`http://a.example:${port}${path}`), terms)
      const first = [await get(), await get()]
      if (path === '/bomb')
        for (const { error } of first) assert.match(error.message, /once it is decoded/)
      else assert.ok(first.every(({ status }) => status === 200))
      await get()
      assert.equal(ledger.overdrawn, 'receive', path)
      assert.equal((await get()).error.code, 'EGRESS_DENIED', path)
    }
  })

  test('A guest that fetches a hundred addresses at once has them in turn, 64 at a time', async (t) => {
    const held: ServerResponse[] = []
    let [open, most] = [0, 0]
    const server = createServer((_request, response) => {
      most = Math.max(most, ++open)
      response.on('close', () => open--)
      held.push(response)
    })
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
    t.after(() => server.close())
    const { port } = server.address() as AddressInfo
    const { terms } = termsFor('open', { exceptions: [`127.0.0.1:${port}`] })
    const egressPath = openFetch(terms)
    const statuses: number[] = []
    const send = (_kind: number, text: string) =>
      void statuses.push(JSON.parse(JSON.parse(text).text).status)
    const life = { isEnded: false, parts: { wall: { backlogBytes: 0, send } }, egressPath }
    const calls = new GuestCalls(life as unknown as GuestLife, {} as unknown as RealmEgress)
    const all = Array.from({ length: 100 }, (_, at) => {
      const id = at + 1
      const text = request(`http://a.example:${port}/${id}`)
      return calls.answer(Buffer.from(`${JSON.stringify({ id, name: 'mayfly.fetch' })}\n${text}`))
    })
    while (held.length < 64) await new Promise((done) => setImmediate(done))
    const answering = setInterval(() => held.pop()?.end(), 1)
    t.after(() => clearInterval(answering))
    await Promise.all(all)
    assert.deepEqual(statuses, Array<number>(100).fill(200))
    assert.equal(most, 64)
  })

  /** Asks a server that writes pieces before its answer: for three of them, and for many with a budget of 50,000 bytes. */
  async function askBehind(t: TestContext, piece: string, count: number) {
    const early = createTcp((socket) => {
      socket
        .on('error', () => undefined)
        .once('data', (head: Buffer) => {
          const isFew = head.toString().startsWith('GET /few ')
          socket.write(Buffer.from(piece.repeat(isFew ? 3 : count)))
          socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
        })
    })
    t.after(() => early.close())
    await new Promise<void>((resolve) => early.listen(0, '127.0.0.1', resolve))
    const { port } = early.address() as AddressInfo
    const exceptions = [`127.0.0.1:${port}`]
    const { terms } = termsFor('open', { exceptions })
    assert.equal((await ask(request(`http://a.example:${port}/few`), terms)).status, 200)
    const receivedMax = 50_000
    const ledger = new Ledger(
      { sentMax: 2 ** 30, receivedMax },
      { emitter: emitterInto([]), run: null },
    )
    const many = await ask(
      request(`http://a.example:${port}/many`),
      termsFor('open', { exceptions, ledger }).terms,
    )
    return { message: many.error.message, received: ledger.attempts[0]!.received, receivedMax }
  }

  test('Interim answers without end cut the request, and a few are passed over', async (t) => {
    const piece = 'HTTP/1.1 102 Processing\r\n\r\n'
    const { message, received } = await askBehind(t, piece, 200_000)
    assert.match(message, /too many interim answers/)
    assert.ok(received > 0 && received < 1_000_000, `${received} bytes`)
  })

  test('Attack: empty lines without end before an answer count as received, and a few are passed over', async (t) => {
    const { message, received, receivedMax } = await askBehind(t, '\r\n', 5_000_000)
    assert.match(message, /may receive are used up/)
    assert.ok(received > receivedMax && received < 1_000_000, `${received} bytes`)
  })

  test('Attack: a server of TLS 1.2 has no handshake renegotiated', async (t) => {
    let [asked, renegotiated] = [0, 0]
    const secure = createTls({
      maxVersion: 'TLSv1.2',
      SNICallback: (name, done) => done(null, world.authority.contextFor(name)),
    })
    secure.on('secureConnection', (socket) => {
      const answer = () => void socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
      const again = (error: Error | null) => {
        if (error || ++renegotiated === 20) return answer()
        socket.renegotiate({}, again)
      }
      socket.on('error', () => undefined)
      socket.once('data', (head: Buffer) => {
        if (head.toString().startsWith('GET /once ')) return answer()
        asked++
        socket.renegotiate({}, again)
      })
    })
    t.after(() => secure.close())
    await new Promise<void>((resolve) => secure.listen(0, '127.0.0.1', resolve))
    const { port } = secure.address() as AddressInfo
    const { terms } = termsFor('open', { exceptions: [`127.0.0.1:${port}`] })
    assert.equal((await ask(request(`https://a.example:${port}/once`), terms)).status, 200)
    const answer = await ask(request(`https://a.example:${port}/`), terms)
    assert.deepEqual([asked, renegotiated, answer.error?.code], [1, 0, 'EGRESS_FAILED'])
  })

  test('Tightening cuts requests that are no longer permitted', async () => {
    const { terms } = termsFor('open')
    let network = networkOf('open')
    const fetcher = openFetch({ ...terms, network: () => network })
    const heard = world.heard.length
    const pending = fetcher.fetch(request(a('/never')))
    while (world.heard.length === heard || terms.ledger.attempts.length === 0)
      await new Promise((resolve) => setTimeout(resolve, 1))
    assert.equal(fetcher.tighten(), 0)
    network = networkOf('none')
    assert.equal(fetcher.tighten(), 1)
    assert.match(JSON.parse(await pending).error.message, /no network/)
  })
})

suite('fetch inside an isolate', () => {
  const granted = (asked: NetworkInput) => ({
    capabilities: ['mayfly.fetch'],
    call: (_: string, text: string) => brokeredFetch(text, termsFor(asked).terms),
  })

  test('A job without network has no fetch', async () => {
    assert.deepEqual(await valueOf('return [typeof fetch, typeof Headers, typeof Response]'), [
      'undefined',
      'undefined',
      'undefined',
    ])
  })

  test('fetch resolves to a Response', async () => {
    const code = `
      const r = await fetch(input + '/p', { method: 'post', body: 'héllo', headers: { 'X-Own': '1' } })
      const copy = r.clone(), text = await r.text()
      let again; try { await r.text() } catch (e) { again = e.name }
      return [r.status, r.ok, r.url, r.redirected, r.headers.has('Content-Length'), JSON.parse(text).line, (await copy.json()).host, again, r.bodyUsed]`
    const value = await valueOf(code, { input: a(''), ...granted('open') })
    assert.deepEqual(value, [
      200,
      true,
      a('/p'),
      false,
      true,
      'POST /p',
      `a.example:${world.ports.http}`,
      'TypeError',
      true,
    ])
    assert.equal(Buffer.from(world.heard.at(-1)!.body, 'latin1').toString(), 'héllo')
    assert.equal(world.heard.at(-1)!.headers['content-type'], 'text/plain;charset=UTF-8')
  })

  test('Bodies are bytes, including forms and buffers, and so are answers', async () => {
    const code = `
      const r = await fetch(new URL('/bytes', input)); const bytes = await r.bytes()
      await fetch(input + '/form', { method: 'PUT', body: new URLSearchParams({ a: 'b c' }) })
      await fetch(input + '/buffer', { method: 'PUT', body: new Uint8Array([1, 2, 3]).buffer })
      const h = new Headers([['B', '1'], ['a', '2'], ['b', '3']])
      return [[...bytes], [...h], h.has('A'), r.headers.get('x-two'), new Response('x', { status: 201 }).status]`
    assert.deepEqual(await valueOf(code, { input: a(''), ...granted('open') }), [
      [0, 255, 128],
      [
        ['a', '2'],
        ['b', '1, 3'],
      ],
      true,
      'a, b',
      201,
    ])
    const [form, buffer] = world.heard.slice(-2)
    assert.deepEqual(
      [form!.body, form!.headers['content-type']],
      ['a=b+c', 'application/x-www-form-urlencoded;charset=UTF-8'],
    )
    assert.deepEqual([buffer!.body, buffer!.headers['content-type']], ['\x01\x02\x03', undefined])
  })

  test('Forbidden hosts, invalid URLs, GET with a body and aborts reject', async () => {
    const code = `
      const ends = []
      const controller = new AbortController(); controller.abort()
      for (const run of [() => fetch(input), () => fetch('nope'), () => fetch(input, { body: 'x' }), () => fetch(input, { signal: controller.signal })]) {
        try { await run() } catch (e) { ends.push([e.name, e.code ?? '', e.message.slice(0, 40)]) }
      }
      return ends`
    const ends = await valueOf(code, {
      input: b('/'),
      ...granted({ allow: [a('')] }),
    })
    assert.deepEqual(ends, [
      ['TypeError', 'EGRESS_DENIED', 'Cannot fetch it: no rule allows "http://'],
      ['TypeError', '', 'Cannot fetch it: the address is not a UR'],
      ['TypeError', '', 'Cannot fetch it: GET has no body'],
      ['AbortError', 20, 'This operation was aborted'],
    ])
  })

  test("Overwritten intrinsics do not change a job's request or its rules", async () => {
    const code = `
      String.prototype.toLowerCase = String.prototype.trim = () => 'x'
      Object.prototype.toJSON = Array.prototype.toJSON = () => 'http://b.example/'
      JSON.stringify = () => '{}'; JSON.parse = () => ({})
      return (await fetch(input, { headers: { 'X-Own': ' kept ' } })).status`
    assert.equal(await valueOf(code, { input: a('/x'), ...granted({ allow: [a('')] }) }), 200)
    assert.equal(world.heard.at(-1)!.headers['x-own'], 'kept')
  })
})

test('A request still resolving when the run ends is never sent, and is reported as cut before the end', async () => {
  const heard = Promise.withResolvers<string>()
  const server = createServer((_request, response) => {
    heard.resolve('a request')
    response.end()
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const origin = `http://slow.example:${port}`
  const named = Promise.withResolvers<readonly string[]>()
  const events: Event[] = []
  const egress = openEgress({
    controls: { ...allControls, network: networkOf({ allow: [origin] }) },
    run: 'exec_test',
    emitter: emitterInto(events),
    credentials: [],
    authority: world.authority,
    dial: { resolver: () => named.promise, exceptions: [`127.0.0.1:${port}`] },
  })
  const request = { url: `${origin}/`, method: 'POST', headers: [], body: 'YQ==' }
  const answer = egress.fetch(JSON.stringify({ ...request, redirect: 'follow' }))
  egress.close()
  assert.deepEqual(
    egress.attempts.map(({ host, verdict, because }) => [host, verdict, because]),
    [['slow.example', 'denied', 'the run is over']],
  )
  const told = events.length
  named.resolve(['127.0.0.1'])
  assert.match(await answer, /the run is over/)
  const quiet = new Promise<string>((resolve) => void setTimeout(resolve, 100, 'nothing'))
  assert.equal(await Promise.race([heard.promise, quiet]), 'nothing')
  assert.equal(events.length, told)
  await new Promise((resolve) => void server.close(resolve))
})
