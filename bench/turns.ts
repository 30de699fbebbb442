/**
 * Another tree's bench beside this one's, in turns: each figure that both print, as the median of the rounds, and the
 * ratio of the two. The figures of one round are minutes apart, so slow changes of the machine reach both trees.
 *
 *     node bench/turns.ts --against FOLDER [--rounds 3] [--only WORD] [--json] bench/isolate.ts [-- BENCH OPTIONS]
 */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { figures } from '../src/lib/measure.ts'

type Figures = ReadonlyMap<string, number>

const MINUTE_MS = 60_000
const here = path.join(import.meta.dirname, '..')
const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    against: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string', default: '' },
    json: { type: 'boolean', default: false },
  },
})
const [bench = '', ...options] = positionals
const other = path.resolve(flags.against ?? '')
const missing = [here, other]
  .map((tree) => path.join(tree, bench))
  .find((file) => !existsSync(file))
if (!flags.against || !bench || missing !== undefined) {
  console.error(
    missing === undefined || !bench
      ? 'Usage: node bench/turns.ts --against FOLDER bench/NAME.ts [-- OPTIONS]'
      : `No bench ${missing}`,
  )
  process.exit(2)
}

const rounds = Array.from({ length: Number(flags.rounds) }, (_, round) => {
  console.error(`round ${round + 1} of ${flags.rounds}`)
  // Each round begins with the other tree than the one before.
  const order = round % 2 === 0 ? [other, here] : [here, other]
  const [first, second] = order.map(figuresOf)
  return round % 2 === 0 ? { other: first!, here: second! } : { here: first!, other: second! }
})
const rows = [...rounds[0]!.here.keys()]
  .filter((name) => name.includes(flags.only) && rounds.every((round) => round.other.has(name)))
  .map((name) => {
    const before = median(rounds.map((round) => round.other.get(name)!))
    const after = median(rounds.map((round) => round.here.get(name)!))
    return { figure: name, before, after, ratio: Math.round((after / before) * 1000) / 1000 }
  })
if (flags.json) console.log(JSON.stringify(rows))
else console.table(Object.fromEntries(rows.map(({ figure, ...row }) => [figure, row])))

/** Runs the bench of a tree in that tree, with the Node that runs this. */
function figuresOf(tree: string): Figures {
  const printed = execFileSync(process.execPath, [bench, '--json', ...options], {
    cwd: tree,
    timeout: 30 * MINUTE_MS,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  return new Map(leavesOf(JSON.parse(String(printed)), ''))
}

function leavesOf(value: unknown, name: string): [string, number][] {
  if (typeof value === 'number') return [[name, value]]
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, below]) =>
    leavesOf(below, name === '' ? key : `${name} / ${key}`),
  )
}

function median(samples: readonly number[]): number {
  return figures(samples).p50
}
