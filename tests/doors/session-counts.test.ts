import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { assemble } from '../../src/assemble/assemble.ts'
import { loadConfig } from '../../src/config/load.ts'
import { systemClock } from '../../src/contract/clock.ts'
import type { Outcome } from '../../src/contract/outcome.ts'
import { startWarden } from '../../src/sdk/start-warden.ts'
import { execJob, readExec, readSession, sessionJob } from '../../src/sessions/session-job.ts'
import { isSampled, test } from '../fixtures/drawn.ts'
import { unable } from '../walls/process-stands.ts'
import { makeKey, makePlace, startServer, whenReady, type Server } from './program.ts'

/** Slots and memory used by many sessions, and counters that return to zero. */
const isLong = process.env['MAYFLY_LONG'] !== undefined
const opensAll = isLong ? 1000 : isSampled ? 15 : 30
/** Number of opened sessions after which the server has reached its stable size. */
const opensFirst = 300
const growthBytesMax = 32 * 2 ** 20
const MiB = 2 ** 20
const skip = unable('python')

/** A tenant may use six of eight slots; waiting for a free one would outlast the test. */
const config = `
[server]
jobs = 8
queue_wait = "30m"

[limits]
memory = "64MB"

[[tenants]]
name = "large"

[[tenants]]
name = "small"
ceilings = { concurrency = 2 }
`
const bounds = { large: 6, small: 2 } as const
type TenantName = keyof typeof bounds

test(
  'two tenants open and close sessions: limits hold throughout, and refusals are immediate with a retry time',
  { skip },
  async (t) => {
    const place = makePlace()
    try {
      const file = join(place.cwd, 'counts.toml')
      writeFileSync(file, config)
      await using server = await startServer(place, ['--config', file])
      const keys = { large: makeKey(place, 'large'), small: makeKey(place, 'small') }
      await whenReady(server)
      const clients = {
        large: new Client(server, keys.large),
        small: new Client(server, keys.small),
      }
      let opens = 0
      let grown = 0
      const churn = async (tenant: TenantName) => {
        while (opens < opensAll) {
          if (!(await clients[tenant].visit(bounds[tenant]))) continue
          if (++opens === opensFirst) grown = residentBytes(server)
        }
      }
      const lanes = (tenant: TenantName) =>
        Array.from({ length: bounds[tenant] + 2 }, () => churn(tenant))
      await Promise.all([...lanes('large'), ...lanes('small')])
      for (const tenant of ['large', 'small'] as const) {
        const client = clients[tenant]
        t.diagnostic(`${tenant}: ${client.opened} opened, ${client.refused} refused`)
        assert.ok(client.most >= 1 && client.most <= bounds[tenant], `${client.most} at once`)
        assert.equal(await client.listed(), 0)
        await client.fill(bounds[tenant])
      }
      const now = residentBytes(server)
      if (isLong) {
        t.diagnostic(`${grown / MiB} MiB after ${opensFirst} opens, ${now / MiB} after ${opensAll}`)
        assert.ok(now - grown < growthBytesMax, `${now - grown} bytes more`)
      }
      const { left } = await server.stop()
      assert.deepEqual(left, [])
    } finally {
      place.remove()
    }
  },
)

test(
  'an idle session ended for low memory has that reason, and opening is refused when no memory is left',
  { skip },
  async () => {
    const state = mkdtempSync(join(tmpdir(), 'mayfly-session-memory-'))
    const { config: own } = loadConfig({ object: { state }, env: {}, cwd: state })
    const warden = await startWarden({ stateFolder: state, memoryBytes: 300 * MiB })
    try {
      await using assembly = assemble({
        config: own,
        warden,
        kind: 'library',
        budget: { memory: 700 * MiB },
      })
      const who = { tenant: 'default', principal: 'test', origin: 'library' } as const
      const { signal } = new AbortController()
      const open = (memory: number) => {
        const asked = readSession({ language: 'python', limits: { memory } })
        const job = sessionJob(asked, who, systemClock)
        return { asked, job, opening: assembly.sessions.open(job, { signal }) }
      }
      const lives: Outcome[] = []
      for (let n = 0; n < 3; n++) {
        const { asked, job, opening } = open(160 * MiB)
        const opened = await opening
        assert.ok(opened.kind === 'open', JSON.stringify(opened))
        const { session } = opened
        const held = assembly.sessions.held.add(session, job, asked)
        const run = execJob(readExec({ code: late }), { id: session.id, asked }, who, systemClock)
        const outcome = await held.exec(run, {})
        assert.equal(outcome.status, 'ok', JSON.stringify(outcome.error))
        void session.ended.then((life) => lives.push(life))
      }
      for (let tries = 0; tries < 1500 && lives.length === 0; tries++) await sleep(20)
      const [ended] = lives
      assert.deepEqual([ended?.status, ended?.error?.code], ['failed', 'HOST_MEMORY'])
      assert.ok(ended?.timeline.some(({ event }) => event === 'terminated'))
      const tooLarge = await open(701 * MiB).opening
      assert.ok(tooLarge.kind === 'ended')
      const { status, error } = tooLarge.outcome
      assert.deepEqual([status, error?.code], ['unavailable', 'UNAVAILABLE'])
    } finally {
      for (const folder of [state, `${state}-warden`])
        rmSync(folder, { recursive: true, force: true })
    }
  },
)

/** Keeps allocating after its exec, until the machine is short of memory. */
const late = `
import threading, time
held = []
def grow():
    time.sleep(0.5)
    for _ in range(14):
        held.append(b"x" * (10 * 2**20))
        time.sleep(0.02)
threading.Thread(target=grow).start()`

/** A tenant that counts its open sessions. */
class Client {
  opened = 0
  refused = 0
  most = 0
  readonly #server: Server
  readonly #key: string
  #open = 0

  constructor(server: Server, key: string) {
    this.#server = server
    this.#key = key
  }

  /** Opens a session, runs in it and closes it; where it is refused, waits a moment. True if it was opened. */
  async visit(bound: number): Promise<boolean> {
    const id = await this.#opened(bound)
    if (id === undefined) {
      await sleep(100)
      return false
    }
    const run = await this.#ask('POST', `/v1/sandboxes/${id}/run`, { code: '20 + 1' })
    assert.equal(((await run.json()) as { result: unknown }).result, 21)
    await this.#close(id)
    return true
  }

  /** Opens the allowed number of sessions, expects the next to be refused, and closes them. */
  async fill(bound: number): Promise<void> {
    const ids: string[] = []
    for (let n = 0; n < bound; n++) ids.push((await this.#opened(bound)) ?? assert.fail(`${n}`))
    assert.equal(await this.#opened(bound), undefined)
    for (const id of ids) await this.#close(id)
  }

  async listed(): Promise<number> {
    const answer = await this.#ask('GET', '/v1/sandboxes')
    return ((await answer.json()) as { items: unknown[] }).items.length
  }

  async #opened(bound: number): Promise<string | undefined> {
    let answer = await this.#ask('POST', '/v1/sandboxes', { language: 'python' })
    // If no analysis began for ten seconds, the machine answers with a retry time.
    for (let tries = 0; answer.status === 503 && tries < 3; tries++) {
      await sleep(Number(answer.headers.get('retry-after')) * 1000)
      answer = await this.#ask('POST', '/v1/sandboxes', { language: 'python' })
    }
    const body = (await answer.json()) as { id: string; code: string }
    if (answer.status === 429) {
      assert.equal(body.code, 'RATE_LIMITED')
      assert.ok(Number(answer.headers.get('retry-after')) >= 1)
      this.refused++
      return undefined
    }
    assert.equal(answer.status, 201, JSON.stringify(body))
    this.opened++
    this.most = Math.max(this.most, ++this.#open)
    assert.ok(this.#open <= bound, `${this.#open} are open`)
    return body.id
  }

  async #close(id: string): Promise<void> {
    this.#open--
    const answer = await this.#ask('DELETE', `/v1/sandboxes/${id}`)
    assert.equal(answer.status, 200, await answer.text())
  }

  #ask(method: string, path: string, body?: unknown): Promise<Response> {
    return fetch(new URL(path, this.#server.active), {
      method,
      headers: { authorization: `Bearer ${this.#key}`, 'content-type': 'application/json' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
  }
}

function residentBytes({ pid }: Server): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024
}
