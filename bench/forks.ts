/**
 * Forks of a running Python session in a virtual machine: making two of it, and the first exec of each, beside the opening of a
 * session. One run.
 *
 *     node bench/forks.ts [--rounds 10]
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { figures, timed } from '../src/lib/measure.ts'
import { Mayfly } from '../src/sdk/mayfly.ts'
import { copyMachineState } from '../tests/fixtures/machine-images.ts'

const { values: flags } = parseArgs({ options: { rounds: { type: 'string', default: '10' } } })
const rounds = Math.max(1, Number(flags.rounds) || 1)
const children = 2
const folder = mkdtempSync(path.join(os.tmpdir(), 'mayfly-bench-'))
const state = path.join(folder, 'state')
const seen = { opening: [], fork: [], 'first exec of a child': [] } as Record<string, number[]>

try {
  const missing = await copyMachineState(state)
  if (missing !== undefined) throw new Error(missing)
  await using mayfly = await Mayfly.open({ state })
  const asked = { language: 'python', tier: 'microvm', timeout: '10m' } as const
  // The first one makes the template.
  await (await mayfly.open(asked)).close()
  for (let round = 0; round < rounds; round++) {
    let parent: Awaited<ReturnType<Mayfly['open']>> | undefined
    seen['opening']!.push(await timed(async () => void (parent = await mayfly.open(asked))))
    await parent!.run({ code: 'x = list(range(1000000))' })
    let made: Awaited<ReturnType<NonNullable<typeof parent>['fork']>> = []
    seen['fork']!.push(await timed(async () => void (made = await parent!.fork({ children }))))
    for (const child of made) {
      const exec = async () => {
        const { result } = await child.run({ code: 'len(x)' })
        assert.equal(result, 1_000_000)
      }
      seen['first exec of a child']!.push(await timed(exec))
      await child.close()
    }
    await parent!.close()
  }
  const milliseconds = Object.entries(seen).map(([name, list]) => [name, figures(list)])
  console.log(JSON.stringify({ children, milliseconds: Object.fromEntries(milliseconds) }))
} finally {
  for (const one of [state, `${state}-warden`, folder])
    rmSync(one, { recursive: true, force: true })
}
