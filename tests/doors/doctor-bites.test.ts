import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { tryWalls } from '../../src/walls/trials/try-walls.ts'
import type { Language } from '../../src/contract/job.ts'
import type { Provider, Sandbox, Task, TaskEnd } from '../../src/contract/provider.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { test } from '../fixtures/drawn.ts'

const python = findProgram('python3')
const tries = 5

test('The doctor reports a plain child process of Node as a wall that holds nothing', async () => {
  await foundOut('node', [process.execPath, '--input-type=module', '-e', nodeMain])
})

test('The doctor reports a plain child process of Python as a wall that holds nothing', async (t) => {
  if (!python) return t.skip('no Python here')
  await foundOut('python', [python, '-c', pythonMain])
})

async function foundOut(language: Language, command: readonly string[]): Promise<void> {
  let found: readonly string[] = []
  // On a busy machine an unlimited child gets less than half a core as well.
  for (let n = 0; n === 0 || (n < tries && found.join() === `${language}: cpu`); n++) {
    const held = await tryWalls(plain(language, command))
    assert.equal(held.length, 10)
    found = held.filter((one) => one.held).map(({ wall }) => wall)
  }
  assert.deepEqual(found, [])
}

const nodeMain = `import { pathToFileURL } from 'node:url'
import { readFileSync } from 'node:fs'
const { default: main } = await import(pathToFileURL(process.env.MAYFLY_CODE))
console.log(JSON.stringify((await main(JSON.parse(readFileSync(process.env.MAYFLY_INPUT)))) ?? null))
process.exit(0)`
const pythonMain = `import json, os
scope = {}
exec(open(os.environ['MAYFLY_CODE']).read(), scope)
print(json.dumps(scope['main'](json.load(open(os.environ['MAYFLY_INPUT'])))))`

/** Plain child process: its output is the result, and files in its folder are artifacts. */
function plain(language: Language, command: readonly string[]): Provider {
  const run = async ({ code, inputText }: Task): Promise<TaskEnd> => {
    // CPU time is not measured from outside here: the figure of the program itself decides.
    const ended = { status: 'ok', encoding: 'json', cpuTime: Infinity } as const
    // Probes that fill memory or never end are not run without a wall.
    if (/1024|SIGHUP/.test(code)) return { ...ended, resultText: '1024', artifacts: [] }
    const folder = mkdtempSync(join(tmpdir(), 'mayfly-plain-'))
    const [out, file, input] = ['out', 'code.mjs', 'input'].map((name) => join(folder, name))
    mkdirSync(out!)
    writeFileSync(file!, code)
    writeFileSync(input!, inputText)
    const env = {
      ...process.env,
      SECRET: '1',
      MAYFLY_CODE: file,
      MAYFLY_INPUT: input,
      MAYFLY_OUT: out,
    }
    const [program, ...args] = command as [string, ...string[]]
    // Processes that it leaves behind would keep a pipe open.
    const said = openSync(join(folder, 'said'), 'w')
    await once(spawn(program, args, { env, stdio: ['ignore', said, 'ignore'] }), 'exit')
    closeSync(said)
    const resultText = readFileSync(join(folder, 'said'), 'utf8').trim()
    const artifacts = readdirSync(out!).flatMap((path) => {
      try {
        return path === 'pipe' ? [] : [{ path, bytes: readFileSync(join(out!, path)) }]
      } catch {
        return []
      }
    })
    rmSync(folder, { recursive: true })
    return { ...ended, resultText, artifacts }
  }
  return {
    name: 'plain',
    tier: 'none',
    languages: [language],
    // A false claim: doctor tries a CPU quota only on walls that claim to enforce one.
    enforces: ['cpu'],
    tightens: [],
    can: [],
    detect: () => Promise.resolve({ available: true, strength: 0, layers: [], missing: [] }),
    launch: () =>
      Promise.resolve({
        run,
        [Symbol.asyncDispose]: () => Promise.resolve(),
      } as unknown as Sandbox),
  }
}
