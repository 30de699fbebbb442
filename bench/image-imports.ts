/**
 * Programs in the image `python-data` that import pandas, numpy and Matplotlib: claim to result where a wall waited, and where
 * none did; beside a program on the same wall, in the same image, that imports nothing. Memory of waiting walls, and the time to make one.
 *
 *     npx mayfly images build python-data kernel node python --state STATE
 *     npx mayfly images unpack python-data --state STATE
 *     MAYFLY_TEMPLATES=all node bench/image-imports.ts --state STATE [--rounds 30] [--only bubblewrap,embedded,qemu]
 */
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { systemClock } from '../src/contract/clock.ts'
import type { Provider } from '../src/contract/provider.ts'
import { findImage, imageFolder } from '../src/images/store.ts'
import { figures } from '../src/lib/measure.ts'
import { createSparePools, type SparePools } from '../src/pool/spare-pools.ts'
import { startWarden } from '../src/sdk/start-warden.ts'
import { createGvisorProvider } from '../src/tiers/gvisor/provider.ts'
import { createQemuProvider } from '../src/tiers/microvm/provider.ts'
import { createProcessProvider } from '../src/tiers/process/provider.ts'
import { createUserKernelProvider } from '../src/tiers/userkernel/provider.ts'
import type { WardenClient } from '../src/walls/client.ts'
import { profileFor } from './profile.ts'

const MIB = 2 ** 20
const FILLED_MS_MAX = 180_000
const EMPTY_ROUNDS = 3
const WAITING = 4
/** Delay after a pool is full: a parked clone still runs a rehearsal job. */
const REHEARSE_MS = 1_500
const sources = {
  imports: `
def main(input):
    import matplotlib.pyplot, numpy, pandas
    return input["a"] + 1`,
  nothing: 'def main(input): return input["a"] + 1',
} as const
const walls = ['bubblewrap', 'embedded', 'gvisor', 'user-mode-linux', 'qemu'] as const
type WallName = (typeof walls)[number]

const { values: flags } = parseArgs({
  options: {
    state: { type: 'string' },
    rounds: { type: 'string', default: '30' },
    only: { type: 'string', default: walls.join() },
  },
})
if (!flags.state) throw new Error('Name a state folder with the image: --state')
const rounds = Math.min(1_000, Math.max(3, Number(flags.rounds) || 30))
const image = findImage(imageFolder(flags.state), 'python-data').digest
const folder = mkdtempSync(path.join(os.tmpdir(), 'mayfly-bench-'))
const emitter = { emit() {} }

try {
  const warden = await startWarden({
    stateFolder: path.join(folder, 'state'),
    imageState: flags.state,
  })
  try {
    const report: Record<string, unknown> = { cores: os.availableParallelism(), rounds, image }
    for (const wall of walls.filter((one) => flags.only.split(',').includes(one)))
      report[wall] = await measure(wall, warden)
    console.log(JSON.stringify(report, undefined, 2))
  } finally {
    await warden.close()
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}

async function measure(wall: WallName, warden: WardenClient) {
  const stock = createSparePools(systemClock, emitter)
  const [waiting, empty] = [WAITING, 0].map((most) => providerOf(wall, warden, { stock, most }))
  try {
    waiting!.keep!('python', image, 1)
    await filled(stock)
    const samples = { imports: [] as number[], nothing: [] as number[], empty: [] as number[] }
    for (let round = 0; round < rounds; round++) {
      for (const name of ['imports', 'nothing'] as const) {
        await filled(stock)
        samples[name].push(await run(waiting!, sources[name]))
      }
      if (round < EMPTY_ROUNDS) samples.empty.push(await run(empty!, sources.imports))
    }
    return {
      waited: figures(samples.imports),
      waitedAndImportsNothing: figures(samples.nothing),
      noneWaited: figures(samples.empty),
      ...(await memoryOf(waiting!, warden, stock)),
    }
  } finally {
    await waiting!.close?.()
    await empty!.close?.()
  }
}

function providerOf(
  wall: WallName,
  warden: WardenClient,
  { stock, most }: { readonly stock: SparePools; readonly most: number },
): Provider {
  const openEgressPath = (): never => {
    throw new Error('Nothing here asks for a way out')
  }
  const parts = {
    warden,
    emitter,
    warm: (kind: Parameters<SparePools['createPool']>[0]) => stock.createPool(kind) as never,
    least: 0,
    most,
    openEgressPath,
    usual: { memory: 256 * MIB, cpu: 1, processes: 64 },
  }
  if (wall === 'gvisor') return createGvisorProvider(parts)
  if (wall === 'user-mode-linux') return createUserKernelProvider(parts)
  if (wall === 'qemu') return createQemuProvider(parts)
  return createProcessProvider({ jailKind: wall, ...parts })
}

/** Resolves when a wall is parked and none is being made, which would keep a core busy. */
async function filled(stock: SparePools): Promise<void> {
  const until = performance.now() + FILLED_MS_MAX
  const isQuiet = () =>
    stock.facts.every(({ idle, starting, wanted }) => idle >= wanted && starting === 0)
  while (!isQuiet()) {
    if (performance.now() > until) throw new Error('No wall was made')
    await sleep(20)
  }
  await sleep(REHEARSE_MS)
}

/** Milliseconds from claim to result. Resolves once the wall is gone. */
async function run(provider: Provider, code: string): Promise<number> {
  const plain = profileFor(provider, 'python', 'function')
  const memory = 256 * MIB
  const controls = { ...plain.controls, memory }
  const phases = plain.schedule.phases.map((phase) => ({ ...phase, for: 60_000, controls }))
  const profile = {
    ...plain,
    image: `sha256:${image}`,
    controls,
    schedule: { ...plain.schedule, phases },
    limits: { ...plain.limits, memory, timeout: 60_000 },
  }
  const began = performance.now()
  await using sandbox = await provider.launch(profile, systemClock)
  const task = { run: 'bench', files: [], capabilities: [], inputText: '{"a":41}' }
  const { status, resultText, error } = await sandbox.run(
    { ...task, language: 'python', entry: 'function', code },
    { stdout() {}, stderr() {}, released() {} },
  )
  const took = performance.now() - began
  if (status !== 'ok' || resultText !== '42')
    throw new Error(`Not the answer: ${status} ${resultText} ${error?.message ?? ''}`)
  return took
}

/** Proportional set size of waiting walls, and the time that each took to make. */
async function memoryOf(provider: Provider, warden: WardenClient, stock: SparePools) {
  provider.keep!('python', image, WAITING)
  await filled(stock)
  const { walls: live } = await warden.facts()
  const bytes = live.map((one) => one.proportionalBytes)
  provider.keep!('python', image, 1)
  return {
    waitingMiB: Math.round(bytes.reduce((sum, one) => sum + one, 0) / live.length / MIB),
    of: live.length,
  }
}
