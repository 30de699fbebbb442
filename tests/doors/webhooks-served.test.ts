import assert from 'node:assert/strict'
import { createHmac, randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Outcome } from '../../src/index.ts'
import { until } from '../conformance/stand.ts'
import { bearer, post } from './http-door.ts'
import { makePlace, startServer, whenReady } from './program.ts'

/** Deadline of a notification; the first is sent at once, the retry after a second of back-off. */
const deadlineMs = 60_000
/** Time from an anomaly to its first notification, in one of the tries: a stall of the machine does not repeat each time. */
const toldMsMax = 2000
const triesMax = 4

interface Received {
  readonly at: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** Receiver that fails the first time. */
async function openReceiver() {
  const received: Received[] = []
  const server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      const { headers } = request
      received.push({ at: Date.now(), headers, body: Buffer.concat(parts).toString() })
      response.statusCode = received.length === 1 ? 500 : 204
      response.end()
    })
  })
  await new Promise<void>((listening) => void server.listen(0, '127.0.0.1', listening))
  const { port } = server.address() as AddressInfo
  return {
    /** The first `count` of all that came. */
    async first(count: number): Promise<readonly Received[]> {
      await until(() => received.length >= count, `${count} to come`, deadlineMs)
      return received.slice(0, count)
    },
    url: `http://127.0.0.1:${port}/hook`,
    [Symbol.dispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}

test('S4-53: a terminated run is reported to its webhook, signed, and retried after a failure', async (t) => {
  using receiver = await openReceiver()
  const place = makePlace()
  const secret = randomBytes(32)
  const secretFile = join(place.cwd, 'webhook.secret')
  writeFileSync(secretFile, `whsec_${secret.toString('base64')}`)
  const config = join(place.cwd, 'webhooks.toml')
  writeFileSync(
    config,
    `[[webhooks]]\nurl = "${receiver.url}"\nsecret_file = "${secretFile}"\nfrom = "high"\nprivate = true\n`,
  )
  const server = await startServer(place, ['--config', config])
  await using _server = server
  await whenReady(server)
  const code = `for (let n = 0; n < 1000; n++) await fetch('https://h' + n + '.example.org/').catch(() => {})`
  const job = { code, network: { allow: ['api.example.com'] } }
  /** Runs the job, and returns its id and the earliest time at which it can have had its last anomaly. */
  const terminated = async () => {
    const askedAt = Date.now()
    const answer = await post(`${server.active}/v1/executions`, job, bearer(server.apiKey))
    assert.deepEqual([answer.status, answer.json['status']], [200, 'terminated'], answer.text)
    const { id, timeline } = answer.json as unknown as Outcome
    return { id, oddAt: askedAt + timeline.findLast(({ event }) => event === 'anomaly')!.at }
  }
  const { id, oddAt } = await terminated()

  const [failed, taken] = (await receiver.first(2)) as [Received, Received]
  assert.equal(failed.headers['webhook-id'], taken.headers['webhook-id'])
  assert.equal(failed.body, taken.body)
  for (const { headers, body } of [failed, taken]) {
    const signed = `${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.${body}`
    const mac = createHmac('sha256', secret).update(signed).digest('base64')
    assert.equal(headers['webhook-signature'], `v1,${mac}`)
  }
  const event = JSON.parse(taken.body) as Record<string, any>
  assert.equal(event['type'], 'dev.mayfly.anomaly.found')
  assert.deepEqual([event['data'].name, event['data'].severity], ['denied-burst', 'high'])
  assert.ok(taken.body.includes(id), 'it names the run')
  const took = [failed.at - oddAt]
  while (took.at(-1)! > toldMsMax && took.length < triesMax) {
    const again = await terminated()
    const all = await receiver.first(2 + took.length)
    took.push(all.at(-1)!.at - again.oddAt)
  }
  t.diagnostic(`told within ${took.join()} ms, again ${taken.at - failed.at} ms later`)
  assert.ok(took.at(-1)! <= toldMsMax, `told after ${took.join()} ms`)
  await server.stop()
  place.remove()
})
