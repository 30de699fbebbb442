/**
 * Cost of calling a safe capability: the bare function, a built-in by name, and a custom one, which is observed.
 * Nanoseconds a call, from interleaved batches.
 *
 *     node bench/capabilities.ts [--rounds 200] [--json]
 */
import { parseArgs } from 'node:util'
import { CapabilityRegistry } from '../src/index.ts'

const CALLS = 1000
const { values: flags } = parseArgs({
  options: { rounds: { type: 'string', default: '200' }, json: { type: 'boolean' } },
})

await using registry = new CapabilityRegistry()
const add = (a: number, b: number): number => a + b
registry.register({ name: 'own.add', isolated: false, run: add })

const contenders = {
  function: async () => add(1, 2),
  builtIn: () => registry.executeCapabilityWithMicroVM('math.add', [1, 2]),
  watched: () => registry.executeCapabilityWithMicroVM('own.add', [1, 2]),
} as const
const samples = new Map(Object.keys(contenders).map((name) => [name, [] as number[]]))

for (let round = 0; round < Number(flags.rounds); round++)
  for (const [name, once] of Object.entries(contenders)) {
    const began = process.hrtime.bigint()
    for (let call = 0; call < CALLS; call++)
      if ((await once()) !== 3) throw new Error(`"${name}" did not add`)
    samples.get(name)!.push(Number(process.hrtime.bigint() - began) / CALLS)
  }

const figures = Object.fromEntries(
  [...samples].map(([name, all]) => {
    const sorted = all.toSorted((a, b) => a - b)
    const at = (share: number) => Math.round(sorted[Math.floor(share * (sorted.length - 1))]!)
    return [name, { p50: at(0.5), p99: at(0.99) }]
  }),
)
if (flags.json) console.log(JSON.stringify({ unit: 'ns', ...figures }))
else console.table(figures)
