import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, type TestContext } from 'node:test'
import { promisify } from 'node:util'
import { findProgram } from '../../src/os/find-program.ts'
import { test } from '../fixtures/drawn.ts'

const folder = mkdtempSync(join(tmpdir(), 'mayfly-surface-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const bin = new URL('../../bin/mayfly.js', import.meta.url).pathname
const config = join(folder, 'mayfly.toml')
writeFileSync(
  config,
  `[schedules.default]
phases = [
  { name = "full", for = "2s" },
  { name = "less", for = "20s", network = "none", syscalls = ["process", "network", "outside"] },
]
`,
)

/** Tries each of three actions, waits until one of them is refused, and tries all of them again. */
const program = `
import json, os, subprocess, time, urllib.error, urllib.request
def executes():
    try: return subprocess.call(["/usr/bin/true"]) == 0
    except OSError: return False
def makes():
    try: os.mkdir("/work/made"); os.rmdir("/work/made"); return True
    except OSError: return False
def reaches():
    # A name that nobody has: whoever may ask is told that, and whoever may not is refused.
    try: urllib.request.urlopen("http://nobody.invalid:80/", timeout=5)
    except urllib.error.HTTPError as error: return error.code != 403
    except OSError: return False
tries = lambda: {"execve": executes(), "mkdir": makes(), "host": reaches()}
first = tries()
due = time.monotonic() + 15
while makes() and time.monotonic() < due: time.sleep(0.05)
time.sleep(0.2)
result = [first, tries()]
`

const mayfly = async (...words: readonly string[]) => {
  const { stdout } = await promisify(execFile)(process.execPath, [bin, ...words])
  return JSON.parse(stdout)
}

for (const wall of ['bubblewrap', 'embedded'])
  test(`S2-26: Actions in the list of a phase succeed in that phase, and no others, ${wall}`, async (t) => {
    if (isMissing('cc', t) || (wall === 'bubblewrap' && isMissing('bwrap', t))) return
    const file = join(folder, `${wall}.py`)
    writeFileSync(file, program)
    const host = 'http://nobody.invalid:80'
    const common = ['--allow', host, '--config', config, '--state', join(folder, wall), '--json']
    const { phases, grows } = await mayfly('policy', 'surface', ...common)
    assert.deepEqual(grows, [])
    const listed = phases.map((phase: Listed) => ({
      execve: 'execve' in phase.calls.of,
      mkdir: 'mkdir' in phase.calls.of,
      host: phase.network.allow.includes(host),
    }))
    assert.deepEqual(listed, [
      { execve: true, mkdir: true, host: true },
      { execve: false, mkdir: false, host: false },
    ])
    const { result, error } = await mayfly(
      'run',
      file,
      '--provider',
      wall,
      '--timeout',
      '20s',
      ...common,
    )
    assert.deepEqual(result, listed, JSON.stringify(error))
  })

test('S2-26: --explain lists the reachable surface on the wall of the run: without a sentinel system calls stay open', async (t) => {
  if (isMissing('cc', t)) return
  const file = join(folder, 'explained.py')
  writeFileSync(file, 'print(1)')
  const words = ['run', file, '--explain', '--config', config, '--state', join(folder, 'explained')]
  const told = async (sentinel: string) => {
    const env = { ...process.env, MAYFLY_SENTINEL: sentinel }
    return (await promisify(execFile)(process.execPath, [bin, ...words], { env })).stderr
  }
  const held = await told('on')
  assert.match(held, /the wall of a process with a sentinel/)
  assert.match(held, /closed: exec, write\n[^]*gone: [^\n]*execve/)
  const unheld = await told('off')
  assert.match(unheld, /the wall of a process without a sentinel/)
  assert.match(unheld, /not enforced +exec, write: without a sentinel the job is terminated here/)
  assert.doesNotMatch(unheld, /gone:/)
})

interface Listed {
  readonly calls: { readonly of: Readonly<Record<string, unknown>> }
  readonly network: { readonly allow: readonly string[] }
}

function isMissing(program: string, t: TestContext): boolean {
  if (process.platform === 'linux' && findProgram(program)) return false
  assert.notEqual(process.env['CI'], 'true', `${program} is missing`)
  t.skip(`${program} is missing`)
  return true
}
