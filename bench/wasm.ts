/**
 * WebAssembly module, from job to outcome: compiled once, an instance per run, beside the same in this process.
 *
 *     node bench/wasm.ts [--rounds 400] [--json]
 */
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { assemble } from '../src/assemble/assemble.ts'
import { loadConfig } from '../src/config/load.ts'
import { systemClock } from '../src/contract/clock.ts'
import { newJob } from '../src/job.ts'
import { rate, timed } from '../src/lib/measure.ts'
import { sideBySide } from './side-by-side.ts'
import { startWarden } from '../src/sdk/start-warden.ts'
import { Stand } from '../tests/conformance/stand.ts'
import { inWasm } from '../tests/conformance/guests-in-wasm.ts'
import { op, wasm } from '../tests/fixtures/wasm.ts'

const INPUT = [2, 40]
const SATURATE_MS = 4_000
const PAUSE_MS = 2

const { values: flags } = parseArgs({
  options: { rounds: { type: 'string', default: '400' }, json: { type: 'boolean' } },
})
const rounds = Number(flags.rounds)
const state = mkdtempSync(path.join(os.tmpdir(), 'mayfly-bench-'))

/** Adds two numbers; `seed` makes the module unique. */
function adds(seed: number): Buffer {
  const add = [...op.get(0), ...op.get(1), ...op.i32Add]
  const same = [...op.i32(seed), ...op.drop]
  return wasm({
    functions: [
      { export: 'run', params: ['i32', 'i32'], results: ['i32'], body: [...same, ...add] },
    ],
  })
}

try {
  const { config } = loadConfig({ object: { state }, env: {}, cwd: state })
  const warden = await startWarden({ stateFolder: state })
  await using assembly = assemble({ config, warden, kind: 'server' })
  const proved = await assembly.providers()
  const { provider } = proved.find(({ provider }) => provider.name === 'wasi')!
  const who = { tenant: 'default', principal: 'bench', origin: 'library' } as const
  const signal = new AbortController().signal
  const known = adds(0)
  const stand = new Stand(provider, () => Promise.reject(new Error('one is enough')), inWasm)

  const seam = async (module: Buffer) => {
    const wish = { entry: 'function', input: INPUT } as const
    const { end } = await stand.run(module.toString('base64'), wish)
    if (end.resultText !== '42') throw new Error(`the seam answered ${JSON.stringify(end)}`)
  }
  const road = async () => {
    const asked = { code: known.toString('base64'), language: 'wasm', input: INPUT } as const
    const { result } = await assembly.run(newJob(asked, who, systemClock), { signal })
    if (result !== 42) throw new Error(`the road answered ${String(result)}`)
  }
  const { WebAssembly: engine } = globalThis as unknown as { WebAssembly: Engine }
  const compiled = new engine.Module(known)
  const bare = () => void new engine.Instance(compiled).exports.run(2, 40)
  let seed = 0

  const rows = await sideBySide(
    [
      { name: 'road', once: () => timed(road) },
      { name: 'seam', once: () => timed(() => seam(known)) },
      { name: 'seam, module never seen', once: () => timed(() => seam(adds(++seed))) },
      { name: 'instance of a compiled module, in process', once: () => timed(bare) },
    ],
    rounds,
    PAUSE_MS,
  )
  const report = {
    machine: {
      cores: os.availableParallelism(),
      cpu: os.cpus()[0]?.model,
      node: process.version,
      load: os.loadavg()[0],
    },
    milliseconds: Object.fromEntries(rows),
    perSecond: { seam: await rate(() => seam(known), os.availableParallelism(), SATURATE_MS) },
  }
  console.log(JSON.stringify(report, undefined, flags.json ? 0 : 2))
} finally {
  for (const own of [state, `${state}-warden`]) rmSync(own, { recursive: true, force: true })
}

interface Engine {
  readonly Module: new (bytes: Buffer) => object
  readonly Instance: new (module: object) => {
    readonly exports: { run(a: number, b: number): number }
  }
}
