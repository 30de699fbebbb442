import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { copyMachineState } from '../fixtures/machine-images.ts'
import { isQemuThere, noQemu } from '../walls/qemu-here.ts'
import { leasesIn, makeKey, makePlace, startServer, whenReady, type Server } from './program.ts'
import { sessionCalls } from './session-calls.ts'

/** Forked sessions of a server: their share of the network, and requests that come while a fork is made. */
const skip = isQemuThere() ? false : noQemu
const KB = 1_000
const sent = 40 * KB

suite('Sessions that share a fork', { skip, timeout: 1_800_000 }, () => {
  const place = makePlace()
  let missing: string | undefined
  let server: Server
  let at: string
  const keys: Record<string, string> = {}
  /** Bodies that arrived outside, by path. */
  const bodies: Record<string, string> = {}
  const came = new EventEmitter()
  let arrived = 0
  const outside = createServer((request, response) => {
    const path = request.url!
    request.on('data', (piece: Buffer) => {
      arrived += piece.length
      bodies[path] = (bodies[path] ?? '') + piece.toString('latin1')
      came.emit(path)
    })
    request.on('end', () => response.end('here'))
    request.on('error', () => undefined)
  })

  before(async () => {
    missing = await copyMachineState(place.state)
    if (missing !== undefined) return
    outside.listen(0, '127.0.0.1')
    await once(outside, 'listening')
    at = `http://127.0.0.1:${(outside.address() as AddressInfo).port}`
    const file = join(place.cwd, 'forks.toml')
    writeFileSync(
      file,
      `[ceilings]
network = { allow = [{ host = "${at}", private = true }] }

[[tenants]]
name = "default"

[[tenants]]
name = "small"
ceilings = { concurrency = 4 }
`,
    )
    server = await startServer(place, ['--config', file])
    await whenReady(server)
    for (const name of ['default', 'small']) keys[name] = makeKey(place, name)
  })
  after(async () => {
    outside.closeAllConnections()
    outside.close()
    if (missing === undefined) {
      assert.deepEqual(await server.stop(), { code: 0, left: [] })
      assert.deepEqual(leasesIn(place), [])
      await server[Symbol.asyncDispose]()
    }
    place.remove()
  })

  const { ask, opened, ran, end } = sessionCalls(() => server, keys, 'default')
  const fork = (id: string, children: number, key = 'default') =>
    ask('POST', `/v1/sandboxes/${id}/fork`, { children }, key)

  async function forked(id: string, children: number): Promise<readonly string[]> {
    const { status, body } = await fork(id, children)
    assert.equal(status, 201, JSON.stringify(body))
    return body.children.map((one: { id: string }) => one.id)
  }

  async function listed(key = 'default'): Promise<readonly string[]> {
    const { body } = await ask('GET', '/v1/sandboxes', undefined, key)
    return body.items.map((one: { id: string }) => one.id)
  }

  /** Python that posts bytes, and one body in pieces by a connection that is open meanwhile. */
  const posts = () => `import http.client, os, urllib.parse
proxy = urllib.parse.urlsplit(os.environ['http_proxy'])
connection = lambda: http.client.HTTPConnection(proxy.hostname, proxy.port, timeout=20)
def post(count):
    try:
        own = connection()
        own.request('POST', '${at}/post', body=b'x' * count)
        return own.getresponse().status
    except Exception as error: return type(error).__name__
kept = connection()
kept.auto_open = 0
def begin(piece):
    kept.connect()
    kept.putrequest('POST', '${at}/kept')
    kept.putheader('Transfer-Encoding', 'chunked')
    kept.endheaders()
    kept.send(b'%x\\r\\n%s\\r\\n' % (len(piece), piece))
def finish(piece):
    try:
        kept.send(b'%x\\r\\n%s\\r\\n0\\r\\n\\r\\n' % (len(piece), piece))
        return kept.getresponse().read().decode()
    except Exception as error: return type(error).__name__`

  test('Children, and those of a child, send no more together than their parent had left, also after its end; another session has its own budget', async (t) => {
    if (missing !== undefined) return t.skip(missing)
    const network = { allow: [at], sent }
    const parent = await opened({ network })
    await ran(parent, posts())
    assert.equal(await ran(parent, `post(${16 * KB})`), 200)
    const children = await forked(parent, 3)
    const [first, second, third] = children
    assert.equal(await ran(first!, `post(${16 * KB})`), 200)
    assert.notEqual(await ran(second!, `post(${16 * KB})`), 200)
    const [grandchild] = await forked(first!, 1)
    assert.notEqual(await ran(grandchild!, `post(${16 * KB})`), 200)
    assert.notEqual(await ran(parent, `post(${16 * KB})`), 200)
    await end(parent)
    assert.notEqual(await ran(third!, `post(${16 * KB})`), 200)
    assert.ok(arrived >= 32 * KB && arrived <= sent, `${arrived} bytes arrived`)
    const other = await opened({ network })
    await ran(other, posts())
    assert.equal(await ran(other, `post(${16 * KB})`), 200)
    for (const one of [...children, grandchild!, other]) await end(one)
  })

  test('A child sends nothing on a connection that its parent has open at the fork and goes on with', async (t) => {
    if (missing !== undefined) return t.skip(missing)
    const parent = await opened({ network: { allow: [at] } })
    await ran(parent, posts())
    const begun = once(came, '/kept', { signal: AbortSignal.timeout(60_000) })
    await ran(parent, 'begin(b"before ")')
    await begun
    const [child] = await forked(parent, 1)
    assert.notEqual(await ran(child!, 'finish(b"stolen ")'), 'here')
    assert.equal(await ran(child!, 'post(10)'), 200)
    assert.equal(await ran(parent, 'finish(b"after")'), 'here')
    assert.equal(bodies['/kept'], 'before after')
    for (const one of [parent, child!]) await end(one)
  })

  test('A session is shown while it is forked; one that is ended then, or before, leaves no child that is listed', async (t) => {
    if (missing !== undefined) return t.skip(missing)
    const id = await opened()
    await ran(id, 'x = 20')
    const making = fork(id, 2)
    assert.equal((await ask('GET', `/v1/sandboxes/${id}`)).status, 200)
    const made = await making
    assert.equal(made.status, 201, JSON.stringify(made.body))
    const children: string[] = made.body.children.map((one: { id: string }) => one.id)
    const all = await listed()
    for (const one of [id, ...children]) assert.ok(all.includes(one), one)
    for (const one of children) await end(one)
    const [ending, late] = await Promise.all([end(id), fork(id, 2)])
    assert.equal(ending.body.status, 'ok')
    const ids = (late.body.children ?? []).map((one: { id: string }) => one.id)
    if (late.status !== 201)
      assert.match(late.body.code, /^(?:SESSION_ENDED|UNAVAILABLE|NOT_FOUND|CONFLICT)$/)
    for (const one of ids) await end(one)
    assert.equal((await fork(id, 1)).body.code, 'SESSION_ENDED')
    assert.deepEqual(await listed(), [])
  })

  test('Two forks at once for a tenant at its limit: one gets all its children, the other none', async (t) => {
    if (missing !== undefined) return t.skip(missing)
    const both = [await opened({}, 'small'), await opened({}, 'small')]
    for (const one of both) await ran(one, 'x = 20', 'small')
    const answers = await Promise.all(both.map((one) => fork(one, 2, 'small')))
    const codes = answers.map(({ status }) => status).sort((a, b) => a - b)
    assert.deepEqual(codes, [201, 429], JSON.stringify(answers))
    const children = answers.flatMap(({ body }) => body.children ?? [])
    assert.equal(children.length, 2)
    assert.equal((await listed('small')).length, 4)
    for (const { id } of children) assert.equal(await ran(id, 'x', 'small'), 20)
    for (const one of await listed('small')) await end(one, 'small')
  })
})
