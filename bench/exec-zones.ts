/**
 * Execs of a program while a schedule has zones of programs: `true` started by Python in a process wall and in a machine, with no such
 * zone, with one of another program, and in a zone. Times are taken inside, p50 of each run, the three in turns.
 *
 * Images come from the cache of the tests, and are built if they are not there (some minutes).
 *
 *     node bench/exec-zones.ts [--rounds 3] [--tiers process,microvm]
 */
import os from 'node:os'
import { parseArgs } from 'node:util'
import { figures } from '../src/lib/measure.ts'
import { Mayfly } from '../src/index.ts'
import { machineState } from '../tests/fixtures/machine-images.ts'

/** Python reports the p50 of sixty execs after ten, in milliseconds. */
const code = `import subprocess, time
def once():
    began = time.perf_counter()
    subprocess.run(['/usr/bin/true'])
    return (time.perf_counter() - began) * 1000
for _ in range(10): once()
result = sorted(once() for _ in range(60))[30]`
const tiers = ['process', 'microvm'] as const
const zoned = { phases: [{ name: 'brief', for: '50s', memory: '32MB' }] }
const schedules = {
  'no zone of programs': {},
  'a zone of another program': { text: { program: 'ffmpeg', ...zoned } },
  'in its zone': { text: { program: 'true', ...zoned } },
}
type Name = keyof typeof schedules

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    tiers: { type: 'string', default: tiers.join() },
  },
})
const rounds = Math.min(100, Math.max(1, Number(flags.rounds) || 1))
const found = await machineState()
if ('missing' in found) throw new Error(`Cannot measure machines: ${found.missing}`)
const { state } = found

const report: Record<string, unknown> = { cores: os.availableParallelism(), load: os.loadavg()[0] }
for (const tier of tiers.filter((one) => flags.tiers.split(',').includes(one)))
  report[tier] = await measure(tier)
console.log(JSON.stringify(report, undefined, 2))

async function measure(tier: (typeof tiers)[number]) {
  const names = Object.keys(schedules) as Name[]
  const samples = new Map(names.map((name) => [name, [] as number[]]))
  for (let round = 0; round < rounds; round++)
    for (const name of names) samples.get(name)!.push(await execMs(tier, name))
  const p50 = (name: Name) => figures(samples.get(name)!).p50
  const [none, ...others] = names
  return {
    ...Object.fromEntries(names.map((name) => [name, p50(name)])),
    ratios: Object.fromEntries(others.map((name) => [name, p50(name) / p50(none!)])),
  }
}

async function execMs(tier: (typeof tiers)[number], name: Name): Promise<number> {
  const phases = [{ name: 'full', for: '60s' }]
  const schedule = { phases, zones: schedules[name] }
  await using mayfly = await Mayfly.open({ state, schedules: { default: schedule } })
  const limits = { timeout: '60s' }
  const { result, error } = await mayfly.run({ language: 'python', code, tier, limits })
  if (typeof result !== 'number') throw new Error(`No figure from ${tier}: ${error?.message}`)
  return result
}
