import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, readdir, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { connect as connectPlain, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { connect, createServer, type ConnectionOptions, type TlsOptions } from 'node:tls'
import { WebSocket } from 'ws'
import { developmentCertificate } from '../../src/gateway/http/development-authority.ts'
import type { Emitter } from '../../src/contract/event.ts'
import type { Tls } from '../../src/gateway/http/tls.ts'
import { adminKey, bearer, folder, openDoor, raw } from './http-door.ts'

const day = 86_400_000

async function authority() {
  const state = await folder()
  return { state, ...developmentCertificate(state.path, Date.now()) }
}

function tlsFrom({ cert, key }: { cert: string; key: string }, isLasting = false): { tls: Tls } {
  return { tls: { cert, key, isLasting } }
}

/** The status and headers of a GET, verified against an authority. */
async function get(url: string, ca: string, headers: Record<string, string> = {}) {
  const asked = request(url, { ca, headers, agent: false })
  asked.end()
  const [response] = (await once(asked, 'response')) as [
    { statusCode: number; headers: Record<string, string>; resume(): void },
  ]
  response.resume()
  return response
}

/** Protocol that a handshake negotiated, or its error. */
async function handshake(
  door: { readonly activePort: number },
  options: ConnectionOptions,
): Promise<string> {
  const socket = connect({
    port: door.activePort,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    ...options,
  })
  try {
    await once(socket, 'secureConnect')
    return socket.getProtocol() ?? 'none'
  } catch {
    return 'refused'
  } finally {
    socket.destroy()
  }
}

/** Protocol that a handshake negotiates with another server, which accepts more: the client is not the one that refuses. */
async function withLaxServer(lax: TlsOptions, options: ConnectionOptions): Promise<string> {
  const server = createServer(lax).listen(0, '127.0.0.1')
  try {
    await once(server, 'listening')
    return await handshake({ activePort: (server.address() as AddressInfo).port }, options)
  } finally {
    server.close()
  }
}

test('Both endpoints use TLS with a certificate of the development CA (S0-17)', async () => {
  const { state, authority: ca, ...own } = await authority()
  await using _ = state
  await using door = await openDoor(tlsFrom(own))
  assert.match(door.gateway.activeUrl, /^https:/)
  const health = await get(`${door.gateway.activeUrl}/livez`, ca)
  assert.equal(health.statusCode, 200)
  assert.equal((await get(`https://localhost:${door.staticPort}/`, ca)).statusCode, 200)
  assert.equal(health.headers['strict-transport-security'], undefined)
})

test('A renewed certificate is used from the next connection on, and one that does not fit its key is not', async () => {
  const { state, authority: ca, cert, key } = await authority()
  await using _ = state
  const files = { cert: join(state.path, 'live', 'cert.pem'), key: join(state.path, 'key.pem') }
  // As certbot and Kubernetes do: a link that is replaced.
  const put = async (name: string, pair: { readonly cert: string; readonly key: string }) => {
    await mkdir(join(state.path, name))
    await writeFile(join(state.path, name, 'cert.pem'), pair.cert)
    await symlink(name, join(state.path, 'next'))
    await rename(join(state.path, 'next'), join(state.path, 'live'))
    await writeFile(files.key, pair.key)
  }
  await put('first', { cert, key })
  const renewals: unknown[] = []
  const emit: Emitter['emit'] = (point, fields = {}) =>
    void (point === 'server/certificate' && renewals.push(fields['renewed']))
  await using door = await openDoor({
    tls: { cert, key, isLasting: false, files },
    emitter: { emit },
  })
  const inUse = async () => {
    const options = { port: door.activePort, host: '127.0.0.1', servername: 'localhost', ca }
    const socket = connect(options)
    await once(socket, 'secureConnect')
    const { raw: used } = socket.getPeerCertificate()
    socket.destroy()
    return new X509Certificate(used).toString()
  }
  assert.equal(await inUse(), new X509Certificate(cert).toString())
  assert.deepEqual(renewals, [])

  const renewed = developmentCertificate(state.path, Date.now())
  await put('second', { cert: renewed.cert, key })
  assert.equal(await inUse(), new X509Certificate(cert).toString(), 'its key is still to come')
  assert.equal(await inUse(), new X509Certificate(cert).toString())
  assert.deepEqual(renewals, [false])
  await writeFile(files.key, renewed.key)
  for (let n = 0; n < 2; n++)
    assert.equal(await inUse(), new X509Certificate(renewed.cert).toString())
  assert.deepEqual(renewals, [false, true])
  assert.equal(await handshake(door, { maxVersion: 'TLSv1.1', minVersion: 'TLSv1' }), 'refused')
  await rm(files.key)
  assert.equal(await inUse(), new X509Certificate(renewed.cert).toString())
  assert.deepEqual(renewals, [false, true, false])
})

test('A WebSocket over TLS streams a job (S0-17)', async () => {
  const { state, authority: ca, ...own } = await authority()
  await using _ = state
  await using door = await openDoor(tlsFrom(own))
  const url = `wss://localhost:${door.activePort}/v1/executions`
  const socket = new WebSocket(url, { ca, headers: bearer(adminKey) })
  await once(socket, 'open')
  socket.send('{"code":"1"}')
  const [message] = (await once(socket, 'message')) as [Buffer]
  const { event, data } = JSON.parse(String(message))
  assert.deepEqual([event, data.status], ['outcome', 'ok'])
  await once(socket, 'close')
})

test('Old protocols and weak ciphers are refused, current ones agreed on (S0-17)', async () => {
  const { state, ...own } = await authority()
  await using _ = state
  await using door = await openDoor(tlsFrom(own))
  for (const version of ['TLSv1', 'TLSv1.1'] as const) {
    const old = { minVersion: version, maxVersion: version, ciphers: 'DEFAULT@SECLEVEL=0' } as const
    assert.equal(await handshake(door, old), 'refused', version)
    assert.equal(await withLaxServer({ ...own, ...old }, old), version)
  }
  for (const ciphers of ['ECDHE-ECDSA-AES128-SHA', 'ECDHE-ECDSA-AES256-SHA384']) {
    const weak = { maxVersion: 'TLSv1.2', ciphers } as const
    assert.equal(await handshake(door, weak), 'refused', ciphers)
    assert.equal(await withLaxServer({ ...own, ...weak }, weak), 'TLSv1.2', ciphers)
  }
  const fair = { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' } as const
  assert.equal(await handshake(door, fair), 'TLSv1.2')
  assert.equal(await handshake(door, {}), 'TLSv1.3')
})

test('Plain HTTP on a TLS port is answered with 400 in plain text, and an invalid handshake is disconnected', async () => {
  const { state, ...own } = await authority()
  await using _ = state
  await using door = await openDoor(tlsFrom(own))
  const upgrade = 'GET /v1/executions HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n'
  for (const port of [door.staticPort, door.activePort])
    for (const asked of ['GET /livez HTTP/1.1\r\nHost: a\r\n\r\n', upgrade])
      assert.match(
        await raw(port, asked),
        /^HTTP\/1\.1 400 Bad Request\r\ncontent-type: text\/plain[^]*\r\n\r\nThis port speaks TLS: use https:/,
      )
  const socket = connectPlain(door.activePort, '127.0.0.1')
  const closed = new Promise((resolve) => socket.once('close', resolve))
  socket.on('error', () => undefined)
  socket.write(Buffer.from([0x16, 0x03, 0x01, 0x00, 0x05, 1, 2, 3, 4, 5]))
  socket.resume()
  await closed
  assert.equal(await handshake(door, {}), 'TLSv1.3')
})

test('Off loopback with a configured certificate the server sends Strict-Transport-Security', async () => {
  const { state, authority: ca, ...own } = await authority()
  await using _ = state
  await using door = await openDoor({ host: '0.0.0.0', ...tlsFrom(own, true) })
  const { headers } = await get(`https://127.0.0.1:${door.activePort}/livez`, ca)
  assert.match(headers['strict-transport-security'] ?? '', /max-age=\d+/)
})

test('Off loopback without TLS no port is opened', async () => {
  await assert.rejects(openDoor({ host: '0.0.0.0' }), { code: 'CONFIG' })
})

test('A key of another certificate and an invalid certificate are refused', async () => {
  const { state, cert, key } = await authority()
  await using _ = state
  const other = developmentCertificate(state.path, Date.now())
  await assert.rejects(openDoor(tlsFrom({ cert, key: other.key })), { code: 'CONFIG' })
  await assert.rejects(openDoor(tlsFrom({ cert: 'no', key })), { code: 'CONFIG' })
})

test('The development CA is kept, its server certificates are not, and it is constrained to loopback', async () => {
  const { state, cert, authority: ca } = await authority()
  await using _ = state
  const again = developmentCertificate(state.path, Date.now())
  assert.equal(again.authority, ca)
  assert.notEqual(again.cert, cert)
  const [server, issuer] = [new X509Certificate(cert), new X509Certificate(ca)]
  assert.ok(server.verify(issuer.publicKey))
  assert.ok(server.checkIssued(issuer))
  assert.ok(issuer.ca && !server.ca)
  assert.equal(server.checkHost('localhost'), 'localhost')
  assert.equal(server.checkIP('127.0.0.1'), '127.0.0.1')
  assert.equal(server.checkHost('example.com'), undefined)
  const days = (Date.parse(server.validTo) - Date.parse(server.validFrom)) / day
  assert.ok(days > 89 && days < 98, 'ninety days, and a week for clocks that are slow')
  assert.ok(issuer.raw.includes(Buffer.from('localhost')), 'its name constraints')
  for (const name of await readdir(state.path)) {
    const { mode } = await stat(`${state.path}/${name}`)
    assert.equal(mode & (name.endsWith('.key') ? 0o077 : 0o022), 0, name)
  }
})
