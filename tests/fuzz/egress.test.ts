import assert from 'node:assert/strict'
import { test } from 'node:test'
import { networkOf } from '../../src/contract/network.ts'
import {
  responseBodyReader,
  requestBodyReader,
  encodeChunk,
  framingOf,
  type BodyReader,
} from '../../src/egress/http-body.ts'
import { isHelloRetry, readClientHello, readSecondHello } from '../../src/egress/client-hello.ts'
import { FrameReader, frameOf } from '../../src/egress/web-socket-frames.ts'
import { readHost } from '../../src/egress/host.ts'
import { readRequestHead } from '../../src/egress/http-head.ts'
import { decide } from '../../src/egress/rules.ts'
import { readTarget } from '../../src/egress/target.ts'
import { fuzz, mutated } from './seeded.ts'

const heads = [
  'GET http://a.example:8080/p?q HTTP/1.1\r\nHost: a.example:8080\r\nAccept: */*\r\n\r\n',
  'CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n',
  'POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello',
  'POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  'GET http://[2606:4700::1111]/ HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nHost: [2606:4700::1111]\r\n\r\n',
].map((text) => Buffer.from(text))
const pieces = [
  '\r\n',
  '\n',
  '\r',
  '\0',
  ' ',
  '\t',
  '@',
  ':',
  '#',
  '?',
  '//',
  '\\',
  '%2f',
  '..',
  '\r\n\r\n',
  'Host: b.example\r\n',
  'Content-Length: 1\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Connection: host\r\n',
  'b.example',
  '127.0.0.1',
  '[::1]',
  '0x7f.1',
  '\xa0',
  '\x0b',
  '0',
  ';',
  ',',
]
const onlyA = networkOf({ allow: ['*://a.example:*'] })

test('S1-8: for any input, a request that the proxy accepts has the host, port and body that other readers see', (t) => {
  let [tried, accepted] = [0, 0]
  fuzz(t, {
    cases: 20_000,
    long: 200_000,
    attempt: (random) => {
      tried++
      const bytes = mutated(random, heads, pieces)
      const read = readRequestHead(bytes)
      if (read.kind !== 'read') return
      const head = read.value
      const target = readTarget(head)
      const framing = framingOf(head)
      if (target.kind === 'refused' || framing.kind === 'refused') return
      accepted++
      // A single host, in one spelling, equal in URL and Host header.
      assert.equal(readHost(target.host), target.host)
      const text = bytes.toString('latin1', 0, head.size)
      assert.ok(!text.includes('\0') && !/[^\r]\n|\r[^\n]/.test(text))
      assert.ok((text.match(/^host:/gim) ?? []).length <= 1)
      if (target.kind === 'request') {
        const url = new URL(head.target)
        assert.equal(url.hostname.replace(/\.$/, ''), target.host)
        assert.equal(Number(url.port || 80), target.port)
        assert.deepEqual([url.username, url.password, url.hash], ['', '', ''])
        const { verdict } = decide(onlyA, { ...target, method: head.method })
        assert.equal(
          verdict,
          url.hostname.replace(/\.$/, '') === 'a.example' ? 'allowed' : 'denied',
        )
      }
      tryBody(framing, bytes.subarray(head.size))
    },
  })
  // A reader that refuses everything would pass too.
  assert.ok(accepted > tried / 100, `${accepted} of ${tried} were accepted`)
})

/** The chunking of a body must not change its content. */
function tryBody(
  framing: Exclude<ReturnType<typeof framingOf>, { kind: 'refused' }>,
  bytes: Buffer,
) {
  const whole = bodyOf(framing, [bytes])
  const cut = bodyOf(
    framing,
    Array.from(bytes, (_, at) => bytes.subarray(at, at + 1)),
  )
  assert.deepEqual(cut, whole)
}

function bodyOf(
  framing: Parameters<typeof requestBodyReader>[0],
  parts: readonly Buffer[],
): string {
  return bodyBy(requestBodyReader(framing), parts)
}

function bodyBy(reader: BodyReader, parts: readonly Buffer[]): string {
  try {
    const own = parts.map((part) => (reader.isDone ? '' : reader.push(part).toString('latin1')))
    return own.join('') + String(reader.isDone)
  } catch (thrown) {
    if (!(thrown instanceof RangeError)) throw thrown
    return 'refused'
  }
}

const each = (bytes: Buffer) => Array.from(bytes, (_, at) => bytes.subarray(at, at + 1))

test('A chunked answer is parsed alike for any segmentation, and is re-encoded equally', (t) => {
  const framing = { kind: 'chunked' } as const
  const bodies = [
    '5\r\nhello\r\n0\r\n\r\n',
    'a;name="x"\r\n0123456789\r\n1 \r\n!\r\n0\r\nX-Sum: 1\r\n\r\n',
  ].map((text) => Buffer.from(text))
  fuzz(t, {
    cases: 20_000,
    long: 200_000,
    attempt: (random) => {
      const bytes = mutated(random, bodies, pieces)
      const whole = bodyBy(responseBodyReader(framing), [bytes])
      assert.equal(bodyBy(responseBodyReader(framing), each(bytes)), whole)
      if (!whole.endsWith('true')) return
      const anew = encodeChunk(Buffer.from(whole.slice(0, -4), 'latin1'), framing, true)
      assert.equal(bodyOf(framing, [anew]), whole)
    },
  })
})

test('WebSocket frames are parsed alike for any segmentation, and are re-encoded equally', (t) => {
  const frames = [
    frameOf(1, false, Buffer.from('hel')),
    frameOf(9, true, Buffer.from('ping')),
    frameOf(0, true, Buffer.from('lo')),
    frameOf(2, true, Buffer.alloc(200, 'x')),
  ]
  const read = (parts: readonly Buffer[]) => {
    const reader = new FrameReader('server')
    try {
      const all = parts.flatMap((part) => reader.push(part))
      const said: { opcode: number; isFinal: boolean; text: string; isLast: boolean }[] = []
      for (const { opcode, isFinal, payload, isLast } of all) {
        const open = said.at(-1)
        if (open && !open.isLast) open.text += payload.toString('latin1')
        else said.push({ opcode, isFinal, text: payload.toString('latin1'), isLast })
        said.at(-1)!.isLast = isLast
      }
      // The start of the last payload depends on the chunking.
      return said.filter(({ text, isLast }) => isLast || text !== '')
    } catch (thrown) {
      if (!(thrown instanceof RangeError)) throw thrown
      return 'refused'
    }
  }
  fuzz(t, {
    cases: 20_000,
    long: 200_000,
    attempt: (random) => {
      const bytes = mutated(random, [Buffer.concat(frames), ...frames])
      const whole = read([bytes])
      assert.deepEqual(read(each(bytes)), whole)
      if (whole === 'refused' || whole.some(({ isLast }) => !isLast)) return
      const anew = whole.map(({ opcode, isFinal, text }) =>
        frameOf(opcode, isFinal, Buffer.from(text, 'latin1')),
      )
      assert.deepEqual(read(anew), whole)
    },
  })
})

test('A mutated TLS hello is parsed, awaited or refused, and never throws', (t) => {
  // A minimal TLS ClientHello: version, random, no session, one cipher, no compression, a server name.
  const name = Buffer.from('\0\0\0\x0e\0\x0c\0\0\x09a.example', 'latin1')
  const body = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, 7),
    Buffer.from([0, 0, 2, 0x13, 1, 1, 0, 0, name.length]),
    name,
  ])
  const hello = Buffer.concat([
    Buffer.from([22, 3, 1, 0, body.length + 4, 1, 0, 0, body.length]),
    body,
  ])
  assert.equal(readClientHello(hello).kind, 'hello')
  fuzz(t, {
    cases: 20_000,
    long: 200_000,
    attempt: (random) => {
      const bytes = mutated(random, [hello])
      for (const read of [readClientHello(bytes), readSecondHello(bytes)]) {
        assert.ok(['hello', 'more', 'refused'].includes(read.kind))
        if (read.kind !== 'hello') continue
        assert.ok(read.serverName === undefined || /^[\x21-\x7e]+$/.test(read.serverName))
        assert.ok(read.size <= bytes.length)
      }
      isHelloRetry(bytes)
    },
  })
})
