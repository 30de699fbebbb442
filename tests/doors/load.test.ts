import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { Agent, request, type IncomingHttpHeaders } from 'node:http'
import { join } from 'node:path'
import { after, before } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from '../fixtures/drawn.ts'
import { makeKey, makePlace, startServer, whenReady } from './program.ts'
import type { Place, Server } from './program.ts'

const isLong = process.env['MAYFLY_LONG'] !== undefined
const burst = isLong ? 20_000 : 2_000
const connections = 400
/** Maximum growth of a server by a burst: heap and caches that were cold before. */
const grownMiBMax = 192
/** Jobs of the quiet tenant, run alone and again during the flood of the other tenant. */
const quietJobs = isLong ? 1000 : 100
/** The promised ratio is two; the rest is a margin for other load on the test machine. */
const slower = { times: 5, plusMs: 250, msMax: 2000 }
/** Retries: a stall of the machine does not repeat each time. */
const triesMax = 3

/** Concurrent jobs per tenant; further requests are refused. */
const tenants = [
  ['flood', 2],
  ['many', 100],
  ['quiet', 2],
] as const
const keys: Partial<Record<(typeof tenants)[number][0], string>> = {}
let place: Place
let server: Server

before(async () => {
  place = makePlace()
  const config = join(place.cwd, 'load.toml')
  const tables = tenants.map(
    ([name, concurrency]) =>
      `[[tenants]]\nname = "${name}"\nceilings = { concurrency = ${concurrency} }\n`,
  )
  writeFileSync(config, tables.join('\n'))
  server = await startServer(place, ['--config', config])
  for (const [tenant] of tenants) keys[tenant] = makeKey(place, tenant)
  await whenReady(server)
})
after(async () => {
  await server[Symbol.asyncDispose]()
  place.remove()
})

test('S0-12: In a burst each request gets an outcome or a retry time, and the server grows by less than its bound', async (t) => {
  using client = clientOf(connections)
  const run = (name: keyof typeof keys) => client.execute(keys[name]!, 'return input + 1', 1)
  for (let warm = 0; warm < 5; warm++) assert.equal((await run('many')).status, 200)
  const before = residentMiB(server.pid)

  const start = performance.now()
  const all = await Promise.all(
    Array.from({ length: burst }, (_, n) => run(n % 2 === 0 ? 'flood' : 'many')),
  )
  const counts = Object.groupBy(all, ({ status }) => String(status))
  const told = Object.entries(counts).map(([status, list]) => `${list!.length} × ${status}`)
  t.diagnostic(`${told.join(', ')} in ${Math.round(performance.now() - start)} ms`)

  assert.equal(all.length, burst)
  for (const { status, headers, text } of all) {
    assert.ok([200, 429, 503].includes(status), `${status} ${text}`)
    if (status !== 200) assert.ok(Number(headers['retry-after']) >= 1, text)
    else assert.equal(JSON.parse(text).result, 2)
  }
  assert.ok((counts['200']?.length ?? 0) > 0)
  assert.ok((counts['429']?.length ?? 0) > 0)
  assert.deepEqual([server.child.exitCode, server.child.signalCode], [null, null])
  process.kill(server.pid, 0)
  assert.equal((await run('quiet')).status, 200)
  t.diagnostic(`${before} MiB before, ${residentMiB(server.pid)} MiB after`)
  await until(() => residentMiB(server.pid) <= before + grownMiBMax, 'The memory did not return')
})

test('S0-12: While one tenant floods, the p99 of another stays within a few times what it is alone', async (t) => {
  using client = clientOf(connections)
  const quiet = async (): Promise<number> => {
    const times: number[] = []
    for (let n = 0; n < quietJobs; n++) {
      const start = performance.now()
      assert.equal((await client.execute(keys['quiet']!, 'return 1', n)).status, 200)
      times.push(performance.now() - start)
    }
    return p99(times)
  }
  await quiet()
  const told: string[] = []
  for (let tries = 0; tries < triesMax; tries++) {
    const before = await quiet()
    const flood = floodOf(client, 32)
    const flooded = await quiet()
    const refused = await flood.stop()
    const alone = Math.max(before, await quiet())
    assert.ok(refused > 0, 'there was no flood')
    told.push(`p99 ${alone.toFixed(1)} ms alone, ${flooded.toFixed(1)} ms while flooded`)
    const isKept = flooded <= slower.times * alone + slower.plusMs && flooded < slower.msMax
    if (isKept) return t.diagnostic(told.join('; '))
  }
  assert.fail(told.join('; '))
})

interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

interface Client extends Disposable {
  /** Sends a request again, once, if a reused connection closed without a response. */
  execute(key: string, code: string, input: unknown): Promise<Answer>
  ask(key: string, code: string, input: unknown): Promise<Answer>
}

/** Under load many connections of a client may be closed before it is notified. */
const OLD_CONNECTIONS_MAX = 10

/** Errors of requests whose connection had answered others before. */
const onOldConnections = new WeakSet<Error>()

function isOnOldConnection(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  return error instanceof Error && code === 'ECONNRESET' && onOldConnections.has(error)
}

function clientOf(maxSockets: number): Client {
  const agent = new Agent({ keepAlive: true, maxSockets })
  const url = new URL('/v1/executions', server.active)
  return {
    async execute(key, code, input) {
      for (let tries = 1; ; tries++)
        try {
          return await this.ask(key, code, input)
        } catch (error) {
          // Race: the server may close idle connections while the next requests are in flight.
          if (!isOnOldConnection(error) || tries === OLD_CONNECTIONS_MAX) throw error
        }
    },
    ask(key, code, input) {
      const { promise, resolve, reject } = Promise.withResolvers<Answer>()
      const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
      const outgoing = request(url, { agent, method: 'POST', headers }, async (incoming) => {
        const chunks = await incoming.toArray().catch(reject)
        const { statusCode: status = 0, headers } = incoming
        if (chunks) resolve({ status, headers, text: Buffer.concat(chunks).toString() })
      })
      outgoing.on('error', (error) => {
        if (outgoing.reusedSocket) onOldConnections.add(error)
        reject(error)
      })
      outgoing.end(JSON.stringify({ code, input }))
      return promise
    },
    [Symbol.dispose]: () => agent.destroy(),
  }
}

/** Keeps `width` requests of the flooding tenant in flight; stopping it returns the number of refusals. */
function floodOf(client: Client, width: number): { stop(): Promise<number> } {
  const over = new AbortController()
  let refused = 0
  const flow = async (): Promise<void> => {
    while (!over.signal.aborted) {
      const { status } = await client.execute(keys['flood']!, 'return 1', null)
      if (status === 200) continue
      refused += 1
      await sleep(10 + Math.random() * 20)
    }
  }
  const flows = Array.from({ length: width }, flow)
  return {
    async stop() {
      over.abort()
      await Promise.all(flows)
      return refused
    },
  }
}

function p99(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[Math.ceil(times.length * 0.99) - 1]!
}

function residentMiB(pid: number): number {
  const kiB = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Math.round(Number(kiB) / 1024)
}

async function until(isSo: () => boolean, otherwise: string): Promise<void> {
  const end = performance.now() + 10_000
  while (!isSo()) {
    assert.ok(performance.now() < end, otherwise)
    await sleep(100)
  }
}
