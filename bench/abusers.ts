/**
 * Cost of twenty abusers for an honest job: p50, p95 and p99 from claim to result of a small Python program, alone
 * and beside walls whose programs burn CPU, allocate, fork and print up to their limits. Together the abusers are
 * granted one core, which only a cpu controller can enforce exactly.
 *
 *     node bench/abusers.ts [--jobs 200] [--jail embedded] [--json]
 */
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { systemClock } from '../src/contract/clock.ts'
import type { Profile } from '../src/contract/profile.ts'
import type { Provider, Sandbox } from '../src/contract/provider.ts'
import { jailKinds, type JailKind } from '../src/contract/jail-kind.ts'
import { openCgroups } from '../src/os/cgroup.ts'
import { createSparePools } from '../src/pool/spare-pools.ts'
import { startWarden } from '../src/sdk/start-warden.ts'
import { createProcessProvider } from '../src/tiers/process/provider.ts'
import { raisePriority } from '../src/os/priority.ts'
import { niceOf } from '../src/warden/nice.ts'
import type { WardenClient } from '../src/walls/client.ts'
import { profileFor } from './profile.ts'

const ABUSERS = 20
const CORES_OF_ALL = 1
const PAUSE_MS = 100
const SETTLING_JOBS = 20
const LIFE_MS = 600_000
const MIB = 2 ** 20

const honest = `
def main(input):
    return sum(n * n for n in range(20000))`
const abuses = [
  'while True: pass',
  'import os\nwhile True:\n  try:\n    if os.fork() == 0: continue\n  except OSError: pass',
  'while True:\n  held = []\n  for _ in range(40): held.append(bytearray(b"x" * 2**20))',
  'import sys\nwhile True: sys.stdout.write("x" * 65536)',
] as const

const { values: flags } = parseArgs({
  options: {
    jobs: { type: 'string', default: '200' },
    jail: { type: 'string', default: 'embedded' },
    json: { type: 'boolean' },
  },
})
const jobs = Math.min(5_000, Math.max(20, Number(flags.jobs) || 200))
const jailKind: JailKind = jailKinds.find((one) => one === flags.jail) ?? 'embedded'
const state = mkdtempSync(path.join(os.tmpdir(), 'mayfly-bench-'))
// Priority as set by `mayfly serve`.
raisePriority(niceOf.server)
const warden = await startWarden({ stateFolder: state })
try {
  const report = await measure(providerOf(warden))
  console.log(flags.json ? JSON.stringify(report) : JSON.stringify(report, undefined, 2))
} finally {
  await warden.close()
  for (const place of [state, `${state}-warden`]) rmSync(place, { recursive: true, force: true })
}

async function measure(provider: Provider) {
  const cpu = openCgroups()?.controllers.includes('cpu') ? 'control group' : 'duty cycle'
  const proved = await provider.detect()
  if (!proved.available) throw new Error(`Cannot measure "${jailKind}": ${proved.reason}`)
  // The first jobs find no spare ready.
  await series(provider, SETTLING_JOBS)
  const quiet = await series(provider, jobs)
  const stop = new AbortController()
  const all = Array.from({ length: ABUSERS }, (_, n) => abuse(provider, n, stop.signal))
  await sleep(2_000)
  const abused = await series(provider, jobs)
  stop.abort()
  const rounds = (await Promise.all(all)).reduce((sum, one) => sum + one, 0)
  const ratio = Math.round((abused.p95 / quiet.p95) * 100) / 100
  await provider.close?.()
  return { jailKind, abusers: ABUSERS, rounds, quiet, abused, ratio, cpu }
}

async function series(provider: Provider, length: number) {
  const samples: number[] = []
  for (let n = 0; n < length; n++) {
    const began = performance.now()
    await using _ended = await run(provider, profileFor(provider, 'python', 'function'), honest)
    samples.push(performance.now() - began)
    await sleep(PAUSE_MS)
  }
  const sorted = samples.sort((a, b) => a - b)
  const at = (share: number) => Math.round(sorted[Math.floor(sorted.length * share)]! * 100) / 100
  return { n: sorted.length, p50: at(0.5), p95: at(0.95), p99: at(0.99) }
}

/** Loops until stopped; returns the number of starts. */
async function abuse(provider: Provider, n: number, stop: AbortSignal): Promise<number> {
  const usual = profileFor(provider, 'python', 'program')
  const controls = {
    ...usual.controls,
    cpu: CORES_OF_ALL / ABUSERS,
    memory: 64 * MIB,
    processes: 16,
  }
  const phases = [{ name: 'full', for: LIFE_MS, controls }]
  const profile = {
    ...usual,
    tenant: 'abuser',
    controls,
    schedule: { ...usual.schedule, phases },
    // Ends at its limit; restarting it is not measured.
    limits: {
      ...usual.limits,
      timeout: LIFE_MS,
      memory: 64 * MIB,
      output: Number.MAX_SAFE_INTEGER,
    },
  }
  let rounds = 0
  for (; !stop.aborted; rounds++)
    try {
      await using _ended = await run(provider, profile, abuses[n % abuses.length]!, stop)
    } catch {
      await sleep(100)
    }
  return rounds
}

async function run(
  provider: Provider,
  profile: Profile,
  code: string,
  stop?: AbortSignal,
): Promise<Sandbox> {
  const sandbox = await provider.launch(profile, systemClock)
  stop?.addEventListener('abort', () => sandbox.kill({ status: 'cancelled' }), { once: true })
  const asked = { run: 'bench', language: 'python', entry: profile.entry, code } as const
  const io = { stdout() {}, stderr() {}, released() {} }
  await sandbox.run({ ...asked, files: [], capabilities: [], inputText: 'null' }, io)
  return sandbox
}

function providerOf(held: WardenClient): Provider {
  const emitter = { emit() {} }
  const stock = createSparePools(systemClock, emitter)
  const openEgressPath = (): never => {
    throw new Error('Nothing here asks for a way out')
  }
  const parts = { jailKind, warden: held, emitter, least: 4, most: 8, openEgressPath }
  return createProcessProvider({ ...parts, warm: (kind) => stock.createPool(kind) })
}
