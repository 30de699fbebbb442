/**
 * `mayfly exec` beside sandbox-runtime: the start of a command beside the bare one, the attacks of `tests/hostile/folder/attacks.c` that
 * each holds, and commands of honest projects that each breaks. Prints a table in Markdown. Not as root: what a wall does
 * not hold would hit the machine.
 *
 *     npm ci --prefix bench/others    # sandbox-runtime, which needs bubblewrap, socat and ripgrep
 *     node bench/exec.ts [--rounds 30] [--mayfly FILE] [--json]
 *
 * Each gets the same: the folder to write to, HOME and named files closed, no network. `--mayfly` names the program of an
 * installed package.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { attacks } from '../tests/hostile/folder/attack-list.ts'
import {
  closedNames,
  homeFiles,
  makeHome,
  makeProgram,
  makeProject,
  openTargets,
  secretFiles,
} from '../tests/hostile/folder/project.ts'
import { timed } from '../src/lib/measure.ts'
import { sideBySide, type Contender } from './side-by-side.ts'

const COMMAND_MS_MAX = 60_000
const here = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const cli = here('others/node_modules/@anthropic-ai/sandbox-runtime/dist/cli.js')
const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '30' },
    mayfly: { type: 'string', default: here('../bin/mayfly.js') },
    json: { type: 'boolean' },
  },
})
const rounds = Math.min(1_000, Math.max(5, Number(flags.rounds) || 30))

/** Files of honest projects, and the commands run in them. Each prints the same on every machine. */
const projects: Readonly<
  Record<string, { readonly files: Readonly<Record<string, string>>; readonly script: string }>
> = {
  'npm test': {
    files: {
      'package.json': '{ "scripts": { "test": "node --test --test-reporter=tap a.test.js" } }',
      'a.test.js': "require('node:test')('adds', () => require('node:assert').equal(1 + 1, 2))",
    },
    script: 'npm test --silent | grep -c "^ok 1"',
  },
  'npm ci': {
    files: {
      'package.json': '{ "name": "a", "version": "1.0.0", "dependencies": { "dep": "file:dep" } }',
      'package-lock.json': JSON.stringify({
        name: 'a',
        version: '1.0.0',
        lockfileVersion: 3,
        packages: {
          '': { name: 'a', version: '1.0.0', dependencies: { dep: 'file:dep' } },
          dep: { version: '1.0.0' },
          'node_modules/dep': { resolved: 'dep', link: true },
        },
      }),
      'dep/package.json': '{ "name": "dep", "version": "1.0.0" }',
      'dep/index.js': 'module.exports = 42',
    },
    script: 'npm ci --offline --no-audit --no-fund --silent && node -p "require(\'dep\')"',
  },
  'git status, git commit': {
    files: { file: 'one\n' },
    script:
      'git status --short && git add file && git -c user.name=a -c user.email=a@b commit -qm one && git log --format=%s',
  },
  make: {
    files: {
      Makefile: 'hello: hello.c\n\t@cc -O1 -o hello hello.c\n',
      'hello.c': '#include <stdio.h>\nint main(void) { puts("made"); }\n',
    },
    script: 'make -s && ./hello',
  },
  'python3 -m unittest': {
    files: {
      'test_a.py':
        'import unittest\nclass A(unittest.TestCase):\n  def test(self): self.assertEqual(1 + 1, 2)\n',
    },
    script: 'python3 -m unittest -q 2>&1 | grep -c OK',
  },
  'a pool of processes': {
    files: {
      'pool.py':
        'from multiprocessing import Pool\ndef double(n): return 2 * n\nif __name__ == "__main__":\n  with Pool(2) as pool: print(pool.map(double, [1, 2, 3]))\n',
    },
    script: 'python3 pool.py',
  },
  'a server on a port': {
    files: {
      'server.mjs':
        "import { createServer } from 'node:http'\nconst server = createServer((_, to) => to.end('served\\n')).listen(0, '127.0.0.1', async () => {\n  process.stdout.write(await (await fetch(`http://127.0.0.1:${server.address().port}`)).text())\n  server.close()\n})\n",
    },
    script: 'node server.mjs',
  },
  'a temporary file, moved into the folder': {
    files: {},
    script: 'file=$(mktemp) && echo kept > "$file" && mv "$file" kept && cat kept',
  },
  'a file that is watched': {
    files: {
      'watch.mjs':
        "import { watch, writeFileSync } from 'node:fs'\nwatch('.', (_, name) => { if (name !== 'made') return; console.log('seen'); process.exit() })\nsetTimeout(() => writeFileSync('made', ''), 50)\n",
    },
    script: 'node watch.mjs',
  },
}

if (process.getuid?.() === 0) throw new Error('Run this bench as an ordinary user')
if (!existsSync(cli)) throw new Error('There is no sandbox-runtime: npm ci --prefix bench/others')
const base = mkdtempSync(path.join(os.tmpdir(), 'mayfly-bench-'))
const home = path.join(base, 'home')
const settings = path.join(base, 'settings.json')
const env = { PATH: process.env['PATH'], HOME: home, MAYFLY_STATE: path.join(base, 'state') }
const walls: Readonly<
  Record<string, (command: readonly string[], flags?: readonly string[]) => readonly string[]>
> = {
  'mayfly exec': (command, more = []) =>
    [process.execPath, flags.mayfly, 'exec', ...more, '--deny', ...closedNames, '--'].concat(
      command,
    ),
  'sandbox-runtime': (command) => [process.execPath, cli, '--settings', settings, ...command],
}

try {
  prepare()
  const started = await starts()
  const held = await holds()
  const broken = await breaks()
  if (flags.json) console.log(JSON.stringify({ started, held, broken }))
  else print(started, held, broken)
} finally {
  rmSync(base, { recursive: true, force: true })
}

function prepare(): void {
  makeHome(home)
  const denyRead = [...homeFiles.map((name) => `~/${name}`), env.MAYFLY_STATE].concat(
    secretFiles,
    closedNames,
  )
  mkdirSync(env.MAYFLY_STATE, { recursive: true })
  const network = { allowedDomains: [], deniedDomains: [] }
  const filesystem = { denyRead, allowWrite: ['.'], denyWrite: closedNames }
  writeFileSync(settings, JSON.stringify({ network, filesystem }))
}

/** Milliseconds of each command, interleaved. */
async function starts() {
  const cwd = folder()
  const measured = []
  for (const command of [['true'], ['npm', 'root']]) {
    const contenders: Contender[] = [
      { name: 'bare', once: () => timed(() => must(command, cwd)) },
      ...Object.entries(walls).map(([name, wall]) => ({
        name,
        once: () => timed(() => must(wall(command), cwd)),
      })),
    ]
    const figures = Object.fromEntries(await sideBySide(contenders, rounds, 20))
    measured.push({ command: command.join(' '), figures })
  }
  return measured
}

/** For each wall, the attacks that it does not prevent, each in its own project. */
async function holds() {
  const program = path.join(base, 'attacks')
  await makeProgram('attacks', program)
  const lost: Record<string, string[]> = Object.fromEntries(
    Object.keys(walls).map((name) => [name, []]),
  )
  for (const attack of Object.keys(attacks))
    for (const [name, wall] of Object.entries(walls))
      if ((await attacked(attack, program, wall)) !== `${attack} 0`) lost[name]!.push(attack)
  return lost
}

async function attacked(attack: string, program: string, wall: (typeof walls)[string]) {
  const cwd = folder()
  makeProject(cwd)
  cpSync(program, path.join(cwd, 'attacks'))
  const { variables, close } = await openTargets(cwd, env.MAYFLY_STATE)
  const named = Object.entries(variables).map((pair) => pair.join('='))
  const { stdout } = await run(wall(['./attacks', attack], ['--env', ...named]), cwd, variables)
  close()
  return stdout.trim().split('\n').at(-1)
}

/** For each wall, the projects whose command prints other output than without a wall. */
async function breaks() {
  const broken: Record<string, string[]> = Object.fromEntries(
    Object.keys(walls).map((name) => [name, []]),
  )
  for (const [project, { files, script }] of Object.entries(projects)) {
    const command = ['sh', '-c', script]
    const bare = await run(command, await projectOf(files))
    if (bare.code !== 0 || bare.stdout === '') {
      console.error(`${project} is left out: ${bare.stderr.slice(0, 200)}`)
      continue
    }
    for (const [name, wall] of Object.entries(walls)) {
      const { stdout, stderr } = await run(wall(command), await projectOf(files))
      if (stdout === bare.stdout) continue
      broken[name]!.push(project)
      console.error(`${project}, ${name}: ${stdout.slice(0, 200)} ${stderr.slice(-300)}`)
    }
  }
  return broken
}

async function projectOf(files: Readonly<Record<string, string>>): Promise<string> {
  const cwd = folder()
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(cwd, name)), { recursive: true })
    writeFileSync(path.join(cwd, name), text)
  }
  await must(['git', 'init', '-q', '-b', 'main'], cwd)
  return cwd
}

function folder(): string {
  return mkdtempSync(path.join(base, 'folder-'))
}

async function must(command: readonly string[], cwd: string): Promise<void> {
  const { code, stderr } = await run(command, cwd)
  if (code !== 0) throw new Error(`${command.join(' ')}: ${stderr}`)
}

async function run([program, ...args]: readonly string[], cwd: string, more = {}) {
  const child = spawn(program!, args, {
    cwd,
    env: { ...env, ...more },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: COMMAND_MS_MAX,
    killSignal: 'SIGKILL',
  })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk))
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk))
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, stdout, stderr }
}

function print(
  started: Awaited<ReturnType<typeof starts>>,
  held: Awaited<ReturnType<typeof holds>>,
  broken: Awaited<ReturnType<typeof breaks>>,
): void {
  const names = Object.keys(walls)
  const count = Object.keys(attacks).length
  const list = (all: readonly string[]) => (all.length === 0 ? 'none' : all.join(', '))
  const row = (title: string, of: (name: string) => string) =>
    console.log(`| ${title} | ${names.map(of).join(' | ')} |`)
  row('', (name) => `\`${name}\``)
  row('---', () => '---')
  for (const { command, figures } of started) {
    const bare = figures['bare']!.p50
    row(`\`${command}\`, beside ${bare.toFixed(0)} ms bare`, (name) => {
      const { p50 } = figures[name]!
      return `${p50.toFixed(0)} ms (${(p50 / bare).toFixed(1)} ×)`
    })
  }
  row(`attacks held, of ${count}`, (name) => `${count - held[name]!.length}`)
  row('not held', (name) => list(held[name]!))
  row('honest commands that break', (name) => list(broken[name]!))
}
