/**
 * Runs the corpus beside Mayfly and prints each difference: `node tests/everyday/run.ts [NAME] [-- FLAGS of
 * mayfly run]`. For debugging; the tests run a sample.
 */
import { makePlace } from '../doors/program.ts'
import { differences } from './compare.ts'
import { programs } from './corpus.ts'
import { runInside } from './inside.ts'
import { runOutside } from './outside.ts'

const at = process.argv.indexOf('--')
const [only = ''] = process.argv.slice(2, at === -1 ? undefined : at)
const flags = at === -1 ? [] : process.argv.slice(at + 1)
const place = makePlace()
const all = programs(only)
let same = 0
try {
  for (const program of all) {
    const outside = await runOutside(program)
    const found = await runInside(place, program, flags).then(
      (inside) => differences(program, outside, inside),
      (error: unknown) => [`no outcome: ${String(error).slice(0, 300)}`],
    )
    if (found.length === 0) same++
    else console.log(`${program.name}\n  ${found.join('\n  ')}`)
  }
} finally {
  place.remove()
}
console.log(`${same} of ${all.length} end as they do outside`)
