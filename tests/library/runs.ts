import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import type { Outcome } from '../../src/contract/outcome.ts'
import type { Mayfly } from '../../src/index.ts'

/** Programs that test a runtime, each run beside a wall as an ordinary user, and within it. */

/** Outcome of each test by its name, in CPython's words; one of Node is a test called `output`. */
export type TestOutcomes = Readonly<Record<string, string>>

export interface LibraryRun {
  readonly outside: TestOutcomes
  readonly inside: TestOutcomes
}

const MODULE_MS_MAX = 100_000
const ORDINARY_UID = 12_345
const PYTHON = '/usr/bin/python3'
const suite = readFileSync(new URL('suite.py', import.meta.url), 'utf8')
/** As inside: nothing of the machine, no terminal. */
const env = {
  PATH: [dirname(process.execPath), '/usr/bin', '/bin'].join(delimiter),
  LANG: 'C.UTF-8',
  TZ: 'UTC',
}

/** Runs a module of CPython's tests in a process of its own; the result is what came of each test. */
const pythonJob = (module: string) => `
import json, subprocess, sys
subprocess.run([${JSON.stringify(PYTHON)}, 'suite.py', '${module}', 'came.json'], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
result = json.load(open('came.json'))
`

export async function runPython(
  mayfly: Mayfly,
  provider: string,
  module: string,
): Promise<LibraryRun> {
  const outside = await outsideOf(PYTHON, ['suite.py', module, 'came.json'], { 'suite.py': suite })
  const outcome = await mayfly.run({
    language: 'python',
    provider,
    code: pythonJob(module),
    files: [{ path: 'suite.py', content: suite }],
    limits: { timeout: MODULE_MS_MAX, memory: '1GB', disk: '512MB', processes: 256, output: '4MB' },
  })
  const inside = outcome.status === 'ok' ? (outcome.result as TestOutcomes) : ended(outcome)
  return { outside: outside.came ? (JSON.parse(outside.came) as TestOutcomes) : {}, inside }
}

export async function runNode(mayfly: Mayfly, provider: string, code: string): Promise<LibraryRun> {
  const { stdout } = await outsideOf(process.execPath, ['job.mjs'], { 'job.mjs': code })
  const outcome = await mayfly.run({
    language: 'node',
    entry: 'program',
    name: 'job.mjs',
    provider,
    code,
    limits: { timeout: MODULE_MS_MAX, memory: '512MB', processes: 256 },
  })
  const same = outcome.status === 'ok' && outcome.stdout === stdout
  const said = `${outcome.status}: ${outcome.stdout}${outcome.stderr}`.slice(0, 400)
  return {
    outside: { output: 'ok' },
    inside: { output: same ? 'ok' : `not "${stdout}" but ${said}` },
  }
}

/** Tests that succeed outside, and do not inside: name and outcome. */
export function differencesOf({
  outside,
  inside,
}: LibraryRun): readonly (readonly [string, string])[] {
  return Object.entries(outside).flatMap(([name, was]) => {
    const is = inside[name] ?? 'absent'
    return was === 'ok' && is !== 'ok' ? [[name, is] as const] : []
  })
}

function ended({ status, error }: Outcome): TestOutcomes {
  return { run: `${status} ${error?.code ?? ''}` }
}

async function outsideOf(
  program: string,
  args: readonly string[],
  files: Readonly<Record<string, string>>,
) {
  const cwd = mkdtempSync(join(tmpdir(), 'mayfly-library-'))
  try {
    chmodSync(cwd, 0o777)
    for (const [name, content] of Object.entries(files)) writeFileSync(join(cwd, name), content)
    const user = process.getuid?.() === 0 ? { uid: ORDINARY_UID, gid: ORDINARY_UID } : {}
    const stdio = ['ignore', 'pipe', 'ignore'] as const
    const child = spawn(program, args, {
      cwd,
      env: { ...env, HOME: cwd, TMPDIR: cwd },
      stdio: [...stdio],
      ...user,
    })
    const timer = setTimeout(() => child.kill('SIGKILL'), MODULE_MS_MAX)
    let stdout = ''
    child.stdout.on('data', (chunk: Buffer) => void (stdout += chunk.toString()))
    await once(child, 'close')
    clearTimeout(timer)
    const came = join(cwd, 'came.json')
    return { stdout, came: existsSync(came) ? readFileSync(came, 'utf8') : undefined }
  } finally {
    rmSync(cwd, { recursive: true, force: true })
  }
}
