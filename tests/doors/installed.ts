import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { findProgram } from '../../src/os/find-program.ts'

const root = join(import.meta.dirname, '../..')
const fixtures = join(root, 'tests/fixtures/installed')
const npmMsMax = 300_000
const programMsMax = 120_000

/** Calls npm without anything of the checkout on the path. Returns the output of both streams. */
export function npm(folder: string, ...args: readonly string[]): string {
  const quiet = ['--no-audit', '--no-fund', '--no-update-notifier', '--prefer-offline']
  const { status, stdout, stderr } = spawnSync('npm', [...args, ...quiet], {
    cwd: folder,
    encoding: 'utf8',
    timeout: npmMsMax,
    env: outside(),
  })
  assert.equal(status, 0, `npm ${args.join(' ')}\n${stdout}${stderr}`)
  return stdout + stderr
}

/** A folder with a package of its own, and the files of `tests/fixtures/installed/`. */
export function makeApp(folder: string): string {
  mkdirSync(folder, { recursive: true })
  writeFileSync(
    join(folder, 'package.json'),
    '{ "name": "app", "private": true, "type": "module" }',
  )
  cpSync(fixtures, folder, { recursive: true })
  cpSync(join(root, 'examples/provider/shell.ts'), join(folder, 'shell.ts'))
  return folder
}

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export function run(
  folder: string,
  program: string,
  args: readonly string[],
  more: NodeJS.ProcessEnv = {},
): Promise<Ran> {
  const { promise, resolve } = Promise.withResolvers<Ran>()
  const options = { cwd: folder, env: { ...outside(), ...more }, timeout: programMsMax }
  execFile(program, args, options, (error, stdout, stderr) => {
    const code = error ? (typeof error.code === 'number' ? error.code : null) : 0
    resolve({ code, stdout, stderr })
  })
  return promise
}

/** Runs a program that must succeed, and returns its output. */
export async function printed(...given: Parameters<typeof run>): Promise<string> {
  const { code, stdout, stderr } = await run(...given)
  assert.equal(code, 0, `${given[1]} ${given[2].join(' ')}\n${stdout}${stderr}`)
  return stdout
}

/** Environment with nothing of a checkout on the path, and no sign of a test runner above, such as MAYFLY_LONG. */
function outside(): NodeJS.ProcessEnv {
  const { NODE_TEST_CONTEXT: _context, NODE_OPTIONS: _options, ...env } = process.env
  const path = (env['PATH'] ?? '').split(delimiter)
  const own = path.filter((place) => !place.includes('node_modules/.bin'))
  const others = Object.entries(env).filter(([name]) => !name.startsWith('MAYFLY_'))
  return { ...Object.fromEntries(others), PATH: own.join(delimiter), CI: '1' }
}

/** Reason to skip without npm or a registry; throws in CI, where all tests must run. */
export function withoutRegistry(): string | false {
  const found = findProgram('npm')
  const args = ['view', 'zod', 'version', '--prefer-offline']
  if (found && spawnSync('npm', args, { timeout: 60_000, env: outside() }).status === 0)
    return false
  const why = found ? 'no registry answers' : 'npm is missing'
  if (process.env['CI'] === 'true') throw new Error(why)
  return why
}
