/**
 * Effects over HTTP at three concurrencies, beside a bare hono handler that computes the same in process, and
 * workerd's dynamic loader, which also makes a worker per request; with the overhead between them, and the
 * bottleneck of each.
 *
 *     npm ci --prefix bench/others    # workerd; without it that side is left out
 *     node bench/server.ts [--seconds 3] [--at 1,8,64] [--json]
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { Agent, request } from 'node:http'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { figures, rate, timed } from '../src/lib/measure.ts'
import { childrenOf } from '../src/os/proc.ts'
import { answer, code, input } from './contenders.ts'

const SECONDS_MAX = 60
const WARM_MS = 1_000
/** USER_HZ of process times in /proc. */
const TICK_MS = 10
/** Share of the cores from which the machine counts as saturated. */
const FULL = 0.9
const KEY = 'mfy_bench_0123456789abcdefghijklmnop'
const BIN = fileURLToPath(new URL('../bin/mayfly.js', import.meta.url))
const BARE = fileURLToPath(new URL('bare-hono.ts', import.meta.url))
const OTHERS = fileURLToPath(new URL('others/', import.meta.url))
const WORKERD = path.join(OTHERS, 'node_modules/@cloudflare/workerd-linux-64/bin/workerd')

const { values: flags } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3' },
    at: { type: 'string', default: '1,8,64' },
    json: { type: 'boolean' },
  },
})
const ms = Math.min(SECONDS_MAX, Math.max(1, Number(flags.seconds) || 3)) * 1000
const concurrencies = flags.at.split(',').map((text) => Math.min(1_000, Number(text) || 1))
const state = mkdtempSync(path.join(os.tmpdir(), 'mayfly-bench-'))
const children: ChildProcess[] = []

try {
  const [mayfly, bare, workerd] = [await startMayfly(), await startBare(), await startWorkerd()]
  const report = await measure(mayfly, bare, workerd)
  console.log(flags.json ? JSON.stringify(report) : JSON.stringify(report, undefined, 2))
} finally {
  for (const child of children) {
    // workerd has been seen to end by itself under 64 requests at once.
    if (child.exitCode !== null || child.signalCode !== null) continue
    child.kill('SIGTERM')
    await once(child, 'exit')
  }
  for (const folder of [state, `${state}-warden`]) rmSync(folder, { recursive: true, force: true })
}

/** Server under test, with the processes that do its work. */
interface Side {
  readonly post: (agent: Agent) => Promise<void>
  readonly pids: () => Readonly<Record<string, readonly number[]>>
}

async function measure(mayfly: Side, bare: Side, workerd: Side | undefined) {
  const rows: Record<string, unknown> = {}
  for (const atOnce of concurrencies) {
    const [ours, theirs] = [await load(mayfly, atOnce), await load(bare, atOnce)]
    rows[`${atOnce}`] = {
      mayfly: ours,
      bareHono: theirs,
      workerdLoader: workerd ? await load(workerd, atOnce) : 'not installed',
      overheadMs: {
        p50: gap(ours.p50, theirs.p50),
        p95: gap(ours.p95, theirs.p95),
        p99: gap(ours.p99, theirs.p99),
      },
    }
  }
  const machine = { cores: os.availableParallelism(), node: process.version, seconds: ms / 1000 }
  return { machine, concurrency: rows }
}

async function load(side: Side, atOnce: number) {
  const agent = new Agent({ keepAlive: true, maxSockets: atOnce })
  await rate(() => side.post(agent), atOnce, WARM_MS)
  const samples: number[] = []
  const before = cpuOf(side)
  const idleBefore = idleMs()
  const began = performance.now()
  const perSecond = await rate(
    async () => void samples.push(await timed(() => side.post(agent))),
    atOnce,
    ms,
  )
  const tookMs = performance.now() - began
  const cpu = shares(before, cpuOf(side), tookMs)
  const idle = (idleMs() - idleBefore) / tookMs
  agent.destroy()
  const { n, p50, p99 } = figures(samples)
  const p95 = samples.toSorted((a, b) => a - b)[Math.floor(n * 0.95)] ?? 0
  return { perSecond, n, p50, p95, p99, cpu, bound: boundOf(cpu, idle) }
}

/** Average cores used by each part. */
type Cpu = Readonly<Record<string, number>>

function cpuOf({ pids }: Side): Cpu {
  const parts = Object.entries({ ...pids(), 'load generator': [process.pid] })
  return Object.fromEntries(
    parts.map(([name, all]) => [name, all.reduce((sum, pid) => sum + cpuMs(pid), 0)]),
  )
}

function shares(before: Cpu, after: Cpu, tookMs: number): Cpu {
  return Object.fromEntries(
    Object.entries(after).map(([name, value]) => [
      name,
      Math.round(((value - (before[name] ?? 0)) / tookMs) * 100) / 100,
    ]),
  )
}

/**
 * Bottleneck: a single thread at one core, or all cores busy (`idle` counts unused ones). Otherwise the
 * communication between the parts.
 */
function boundOf(cpu: Cpu, idle: number): string {
  const cores = os.availableParallelism()
  const used = Object.values(cpu).reduce((sum, share) => sum + share, 0)
  const [name, most] = Object.entries(cpu).reduce((a, b) => (b[1] > a[1] ? b : a))
  const elsewhere = Math.max(0, cores - idle - used).toFixed(1)
  if (idle < cores * (1 - FULL))
    return `the machine: most went to ${name}, ${elsewhere} cores elsewhere`
  if (most >= FULL) return `one thread: ${name}`
  return `latency: nothing is busy all the time, the busiest is ${name}`
}

function idleMs(): number {
  return os.cpus().reduce((sum, { times }) => sum + times.idle, 0)
}

function cpuMs(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ')
    // Includes waited-for children, since an ended wall's time moves to its parent.
    return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) * TICK_MS
  } catch {
    return 0
  }
}

function gap(ours: number, theirs: number): number {
  return Math.round((ours - theirs) * 1000) / 1000
}

async function startMayfly(): Promise<Side> {
  const child = spawn(process.execPath, [BIN, 'serve', '--port', '0', '--state', state, '--json'], {
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, MAYFLY_API_KEY: KEY },
  })
  const { active, pid } = (await firstLine(child)) as { active: string; pid: number }
  await whenReady(active)
  const effect = { effectId: 'bench', code }
  await post(`${active}/api/effects/register`, effect, new Agent(), () => true)
  const call = { effectId: 'bench', input }
  const started = child.pid!
  return {
    post: (agent) => post(`${active}/api/effects/execute`, call, agent, isAnswer),
    pids: () => ({
      server: [pid],
      'warden and walls': [started, ...descendantsOf(started)].filter((one) => one !== pid),
    }),
  }
}

async function startBare(): Promise<Side> {
  const child = spawn(process.execPath, [BARE], { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
  const { port } = (await firstLine(child)) as { port: number }
  return {
    post: (agent) => post(`http://127.0.0.1:${port}/`, { input }, agent, isAnswer),
    pids: () => ({ server: [child.pid!] }),
  }
}

/** Undefined if not installed. */
async function startWorkerd(): Promise<Side | undefined> {
  if (!existsSync(WORKERD)) return undefined
  const config = path.join(OTHERS, 'workerd/config.capnp')
  const args = ['serve', '--experimental', config, '--control-fd=1']
  const child = spawn(WORKERD, args, { stdio: ['ignore', 'pipe', 'ignore'] })
  const { port } = (await firstLine(child)) as { port: number }
  return {
    post: (agent) => post(`http://127.0.0.1:${port}/`, { code, input }, agent, isAnswer),
    pids: () => ({ server: [child.pid!] }),
  }
}

async function firstLine(child: ChildProcess): Promise<unknown> {
  children.push(child)
  const [line] = (await once(createInterface(child.stdout!), 'line')) as [string]
  return JSON.parse(line)
}

async function whenReady(active: string): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    if ((await fetch(`${active}/readyz`)).ok) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error('The server did not become ready')
}

function isAnswer(body: unknown): boolean {
  return (body as { readonly result?: unknown }).result === answer
}

/** Makes one call, to its last byte; throws for a wrong answer. */
async function post(
  url: string,
  body: unknown,
  agent: Agent,
  isRight: (body: unknown) => boolean,
): Promise<void> {
  const text = JSON.stringify(body)
  const asked = request(url, {
    method: 'POST',
    agent,
    headers: {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(text),
      authorization: `Bearer ${KEY}`,
    },
  })
  asked.end(text)
  const [response] = (await once(asked, 'response')) as [AsyncIterable<Buffer>]
  let said = ''
  for await (const chunk of response) said += String(chunk)
  if (!isRight(JSON.parse(said))) throw new Error(`Not the answer: ${said.slice(0, 300)}`)
}

function descendantsOf(pid: number): readonly number[] {
  return childrenOf(pid).flatMap((child) => [child, ...descendantsOf(child)])
}
