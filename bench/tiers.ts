/**
 * Programs behind the process wall and gVisor's, from claim to result, beside a plain process, the usual alternatives, and a
 * round trip to a running process, which is the lower bound. One run, contenders interleaved; pooled, empty pool and
 * saturated apart; cost, memory and end of a spare.
 *
 *     npm ci --prefix bench/others    # bun, deno and sandbox-runtime; crun is a Debian package. What is missing is left out
 *     node bench/tiers.ts [--rounds 60] [--only bubblewrap,gvisor] [--json]
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { systemClock } from '../src/contract/clock.ts'
import type { Profile } from '../src/contract/profile.ts'
import type { Provider, Task } from '../src/contract/provider.ts'
import { findProgram } from '../src/os/find-program.ts'
import { figures, rate, timed } from '../src/lib/measure.ts'
import { sideBySide, type Contender } from './side-by-side.ts'
import { processFacts, proportionalBytes } from '../src/os/proc.ts'
import { belowOf } from '../src/os/process-tree.ts'
import { createSparePools, type SparePools } from '../src/pool/spare-pools.ts'
import { startWarden } from '../src/sdk/start-warden.ts'
import { createGvisorProvider } from '../src/tiers/gvisor/provider.ts'
import { createProcessProvider, type ProcessOptions } from '../src/tiers/process/provider.ts'
import { jailKinds } from '../src/contract/jail-kind.ts'
import type { WardenClient } from '../src/walls/client.ts'
import { profileFor } from './profile.ts'

const PAUSE_MS = 120
const SATURATE_MS = 4_000
const STARTS = 12
const FILLED_MS_MAX = 20_000
const MIB = 2 ** 20
const MS_PER_TICK = 10
const OTHERS = fileURLToPath(new URL('others/node_modules/', import.meta.url))
/** Payload as long as a typical job message. */
const TASK = `${JSON.stringify({ protocol: 1, code: 'x'.repeat(400) })}\n`
const ECHO = `const fs = require('node:fs'), bytes = Buffer.alloc(4096)
for (let n; (n = fs.readSync(0, bytes)) > 0;) fs.writeSync(1, bytes, 0, n)`
const languages = ['node', 'python'] as const
const wallNames = [...jailKinds, 'gvisor'] as const
type WallName = (typeof wallNames)[number]
type Programmed = (typeof languages)[number]

const programs: Readonly<Record<Programmed, Pick<Task, 'entry' | 'code'>>> = {
  node: { entry: 'module', code: 'export default (input) => input.a + 1' },
  python: { entry: 'function', code: 'def main(input): return input["a"] + 1' },
}
const plain: Readonly<Record<Programmed, readonly string[]>> = {
  node: [process.execPath, '-e', 'console.log(41 + 1)'],
  python: ['/usr/bin/python3', '-c', 'print(41 + 1)'],
}

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '60' },
    only: { type: 'string' },
    json: { type: 'boolean' },
  },
})
const asked = flags.only?.split(',')
const rounds = Math.min(1_000, Math.max(20, Number(flags.rounds) || 60))
const state = mkdtempSync(path.join(os.tmpdir(), 'mayfly-bench-'))
const emitter = { emit() {} }
/** Echoes lines. */
const echo = spawn(process.execPath, ['-e', ECHO], { stdio: ['pipe', 'pipe', 'inherit'] })

try {
  const warden = await startWarden({ stateFolder: state })
  try {
    const report = await measure(warden)
    console.log(flags.json ? JSON.stringify(report) : JSON.stringify(report, undefined, 2))
  } finally {
    await warden.close()
  }
} finally {
  echo.kill()
  for (const place of [state, `${state}-warden`]) rmSync(place, { recursive: true, force: true })
}

async function measure(warden: WardenClient) {
  const report: Record<string, unknown> = {}
  for (const language of languages) {
    const pooled: Contender[] = []
    const apart: Record<string, unknown> = {}
    const opened: Provider[] = []
    for (const wallName of wallNames.filter((one) => asked?.includes(one) ?? true)) {
      const { provider: warm, stock } = providerOf(wallName, warden, 2)
      const { provider: cold } = providerOf(wallName, warden, 0)
      opened.push(warm, cold)
      if (!(await warm.detect()).available) {
        apart[wallName] = 'not available'
        continue
      }
      await once42(warm, language)
      pooled.push({
        name: `${wallName}, pooled`,
        once: async () => {
          await filled(stock)
          return await once42(warm, language)
        },
      })
      pooled.push({ name: `${wallName}, empty pool`, once: () => once42(cold, language) })
      apart[wallName] = {
        ...(await saturated(warm, language)),
        ...(await spares(wallName, language, warden)),
      }
    }
    const others = asked ? [] : await there(othersFor(language))
    const floor = { name: 'a message to a parked node', once: () => timed(() => echoed(TASK)) }
    const side = await sideBySide([...pooled, floor, ...others], rounds, PAUSE_MS)
    report[language] = { claimToResult: Object.fromEntries(side), ...apart }
    for (const provider of opened) await provider.close?.()
  }
  return { machine: { cores: os.availableParallelism(), node: process.version, rounds }, ...report }
}

function providerOf(wallName: WallName, warden: WardenClient, most: number) {
  const stock = createSparePools(systemClock, emitter)
  const openEgressPath = (): never => {
    throw new Error('Nothing here asks for a way out')
  }
  const parts: Omit<ProcessOptions, 'jailKind'> = {
    warden,
    emitter,
    warm: (kind) => stock.createPool(kind),
    least: most,
    most,
    openEgressPath,
    usual: { memory: 128 * MIB, cpu: 1, processes: 64 },
  }
  const provider: Provider =
    wallName === 'gvisor'
      ? createGvisorProvider(parts)
      : createProcessProvider({ jailKind: wallName, ...parts })
  return { provider, stock }
}

/** Resolves when each pool that is asked has an idle spare and makes none: a start keeps both cores busy. Rejects after a bound. */
async function filled(stock: SparePools): Promise<void> {
  const until = performance.now() + FILLED_MS_MAX
  const isQuiet = () => {
    const used = stock.facts.filter(({ hits, misses, wanted }) => hits + misses > 0 && wanted > 0)
    return used.every(({ idle, starting }) => idle > 0 && starting === 0)
  }
  while (!isQuiet()) {
    if (performance.now() > until) throw new Error('No spare was made')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** Runs one program: milliseconds from claim to result. Resolves once the wall is gone. */
async function once42(provider: Provider, language: Programmed): Promise<number> {
  const profile: Profile = profileFor(provider, language, programs[language].entry)
  const began = performance.now()
  await using sandbox = await provider.launch(profile, systemClock)
  const task = { run: 'bench', language, files: [], capabilities: [], inputText: '{"a":41}' }
  const io = { stdout() {}, stderr() {}, released() {} }
  const { status, resultText, error } = await sandbox.run({ ...task, ...programs[language] }, io)
  const took = performance.now() - began
  if (status !== 'ok' || resultText !== '42')
    throw new Error(`Not the answer: ${status} ${resultText} ${error?.message ?? ''}`)
  return took
}

/** Two concurrent clients without pauses: the refill of spares is the bottleneck. */
async function saturated(provider: Provider, language: Programmed) {
  const samples: number[] = []
  const perSecond = await rate(
    async () => void samples.push(await once42(provider, language)),
    2,
    SATURATE_MS,
  )
  const { p50, p99 } = figures(samples)
  return { saturated: { perSecond, p50, p99 } }
}

/**
 * Cost of a spare: time to make it and CPU time for that (user and system), memory of all its processes while idle (PSS,
 * from smaps_rollup; stubs of gVisor share one memory, which counts once), and time from the kill until nothing is left.
 */
async function spares(wallName: WallName, language: Programmed, warden: WardenClient) {
  const settings = { spares: 0, spareMiB: 8, mechanism: wallName, disk: 64 * MIB }
  const started: { id: string; pid: number; took: number }[] = []
  for (let n = 0; n < STARTS; n++) {
    const { wall, socket, streams } = await warden.start(language, settings)
    socket.on('error', () => undefined)
    for (const one of [socket, streams?.stdout, streams?.stderr]) one?.unref()
    started.push(wall)
  }
  const pids = started.map(({ pid }) => [pid, ...belowOf(pid)])
  const bytes = pids.map(bytesTogether)
  const ticks = pids.map((all) =>
    all.reduce((sum, one) => sum + (processFacts(one)?.treeTicks ?? 0), 0),
  )
  const startCpuMs = figures(ticks).p50 * MS_PER_TICK
  const each = Math.round((bytes.reduce((sum, one) => sum + one, 0) / STARTS / MIB) * 10) / 10
  const { p50 } = figures(started.map(({ took }) => took))
  const kills: number[] = []
  for (const { id } of started) kills.push(await timed(() => warden.kill(id)))
  const killMs = figures(kills).p50
  const refillsPerSecond = Math.round(1000 / p50)
  return { spare: { pssMiB: each, refillMs: p50, startCpuMs, refillsPerSecond, killMs } }
}

/** PSS of processes; those with the same mappings are taken for one memory with several owners. */
function bytesTogether(pids: readonly number[]): number {
  const memories = new Map<string, number>()
  for (const pid of pids) {
    const maps = readFileSync(`/proc/${pid}/maps`, 'latin1')
    memories.set(maps || `${pid}`, proportionalBytes(pid))
  }
  return [...memories.values()].reduce((sum, one) => sum + one, 0)
}

/** Round trip of one message over pipes. */
async function echoed(text: string): Promise<void> {
  const answered = once(echo.stdout, 'data')
  echo.stdin.write(text)
  await answered
}

function othersFor(language: Programmed): readonly Contender[] {
  const script = language === 'node' ? 'console.log(41 + 1)' : 'print(41 + 1)'
  const runtimes = [
    { name: 'bun', command: [`${OTHERS}@oven/bun-linux-x64/bin/bun`, '-e', script] },
    { name: 'deno', command: [`${OTHERS}@deno/linux-x64-glibc/deno`, 'eval', script] },
  ]
  const srt = [process.execPath, `${OTHERS}@anthropic-ai/sandbox-runtime/dist/cli.js`]
  const crun = crunCommand(plain[language])
  return [
    { name: `plain ${language}`, command: plain[language] },
    ...(language === 'node' ? runtimes : []),
    { name: 'sandbox-runtime', command: [...srt, ...plain[language]] },
    ...(crun ? [{ name: 'crun', command: crun }] : []),
  ].map(({ name, command }) => ({ name, once: () => timed(() => printed42(command)) }))
}

/** Contenders available on this machine. */
async function there(contenders: readonly Contender[]): Promise<readonly Contender[]> {
  const found: Contender[] = []
  for (const contender of contenders)
    await contender.once().then(
      () => found.push(contender),
      (error: unknown) => console.error(`${contender.name} is left out: ${String(error)}`),
    )
  return found
}

async function printed42(command: readonly string[]): Promise<void> {
  const [file, ...args] = command
  const child = spawn(file!, args, {
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { PATH: process.env['PATH'], HOME: state },
  })
  let said = ''
  child.stdout?.on('data', (chunk: Buffer) => (said += chunk.toString()))
  await once(child, 'close')
  if (said.trim() !== '42') throw new Error(`it said "${said.slice(0, 100)}"`)
}

/** Runs one bundle repeatedly; needs visible cgroup v2. Undefined without crun. */
function crunCommand(args: readonly string[]): readonly string[] | undefined {
  const crun = findProgram('crun')
  if (!crun || process.getuid?.() !== 0) return undefined
  const bundle = mkdtempSync(path.join(state, 'crun-'))
  mkdirSync(path.join(bundle, 'rootfs'))
  const places = ['/usr', '/lib', '/lib64', '/bin', process.execPath].filter((at) => existsSync(at))
  const readOnly = { type: 'bind', options: ['rbind', 'ro'] }
  const namespaces = ['pid', 'network', 'ipc', 'uts', 'mount'].map((type) => ({ type }))
  const spec = {
    ociVersion: '1.0.0',
    process: { user: { uid: 65_534, gid: 65_534 }, args, cwd: '/', env: ['PATH=/usr/bin'] },
    root: { path: 'rootfs', readonly: true },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
      ...places.map((place) => ({ destination: place, source: place, ...readOnly })),
    ],
    linux: { namespaces },
  }
  writeFileSync(path.join(bundle, 'config.json'), JSON.stringify(spec))
  const run = `mount -t cgroup2 none /sys/fs/cgroup; exec ${crun} --cgroup-manager=disabled run -b ${bundle} mayfly-$$`
  return ['unshare', '-m', 'sh', '-c', run]
}
