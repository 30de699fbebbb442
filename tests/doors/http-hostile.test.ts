import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { serverNames } from '../../src/gateway/http/origin.ts'
import { adminKey, call, folder, openDoor, raw, statusOf, type TestDoor } from './http-door.ts'

/** Bounds small enough that a test can pass them. */
const limits = { bodyBytes: 200_000, bodyMs: 300, headersMs: 400, bodiesBytes: 1_000_000 }

const lines = (...list: string[]): string => `${list.join('\r\n')}\r\n\r\n`
const host = 'Host: localhost'
const auth = `Authorization: Bearer ${adminKey}`
const json = 'Content-Type: application/json'

function withBody(body: string, ...headers: string[]): string {
  return (
    lines(
      'POST /v1/executions HTTP/1.1',
      host,
      auth,
      json,
      `Content-Length: ${Buffer.byteLength(body, 'latin1')}`,
      ...headers,
    ) + body
  )
}

const chunked = (body: string): string =>
  lines('POST /v1/executions HTTP/1.1', host, auth, json, 'Transfer-Encoding: chunked') + body

const get = (target: string, ...headers: string[]): string =>
  lines(`GET ${target} HTTP/1.1`, ...(headers.length > 0 ? headers : [host]), 'Connection: close')

interface Attack {
  readonly title: string
  readonly send: string
  readonly status: number
  readonly code?: string
  /** Target endpoint; the active one by default. */
  readonly to?: 'static'
}

const attacks: readonly Attack[] = [
  // Framing
  {
    title: 'A request with both Content-Length and Transfer-Encoding',
    send:
      lines(
        'POST /v1/executions HTTP/1.1',
        host,
        auth,
        json,
        'Content-Length: 4',
        'Transfer-Encoding: chunked',
      ) + '0\r\n\r\nGET /livez HTTP/1.1\r\n\r\n',
    status: 400,
    code: 'SYNTAX',
  },
  {
    title: 'Two Content-Length headers that differ',
    send:
      lines(
        'POST /v1/executions HTTP/1.1',
        host,
        auth,
        json,
        'Content-Length: 4',
        'Content-Length: 5',
      ) + '{}{}{}',
    status: 400,
  },
  {
    title: 'Two Content-Length headers that agree',
    send:
      lines(
        'POST /v1/executions HTTP/1.1',
        host,
        auth,
        json,
        'Content-Length: 2',
        'Content-Length: 2',
      ) + '{}',
    status: 400,
  },
  {
    title: 'A list of lengths in one Content-Length',
    send: lines('POST /v1/executions HTTP/1.1', host, auth, json, 'Content-Length: 2, 2') + '{}',
    status: 400,
  },
  {
    title: 'A negative Content-Length',
    send: lines('POST /v1/executions HTTP/1.1', host, auth, json, 'Content-Length: -1'),
    status: 400,
  },
  {
    title: 'An unknown transfer coding',
    send:
      lines(
        'POST /v1/executions HTTP/1.1',
        host,
        auth,
        json,
        'Transfer-Encoding: chunked, xchunked',
      ) + '0\r\n\r\n',
    status: 400,
  },
  {
    title: 'A space before the colon of Transfer-Encoding',
    send:
      lines('POST /v1/executions HTTP/1.1', host, auth, json, 'Transfer-Encoding : chunked') +
      '0\r\n\r\n',
    status: 400,
  },
  { title: 'A chunk size that is no number', send: chunked('zz\r\n{}\r\n0\r\n\r\n'), status: 400 },
  { title: 'A chunk longer than its size', send: chunked('1\r\n{}{}{}\r\n0\r\n\r\n'), status: 400 },
  { title: 'A chunk size with a bare line feed', send: chunked('2\n{}\r\n0\r\n\r\n'), status: 400 },
  {
    title: 'A folded header',
    send: lines('GET /livez HTTP/1.1', host, 'X: a', ' folded'),
    status: 400,
  },
  {
    title: 'A header name with a NUL',
    send: lines('GET /livez HTTP/1.1', host, 'X\0Y: a'),
    status: 400,
  },
  { title: 'HTTP/0.9', send: 'GET /livez\r\n\r\n', status: 400 },
  {
    title: 'Something that is no HTTP at all',
    send: '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
    status: 400,
  },
  // Size and time
  {
    title: 'A header of 64 KiB',
    send: lines('GET /livez HTTP/1.1', host, `X: ${'a'.repeat(65_536)}`),
    status: 431,
    code: 'HEADERS_TOO_LARGE',
  },
  {
    title: 'Two hundred header lines',
    send: lines('GET /livez HTTP/1.1', host, ...Array.from({ length: 200 }, (_, i) => `X${i}: a`)),
    status: 431,
    code: 'HEADERS_TOO_LARGE',
  },
  {
    title: 'A target of 64 KiB',
    send: get(`/${'a'.repeat(65_536)}`),
    status: 431,
  },
  {
    title: 'A body announced too large',
    send: lines('POST /v1/executions HTTP/1.1', host, auth, json, 'Content-Length: 200001'),
    status: 413,
    code: 'TOO_LARGE',
  },
  {
    title: 'A body announced too large by one who waits to be told to send it',
    send: lines(
      'POST /v1/executions HTTP/1.1',
      host,
      auth,
      json,
      'Content-Length: 200001',
      'Expect: 100-continue',
    ),
    status: 413,
    code: 'TOO_LARGE',
  },
  {
    title: 'A chunked body that grows too large',
    send: chunked(`${`10000\r\n${'a'.repeat(65_536)}\r\n`.repeat(4)}0\r\n\r\n`),
    status: 413,
    code: 'TOO_LARGE',
  },
  {
    title: 'Headers that never end',
    send: 'GET /livez HTTP/1.1\r\nHost: localhost\r\n',
    status: 408,
  },
  {
    title: 'A body that never ends',
    send: lines('POST /v1/executions HTTP/1.1', host, auth, json, 'Content-Length: 100') + '{"co',
    status: 408,
    code: 'REQUEST_TIMEOUT',
  },
  {
    title: 'A chunked body that never ends',
    send: chunked('2\r\n{"\r\n'),
    status: 408,
    code: 'REQUEST_TIMEOUT',
  },
  {
    title: 'A slow body on the static endpoint',
    to: 'static',
    send: lines('POST /active-content HTTP/1.1', host, json, 'Content-Length: 100') + '{"co',
    status: 408,
    code: 'REQUEST_TIMEOUT',
  },
  // Bodies
  {
    title: '100,000 nested arrays',
    send: withBody('['.repeat(100_000)),
    status: 400,
    code: 'SYNTAX',
  },
  {
    title: '30,000 nested objects',
    send: withBody('{"a":'.repeat(30_000)),
    status: 400,
    code: 'SYNTAX',
  },
  { title: 'Invalid UTF-8', send: withBody('{"code":"\xff"}'), status: 400, code: 'SYNTAX' },
  {
    title: 'An overlong UTF-8 form',
    send: withBody('{"code":"\xc0\xaf"}'),
    status: 400,
    code: 'SYNTAX',
  },
  {
    title: 'A duplicate key',
    send: withBody('{"code":"1","code":"2"}'),
    status: 400,
    code: 'SYNTAX',
  },
  {
    title: 'A duplicate key in disguise',
    send: withBody('{"code":"1","\\u0063ode":"2"}'),
    status: 400,
    code: 'SYNTAX',
  },
  {
    title: 'A byte order mark',
    send: withBody('\xef\xbb\xbf{"code":"1"}'),
    status: 400,
    code: 'SYNTAX',
  },
  { title: 'An empty body', send: withBody(''), status: 400, code: 'SYNTAX' },
  { title: 'JSON with a comment', send: withBody('{"code":"1"/**/}'), status: 400, code: 'SYNTAX' },
  { title: 'A NaN', send: withBody('{"code":"1","input":NaN}'), status: 400, code: 'SYNTAX' },
  { title: 'An array in place of a job', send: withBody('[]'), status: 422, code: 'INVALID' },
  {
    title: 'An unknown field',
    send: withBody('{"code":"1","cod":"2"}'),
    status: 422,
    code: 'INVALID',
  },
  {
    title: 'A __proto__ field',
    send: withBody('{"code":"1","__proto__":{"tenant":"x"}}'),
    status: 422,
    code: 'INVALID',
  },
  {
    title: 'Code with a lone surrogate',
    send: withBody('{"code":"\\ud800"}'),
    status: 422,
    code: 'INVALID',
  },
  { title: 'A job without code', send: withBody('{}'), status: 422, code: 'INVALID' },
  {
    title: 'A form',
    send:
      lines(
        'POST /v1/executions HTTP/1.1',
        host,
        auth,
        'Content-Type: application/x-www-form-urlencoded',
        'Content-Length: 6',
      ) + 'code=1',
    status: 415,
    code: 'UNSUPPORTED_MEDIA_TYPE',
  },
  {
    title: 'A body without a type',
    send: lines('POST /v1/executions HTTP/1.1', host, auth, 'Content-Length: 2') + '{}',
    status: 415,
  },
  {
    title: 'JSON in UTF-16',
    send:
      lines(
        'POST /v1/executions HTTP/1.1',
        host,
        auth,
        'Content-Type: application/json; charset=utf-16',
        'Content-Length: 2',
      ) + '{}',
    status: 415,
  },
  {
    title: 'A body in a transfer coding before chunked',
    send:
      lines('POST /v1/executions HTTP/1.1', host, auth, json, 'Transfer-Encoding: gzip, chunked') +
      '2\r\n{}\r\n0\r\n\r\n',
    status: 400,
    code: 'SYNTAX',
  },
  { title: 'A compressed body', send: withBody('{}', 'Content-Encoding: gzip'), status: 415 },
  // Methods and targets
  {
    title: 'TRACE',
    send: lines('TRACE /v1/executions HTTP/1.1', host, auth),
    status: 405,
    code: 'METHOD_NOT_ALLOWED',
  },
  {
    title: 'DELETE on a path that takes POST',
    send: lines('DELETE /v1/executions HTTP/1.1', host, auth),
    status: 405,
  },
  {
    title: 'PUT on the static endpoint',
    to: 'static',
    send: lines('PUT / HTTP/1.1', host),
    status: 405,
  },
  {
    title: 'A method that does not exist',
    send: lines('FROBNICATE / HTTP/1.1', host),
    status: 400,
  },
  { title: 'CONNECT', send: lines('CONNECT 169.254.169.254:80 HTTP/1.1', host), status: 405 },
  {
    title: 'A target in absolute form of another host',
    send: get('http://169.254.169.254/livez'),
    status: 400,
  },
  { title: 'A target that is no path', send: get('livez'), status: 400 },
  {
    title: 'A path that climbs',
    to: 'static',
    send: get('/../../../etc/passwd'),
    status: 404,
    code: 'NOT_FOUND',
  },
  {
    title: 'A path that climbs in percent signs',
    to: 'static',
    send: get('/%2e%2e/%2E%2E/etc/passwd'),
    status: 404,
  },
  {
    title: 'A path that climbs by encoded slashes',
    to: 'static',
    send: get('/..%2f..%2fetc%2fpasswd'),
    status: 404,
  },
  {
    title: 'A path with a backslash',
    to: 'static',
    send: get('/..\\..\\etc\\passwd'),
    status: 404,
  },
  {
    title: 'A path with an encoded NUL',
    to: 'static',
    send: get('/mayfly.js%00.html'),
    status: 404,
  },
  {
    title: 'A path with an empty segment',
    to: 'static',
    send: get('//evil.example/'),
    status: 404,
  },
  { title: 'A path with a broken percent sign', to: 'static', send: get('/%zz'), status: 404 },
  { title: 'A path encoded twice', to: 'static', send: get('/%252e%252e/etc/passwd'), status: 404 },
  { title: 'A dotfile', to: 'static', send: get('/.env'), status: 404 },
  {
    title: 'A dot segment before a path that needs no key',
    send: get('/v1/../livez'),
    status: 404,
  },
  // Hosts and origins
  { title: 'No Host', send: lines('GET /livez HTTP/1.1'), status: 400 },
  { title: 'Two Hosts', send: get('/livez', host, 'Host: evil.example'), status: 400 },
  {
    title: 'A Host that somebody rebound',
    send: get('/livez', 'Host: evil.example'),
    status: 421,
    code: 'MISDIRECTED',
  },
  {
    title: 'A Host that somebody rebound, on the page',
    to: 'static',
    send: get('/', 'Host: evil.example:80'),
    status: 421,
  },
  { title: 'A Host with a path in it', send: get('/livez', 'Host: localhost/evil'), status: 400 },
  { title: 'A Host with a user in it', send: get('/livez', 'Host: evil@localhost'), status: 400 },
  { title: 'Another address as Host', send: get('/livez', 'Host: 10.1.2.3'), status: 421 },
  {
    title: 'A foreign page that has a key',
    send: get('/v1/providers', host, auth, 'Origin: http://evil.example'),
    status: 403,
    code: 'FORBIDDEN',
  },
  {
    title: 'A sandboxed page that has a key',
    send: get('/v1/providers', host, auth, 'Origin: null'),
    status: 403,
  },
  {
    title: 'A cross-site request by a browser that tells no origin',
    send: get('/v1/providers', host, auth, 'Sec-Fetch-Site: cross-site', 'Sec-Fetch-Mode: no-cors'),
    status: 403,
  },
  // Keys
  { title: 'No key', send: get('/v1/providers'), status: 401, code: 'UNAUTHENTICATED' },
  {
    title: 'An empty key',
    send: get('/v1/providers', host, 'Authorization: Bearer '),
    status: 401,
  },
  {
    title: 'A short key',
    send: get('/v1/providers', host, 'Authorization: Bearer mfy_short'),
    status: 401,
  },
  { title: 'A forged key', send: get('/v1/providers', host, `${auth.slice(0, -1)}X`), status: 401 },
  {
    title: 'A key with something behind it',
    send: get('/v1/providers', host, `${auth} x`),
    status: 401,
  },
  {
    title: 'A key of another scheme',
    send: get('/v1/providers', host, auth.replace('Bearer', 'Basic')),
    status: 401,
  },
  {
    title: 'A key of 10,000 characters',
    send: get('/v1/providers', host, `Authorization: Bearer ${'a'.repeat(10_000)}`),
    status: 401,
  },
  {
    title: 'Two keys',
    send: get('/v1/providers', host, auth, 'Authorization: Bearer x'),
    status: 400,
  },
  {
    title: 'A body that no key came with, however broken, is not looked at',
    send: lines('POST /v1/executions HTTP/1.1', host, json, 'Content-Length: 1') + '{',
    status: 401,
  },
  { title: 'A path that is not there, without a key', send: get('/secret'), status: 401 },
]

describe('Hostile HTTP', () => {
  let door: TestDoor
  let site: Awaited<ReturnType<typeof folder>>
  before(async () => {
    site = await folder()
    const served = join(site.path, 'a', 'b', 'c')
    // Found by a path that climbs by two or three folders.
    for (const above of [join(site.path, 'a'), site.path]) {
      await mkdir(join(above, 'etc'), { recursive: true })
      await writeFile(join(above, 'etc', 'passwd'), 'SECRET=1')
    }
    await mkdir(served, { recursive: true })
    await writeFile(join(served, '.env'), 'SECRET=1')
    door = await openDoor({ limits, site: served })
  })
  after(async () => {
    await door.gateway.close()
    await site[Symbol.asyncDispose]()
  })

  test('A refused Host is told which key of the configuration makes its name known', async () => {
    const answer = await raw(door.activePort, get('/livez', 'Host: mayfly.example'))
    assert.match(answer, /"message":"[^"]*set server\.host to it"/)
    const known = serverNames('mayfly.example', () => door.staticPort)
    assert.ok(known.knows({ name: 'mayfly.example', port: '443' }, undefined))
  })

  for (const { title, send, status, code, to } of attacks) {
    test(`${title} is ${status}, and nothing runs`, async () => {
      const answer = await raw(to === 'static' ? door.staticPort : door.activePort, send)
      assert.equal(statusOf(answer), status, answer)
      assert.equal(answer.match(/^HTTP\/1\.1 /gm)?.length, 1, 'one answer')
      const body = JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4)) as Record<
        string,
        unknown
      >
      assert.match(answer, /content-type: application\/problem\+json/i)
      assert.equal(body['status'], status)
      if (code !== undefined) assert.equal(body['code'], code)
      assert.equal(door.jobs.length, 0)
      assert.equal((await call(`${door.gateway.activeUrl}/livez`)).status, 200)
    })
  }
})
