import assert from 'node:assert/strict'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { RequestBodies } from './body.ts'
import { defaultLimits } from './limits.ts'

const bodies = new RequestBodies(defaultLimits)
const outgoing = {} as ServerResponse

function requestOf(bytes: Buffer, encoding: string): IncomingMessage {
  const headers = { 'content-type': 'application/json', 'content-encoding': encoding }
  return Object.assign(Readable.from([bytes]), { headers }) as unknown as IncomingMessage
}

test('A compressed body is refused by the name of its encoding, as JSON and as a file', async () => {
  const body = () => requestOf(gzipSync('{"code":"1"}'), 'gzip')
  const expected = { code: 'UNSUPPORTED_MEDIA_TYPE', message: /"Content-Encoding: gzip"/ }
  await assert.rejects(bodies.json(body(), outgoing, '', 'acme'), expected)
  const kept = bodies.bytes(body(), outgoing, 'acme', async (bytes) => bytes)
  await assert.rejects(kept, expected)
})

test('A body whose encoding is identity, in any case, or empty, is read', async () => {
  for (const encoding of ['identity', 'Identity', '']) {
    const { value } = await bodies.json(requestOf(Buffer.from('1'), encoding), outgoing, '', 'acme')
    assert.equal(value, 1)
  }
})
