import assert from 'node:assert/strict'
import { createHmac, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Anomaly } from '../../src/contract/anomaly.ts'
import { type Clock, systemClock } from '../../src/contract/clock.ts'
import { addressesFor } from '../../src/egress/dial.ts'
import { openQueue, type DeliveryQueue } from '../../src/telemetry/webhooks/queue.ts'
import { readSigner } from '../../src/telemetry/webhooks/sign.ts'
import { createWebhooks, triesMax, type Webhooks } from '../../src/telemetry/webhooks/webhooks.ts'

const secret = randomBytes(32)
const anomaly: Anomaly = {
  name: 'beaconing',
  severity: 'high',
  zone: 'main',
  at: 1,
  trust: 'host',
  subject: 'x',
  reason: 'It asked six times',
  evidence: [],
}
const told = { tenant: 'acme', run: 'exec_1', anomaly }

/** A clock that runs two hundred times as fast, so that back-off takes no time. */
const fast: Clock = {
  now: () => performance.now() * 200,
  date: () => 1_700_000_000_000 + performance.now() * 200,
  after(ms, then) {
    const timer = setTimeout(then, ms / 200)
    return { cancel: () => clearTimeout(timer) }
  },
}

interface Had {
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** A real HTTP receiver with scripted responses, which records its requests. */
async function receiver(answer: (had: readonly Had[], response: ServerResponse) => void) {
  const had: Had[] = []
  const server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      had.push({ headers: request.headers, body: Buffer.concat(parts).toString() })
      answer(had, response)
    })
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    had,
    url: `http://127.0.0.1:${port}/hook`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** A TCP server that answers the first bytes of each connection. */
async function rawReceiver(answer: (socket: Socket) => void) {
  const server = createTcpServer((socket) => {
    socket.on('error', () => undefined).once('data', () => answer(socket))
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/hook`,
    async [Symbol.asyncDispose]() {
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function hooks(
  url: string,
  queue: DeliveryQueue,
  lost: unknown[] = [],
  isPublic = false,
  clock = fast,
  failed: unknown[] = [],
): Webhooks {
  return createWebhooks({
    receivers: [
      {
        url,
        from: 'medium',
        signer: readSigner(`whsec_${secret.toString('base64')}`),
        addresses: isPublic
          ? (host, port) => addressesFor({ scheme: 'https', host, port }, {})
          : () => Promise.resolve(['127.0.0.1']),
      },
    ],
    queue,
    clock,
    emitter: {
      emit: (point, fields) =>
        void (point === 'webhook/lost' ? lost : failed).push(fields?.['because']),
    },
    timeoutMs: 200,
  })
}

async function until(holds: () => boolean): Promise<void> {
  for (let step = 0; !holds(); step++) {
    assert(step < 1000, 'it never came')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

test('An anomaly is delivered, signed, to a receiver that fails at first and recovers', async () => {
  await using server = await receiver((had, response) => {
    response.statusCode = had.length < 3 ? 500 : 204
    response.end('no word of this is read')
  })
  const queue = openQueue(':memory:')
  const webhooks = hooks(server.url, queue)
  webhooks.enqueue(told)
  webhooks.enqueue({ ...told, anomaly: { ...anomaly, severity: 'low' } })
  await until(() => server.had.length === 3 && queue.size === 0)
  const { headers, body } = server.had[2]!
  const signed = `${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.${body}`
  const mac = createHmac('sha256', secret).update(signed).digest('base64')
  assert.equal(headers['webhook-signature'], `v1,${mac}`)
  assert.equal((JSON.parse(body) as { data: Anomaly }).data.name, 'beaconing')
  assert.equal(new Set(server.had.map((one) => one.headers['webhook-id'])).size, 1)
  await webhooks.close()
  queue.close()
})

test('The first failure of a receiver is reported at once, and the next one only after a success', async () => {
  const statuses = [401, 401, 204, 503, 204]
  await using server = await receiver((had, response) => {
    response.statusCode = statuses[had.length - 1] ?? 204
    response.end()
  })
  const queue = openQueue(':memory:')
  const [lost, failed]: unknown[][] = [[], []]
  const webhooks = hooks(server.url, queue, lost, false, fast, failed)
  webhooks.enqueue(told)
  await until(() => server.had.length === 3 && queue.size === 0)
  assert.deepEqual(failed, ['it answered 401'])
  webhooks.enqueue(told)
  await until(() => server.had.length === 5 && queue.size === 0)
  assert.deepEqual([failed, lost], [['it answered 401', 'it answered 503'], []])
  await webhooks.close()
  queue.close()
})

test('Anomalies of the last moment are delivered before the end of a process', async () => {
  await using server = await receiver((_had, response) => void response.end())
  const queue = openQueue(':memory:')
  const webhooks = hooks(server.url, queue, [], false, systemClock)
  for (const zone of ['a', 'b', 'c']) webhooks.enqueue({ ...told, anomaly: { ...anomaly, zone } })
  await webhooks.close()
  const zones = server.had.map(({ body }) => (JSON.parse(body) as { data: Anomaly }).data.zone)
  assert.deepEqual([zones.toSorted(), queue.size], [['a', 'b', 'c'], 0])
  queue.close()
})

test('Delivery to a hanging receiver times out, and its messages are kept', async () => {
  await using server = await receiver((had, response) => {
    if (had.length > 1) response.end()
  })
  const queue = openQueue(':memory:')
  const webhooks = hooks(server.url, queue)
  webhooks.enqueue(told)
  await until(() => server.had.length === 2 && queue.size === 0)
  await webhooks.close()
  queue.close()
})

test('A receiver that answers by a change of the protocol delays a message by its retry alone', async () => {
  let connections = 0
  await using server = await rawReceiver((socket) => {
    connections += 1
    const isFirst = connections === 1
    socket.write(`HTTP/1.1 ${isFirst ? '101 Switching Protocols' : '204 No Content'}\r\n`)
    socket.write('Upgrade: other\r\nConnection: Upgrade\r\n\r\n')
  })
  const queue = openQueue(':memory:')
  const lost: unknown[] = []
  const webhooks = hooks(server.url, queue, lost)
  webhooks.enqueue(told)
  await until(() => queue.size === 0)
  assert.deepEqual([connections, lost], [2, []])
  await webhooks.close()
  queue.close()
})

test('Redirects are not followed, and after the last retry the loss is reported', async () => {
  await using elsewhere = await receiver((_, response) => response.end())
  await using server = await receiver((_, response) => {
    response.writeHead(307, { location: elsewhere.url }).end()
  })
  const queue = openQueue(':memory:')
  const lost: unknown[] = []
  const webhooks = hooks(server.url, queue, lost)
  webhooks.enqueue(told)
  await until(() => lost.length > 0)
  assert.deepEqual(lost, ['it answered 307'])
  assert.equal(server.had.length, triesMax)
  assert.equal(elsewhere.had.length, 0)
  assert.equal(queue.size, 0)
  await webhooks.close()
  queue.close()
})

test('No connection is made to a receiver at a non-public address', async () => {
  await using server = await receiver((_, response) => response.end())
  const queue = openQueue(':memory:')
  const lost: unknown[] = []
  const webhooks = hooks(server.url, queue, lost, true)
  webhooks.enqueue(told)
  await until(() => lost.length > 0)
  assert.match(String(lost[0]), /loopback/)
  assert.equal(server.had.length, 0)
  await webhooks.close()
  queue.close()
})

test('The connection goes to the address that was checked, and its name is not looked up again', async () => {
  await using server = await receiver((_, response) => response.end())
  const queue = openQueue(':memory:')
  const lost: unknown[] = []
  const webhooks = hooks(server.url.replace('127.0.0.1', 'receiver.invalid'), queue, lost)
  webhooks.enqueue(told)
  await until(() => queue.size === 0)
  assert.deepEqual(lost, [])
  assert.match(server.had[0]!.headers.host!, /^receiver\.invalid:/)
  await webhooks.close()
  queue.close()
})

test('Undelivered messages are delivered after the next start', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-webhooks-'))
  const path = join(folder, 'webhooks.db')
  try {
    let isUp = false
    await using server = await receiver((_, response) => {
      response.statusCode = isUp ? 204 : 500
      response.end()
    })
    const queue = openQueue(path)
    const before = hooks(server.url, queue)
    before.enqueue(told)
    await until(() => server.had.length > 0)
    await before.close()
    assert.equal(queue.size, 1)
    queue.close()
    isUp = true
    const attempts = server.had.length
    const later = openQueue(path)
    const after = hooks(server.url, later)
    await until(() => server.had.length > attempts && later.size === 0)
    const [id, ...others] = new Set(server.had.map(({ headers }) => headers['webhook-id']))
    assert.match(id as string, /^msg_/)
    assert.deepEqual(others, [])
    const [body = '', ...otherBodies] = new Set(server.had.map((one) => one.body))
    assert.deepEqual(otherBodies, [])
    assert.equal((JSON.parse(body) as { data: Anomaly }).data.name, 'beaconing')
    await after.close()
    later.close()
  } finally {
    rmSync(folder, { recursive: true })
  }
})
