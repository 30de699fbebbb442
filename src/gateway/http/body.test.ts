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

test('A body is parsed and used in one turn of its sender', async () => {
  const played = new RequestBodies(defaultLimits)
  const turns: string[] = []
  let isTurn = false
  played.turn = async (of, work) => {
    turns.push(of)
    isTurn = true
    const done = work()
    isTurn = false
    return done
  }
  const use = ({ value }: { readonly value: unknown }) => [value, isTurn]
  const asked = { keep: '', of: 'acme', use }
  const request = requestOf(Buffer.from('1'), '')
  assert.deepEqual(await played.jsonAs(request, outgoing, asked), [1, true])
  assert.deepEqual(turns, ['acme'])
})
