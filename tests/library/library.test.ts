import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { Mayfly } from '../../src/index.ts'
import { drawn } from '../fixtures/drawn.ts'
import { isMissing, unable } from '../walls/process-stands.ts'
import { nodeExercises } from './node-exercises.ts'
import { pythonModules, pythonSuiteFolder } from './python-modules.ts'
import { reasonFor } from './explained.ts'
import { differencesOf, runNode, runPython } from './runs.ts'

/** CPython's own tests, and uses of Node's modules, beside a wall and within it: every difference is explained. */
const walls = ['bubblewrap', 'embedded'] as const

suite('Standard libraries in a wall', { skip: unable('python'), concurrency: 1 }, () => {
  let state: string
  let mayfly: Mayfly
  before(async () => {
    state = mkdtempSync(join(tmpdir(), 'mayfly-library-'))
    mayfly = await Mayfly.open({ state })
  })
  after(async () => {
    await mayfly.close()
    rmSync(state, { recursive: true, force: true })
  })

  for (const [name, code] of drawn(Object.entries(nodeExercises), 'exercises of Node'))
    for (const wall of walls)
      test(`Node gives the same output behind ${wall}: ${name}`, async (t) => {
        if (isMissing(t, { jailKind: wall })) return
        const differences = differencesOf(await runNode(mayfly, wall, code))
        const unexplained = differences.filter(() => !reasonFor(`node: ${name}`))
        assert.deepEqual(unexplained, [])
      })

  // Each file takes up to half a minute, so each runs behind one of the walls, and a sample has a seventh of a seventh.
  const files = pythonModules.map((name, at) => [at, name] as const)
  for (const [at, module] of drawn(drawn(files, 'files of CPython'), 'some of them'))
    test(`CPython’s test of ${module} has the same results in a wall`, async (t) => {
      const wall = walls[at % walls.length]!
      if (isMissing(t, { jailKind: wall })) return
      if (!existsSync(join(pythonSuiteFolder, `${module}.py`)))
        return t.skip('libpython3.11-testsuite is missing')
      const run = await runPython(mayfly, wall, module)
      if (Object.keys(run.outside).length === 0) return t.skip('it timed out outside of a wall too')
      const unexplained = differencesOf(run).filter(([name]) => !reasonFor(name))
      assert.deepEqual(unexplained, [])
    })
})
