/**
 * Writes the tables of docs/library-tests.md from a real run: CPython's own tests and uses of Node's modules, outside
 * of a wall and inside. `node scripts/library-table.ts`, which takes half an hour; a difference without a reason in
 * tests/library/explained.ts fails it.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Mayfly } from '../src/index.ts'
import { reasonFor } from '../tests/library/explained.ts'
import { nodeExercises } from '../tests/library/node-exercises.ts'
import { pythonModules, pythonSuiteFolder } from '../tests/library/python-modules.ts'
import { libraryTable, type LibraryRow } from '../tests/library/table.ts'
import { differencesOf, runNode, runPython, type LibraryRun } from '../tests/library/runs.ts'

const page = new URL('../docs/library-tests.md', import.meta.url)
const mark = '<!-- made by scripts/library-table.ts -->'
const provider = 'bubblewrap'

const state = mkdtempSync(join(tmpdir(), 'mayfly-library-'))
const mayfly = await Mayfly.open({ state })
try {
  if (!existsSync(pythonSuiteFolder)) throw new Error('libpython3.11-testsuite is missing')
  const node: LibraryRow[] = []
  for (const [name, code] of Object.entries(nodeExercises))
    node.push(rowOf(name, await runNode(mayfly, provider, code), () => `node: ${name}`))
  const python: LibraryRow[] = []
  for (const module of pythonModules)
    python.push(rowOf(module, await runPython(mayfly, provider, module), (test) => test))
  const text = readFileSync(page, 'utf8')
  const made = [libraryTable('CPython', python), libraryTable('Node', node)]
  writeFileSync(page, `${text.slice(0, text.indexOf(mark))}${mark}\n\n${made.join('\n\n')}\n`)
} finally {
  await mayfly.close()
  rmSync(state, { recursive: true, force: true })
}

function rowOf(name: string, run: LibraryRun, nameOf: (test: string) => string): LibraryRow {
  const differences = differencesOf(run).map(([test, is]) => {
    const why = reasonFor(nameOf(test))
    if (!why) process.exitCode = 1
    return [test, why ?? `unexplained: ${is}`] as const
  })
  const tests = Object.values(run.outside).filter((outcome) => outcome === 'ok').length
  console.log(name, tests, differences)
  return { name, tests, differences }
}
