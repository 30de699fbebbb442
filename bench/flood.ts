/**
 * Cost of one tenant's flood for another: p50 and p99 of a quiet tenant's executions alone, and while 32 connections
 * of another tenant, limited to two concurrent jobs, send as fast as they are answered. The flood runs in its own
 * process, so only the server and the machine are shared.
 *
 *     node bench/flood.ts [--jobs 400] [--json]
 */
import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { figures, timed } from '../src/lib/measure.ts'

const BIN = fileURLToPath(new URL('../bin/mayfly.js', import.meta.url))
const CONNECTIONS = 32
const BETWEEN_MS = 2
const WARM_JOBS = 50
const WAIT_MS = { least: 10, spread: 20 }

const [url, key] = process.env['MAYFLY_BENCH_FLOOD']?.split(' ') ?? []
if (url && key) await flood(url, key)
else await compare()

async function compare(): Promise<void> {
  const { values: flags } = parseArgs({
    options: { jobs: { type: 'string', default: '400' }, json: { type: 'boolean' } },
  })
  const jobs = Math.min(10_000, Math.max(100, Number(flags.jobs) || 400))
  const state = mkdtempSync(path.join(os.tmpdir(), 'mayfly-bench-'))
  const config = path.join(state, 'mayfly.toml')
  writeFileSync(config, '[[tenants]]\nname = "flood"\nceilings = { concurrency = 2 }\n')
  const flooder = await keyOf('flood', state, config)
  const quiet = await keyOf('default', state, config)
  const server = mayfly(['serve', '--port', '0', '--config', config, '--state', state, '--json'])
  try {
    const { active } = JSON.parse(await firstLine(server)) as { active: string }
    const where = `${active}/v1/executions`
    await whenReady(active)
    await measure(where, quiet, WARM_JOBS)
    const alone = await measure(where, quiet, jobs)
    const flooding = fork(fileURLToPath(import.meta.url), {
      env: { ...process.env, MAYFLY_BENCH_FLOOD: `${where} ${flooder}` },
    })
    await once(flooding, 'message')
    const flooded = await measure(where, quiet, jobs)
    flooding.send('enough')
    const [answers] = (await once(flooding, 'message')) as [unknown]
    const times = { p50: flooded.p50 / alone.p50, p99: flooded.p99 / alone.p99 }
    const report = { alone, flooded, times, flood: answers }
    console.log(JSON.stringify(report, undefined, flags.json ? 0 : 2))
  } finally {
    server.kill('SIGTERM')
    await once(server, 'exit')
    for (const place of [state, `${state}-warden`]) rmSync(place, { recursive: true, force: true })
  }
}

async function measure(where: string, bearer: string, jobs: number) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const samples: number[] = []
  for (let n = 0; n < jobs; n++) {
    samples.push(await timed(() => execute(where, bearer, agent)))
    await sleep(BETWEEN_MS)
  }
  agent.destroy()
  return figures(samples)
}

async function flood(where: string, bearer: string): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS })
  const answers: Record<string, number> = {}
  const over = new AbortController()
  process.once('message', () => over.abort())
  const flow = async (): Promise<void> => {
    while (!over.signal.aborted) {
      const status = await execute(where, bearer, agent)
      answers[status] = (answers[status] ?? 0) + 1
      if (status !== 200) await sleep(WAIT_MS.least + Math.random() * WAIT_MS.spread)
    }
  }
  const flows = Array.from({ length: CONNECTIONS }, flow)
  await sleep(1_000)
  process.send?.('under way')
  await Promise.all(flows)
  process.send?.(answers, () => process.exit())
}

async function execute(where: string, bearer: string, agent: Agent): Promise<number> {
  const headers = { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' }
  const asked = request(where, { method: 'POST', agent, headers })
  asked.end('{"code":"return input + 1","input":1}')
  const [answer] = (await once(asked, 'response')) as [
    { readonly statusCode: number } & AsyncIterable<Buffer>,
  ]
  for await (const chunk of answer) void chunk
  return answer.statusCode
}

async function keyOf(tenant: string, state: string, config: string): Promise<string> {
  const common = ['--config', config, '--state', state, '--json']
  const line = await firstLine(mayfly(['access', 'create', '--tenant', tenant, ...common]))
  return (JSON.parse(line) as { key: string }).key
}

function mayfly(args: readonly string[]) {
  return spawn(process.execPath, [BIN, ...args], { stdio: ['ignore', 'pipe', 'ignore'] })
}

async function firstLine(child: ReturnType<typeof mayfly>): Promise<string> {
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
  return line
}

async function whenReady(active: string): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    if ((await fetch(`${active}/readyz`)).ok) return
    await sleep(100)
  }
  throw new Error('The server did not become ready')
}
