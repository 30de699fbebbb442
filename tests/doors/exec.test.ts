import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  chownSync,
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { isAlive, processFacts } from '../../src/os/proc.ts'
import { tryReadLink, tryReadNames, tryReadText } from '../../src/os/read.ts'
import { until } from '../conformance/stand.ts'
import { hasProgram, makeProgram, noFolderWall } from '../hostile/folder/project.ts'
import { descendantsOf } from '../hostile/proc.ts'
import { bin, documentOf, makePlace, mayfly, noOrdinaryUser, type RunOptions } from './program.ts'

/** Commands in a folder wall: streams, signals, terminal, limits, record. */
const timeout = 240_000
const skip = noFolderWall
const place = makePlace()
after(() => place.remove())

const exec = (words: readonly string[], options: RunOptions = {}) =>
  mayfly(place, ['exec', ...words], options)
const shell = (script: string, flags: readonly string[] = [], options: RunOptions = {}) =>
  exec([...flags, '--', 'sh', '-c', script], options)

/** Output that a terminal does not take, and the terminals of the caller and of the wall together do. */
const vainBytes = 20_000
const CLOCK_MONOTONIC = 1
const noClocks = !existsSync('/proc/self/timers') && 'this kernel does not show timers'
const isStopped = (pid: number) => processFacts(pid)?.state === 'T'
const commandLineOf = (pid: number) => tryReadText(`/proc/${pid}/cmdline`) ?? ''
const openFilesOf = (pid: number) =>
  tryReadNames(`/proc/${pid}/fd`).map((fd) => tryReadLink(`/proc/${pid}/fd/${fd}`) ?? '')
/** Clocks of the timers of a process. */
const clocksOf = (pid: number) =>
  (tryReadText(`/proc/${pid}/timers`) ?? '')
    .matchAll(/ClockID: (\d+)/g)
    .map(([, clock]) => Number(clock))
    .toArray()

suite('mayfly exec', { skip, timeout, concurrency: 2 }, () => {
  test('passes arguments, input, output, variables, working folder and exit code on', async () => {
    const script = 'echo "$1 $REGION $(pwd)"; cat; echo wrong >&2; exit 3'
    const ran = await exec(['--', 'sh', '-c', script, 'name', 'a b'], {
      stdin: 'typed',
      env: { REGION: 'eu' },
    })
    assert.equal(ran.stdout, `a b eu ${place.cwd}\ntyped`)
    assert.equal(ran.stderr, 'wrong\n')
    assert.equal(ran.code, 3)
  })

  test('binds the folder itself: new files appear there at once, and belong to its owner', async () => {
    const { code } = await shell('mkdir -p a/b && echo made > a/b/c && ln -s c a/b/d && mv a/b a/e')
    assert.equal(code, 0)
    assert.equal(readFileSync(join(place.cwd, 'a/e/d'), 'utf8'), 'made\n')
    assert.equal(statSync(join(place.cwd, 'a/e/c')).uid, process.getuid?.())
  })

  test('hides HOME, keeps the system read-only, and has no network', async () => {
    writeFileSync(join(place.env['HOME']!, 'notes'), 'mine\n')
    const script = [
      'ls -A ~ | wc -l; echo kept > ~/x && cat ~/x',
      'echo x 2>/dev/null > /usr/x || echo read-only; echo x 2>/dev/null > /etc/x || echo read-only',
      'cat /proc/net/route | wc -l; cat /proc/1/environ 2>/dev/null || echo closed',
      'ls / | tr "\\n" " "',
    ].join('\n')
    const { stdout } = await shell(script)
    assert.match(stdout, /^0\nkept\nread-only\nread-only\n1\nclosed\n/)
    assert.doesNotMatch(stdout, /\bsys\b|\bmnt\b|\bboot\b/)
    assert.throws(() => statSync(join(place.env['HOME']!, 'x')))
  })

  test('has a temporary folder of its own, unless the one of TMPDIR is in a folder that it may write', async () => {
    const outside = { TMPDIR: '/tmp/claude/1000', TMP: join(place.cwd, 'no-such-folder') }
    const own = await shell('echo $TMPDIR $TMP; mktemp', [], { env: outside })
    assert.match(own.stdout, /^\/tmp \/tmp\n\/tmp\/tmp\.\w+\n$/)
    mkdirSync(join(place.cwd, 'scratch'), { recursive: true })
    const TMPDIR = join(place.cwd, 'scratch')
    const inside = await shell('dirname $(mktemp)', [], { env: { TMPDIR } })
    assert.equal(inside.stdout, `${TMPDIR}\n`)
  })

  test('says which files beside the folder and in HOME end with the command, and how to keep them', async () => {
    const note = async (script: string, flags: readonly string[] = [], cwd = place.cwd) => {
      const command = ['exec', ...flags, '--', 'sh', '-c', script]
      const { stderr, code } = await mayfly({ ...place, cwd }, command)
      assert.equal(code, 0, stderr)
      return stderr.split('\n').filter((line) => line.includes('not kept'))
    }
    const told = (names: string, hint = '') =>
      `mayfly: not kept: ${names}: written to a folder in memory, gone with the command; write below this folder${hint}`
    for (const script of ['echo x > ../y', 'echo x > $PWD/../y', 'cd ..; mkdir y', 'mv $0 ../y'])
      assert.deepEqual(await note(script.replace('$0', '$(mktemp)')), [told('../y')])
    mkdirSync(join(place.cwd, 'inner'))
    const flag = ', or "--write .." keeps it'
    const inner = join(place.cwd, 'inner')
    assert.deepEqual(await note('echo x > ../y', [], inner), [told('../y', flag)])
    assert.deepEqual(await note('echo x > ../y', ['--write', '..'], inner), [])
    const homes = 'echo x > ~/out; mkdir -p ~/.cache/a ~/.local/bin'
    assert.deepEqual(await note(homes), [told('../home/.local, ../home/out')])
    assert.deepEqual(await note('echo x > ../y', ['--dry-run']), [told('../y')])
    assert.deepEqual(await note('mktemp; touch ../y ~/y; rm ../y ~/y; touch in; rm in'), [])
    assert.deepEqual(await note('echo x > ../y', ['--quiet']), [])
    const { notes } = documentOf(await shell('echo x > ../y', ['--json'])) as { notes: string[] }
    assert.match(notes.at(-1)!, /^not kept: \.\.\/y: /)
  })

  test('ends by the signal that ended the command, and passes signals on', async () => {
    const killed = await shell('kill -TERM $$')
    assert.deepEqual([killed.code, killed.signal], [null, 'SIGTERM'])
    const dumped = await shell('kill -SEGV $$')
    assert.deepEqual([dumped.code, dumped.signal], [139, null])
    const ran = await shell(
      'trap "echo caught; exit 9" TERM; echo ready; while :; do sleep 0.05; done',
      [],
      {
        started: (child) =>
          child.stdout!.once('data', () => {
            child.kill('SIGTERM')
          }),
      },
    )
    assert.deepEqual([ran.stdout, ran.code], ['ready\ncaught\n', 9])
  })

  test('kills processes that the command leaves running', async () => {
    const mark = `left-${process.pid}`
    const { stdout } = await shell(`sleep 86399 & echo ${mark}`)
    assert.equal(stdout.trim(), mark)
    assert.doesNotMatch(readFileSync('/proc/loadavg', 'utf8'), /never/)
    const { stdout: seen } = await shell('ps -e -o args 2>/dev/null || true')
    assert.doesNotMatch(seen, /86399/)
  })

  test('reports a missing or not executable program with the exit code of a shell', async () => {
    const missing = await exec(['--', 'no-such-program'])
    assert.equal(missing.code, 127)
    assert.match(missing.stderr, /cannot run "no-such-program": no such program in this wall/)
    const line = await exec(['--', 'echo one; echo two'])
    assert.equal(line.code, 127)
    assert.match(line.stderr, /no such program in this wall; .+ mayfly exec -- sh -c 'LINE'$/m)
    writeFileSync(join(place.cwd, 'data'), 'x')
    assert.equal((await exec(['--', './data'])).code, 126)
  })

  test('prints each refusal with its rule and a hint, in one line', async () => {
    mkdirSync(join(place.cwd, '.git/hooks'), { recursive: true })
    writeFileSync(join(place.cwd, '.env'), 'SECRET=1\n')
    const { stderr } = await shell('echo x > .git/hooks/pre-commit; cat .env; exit 0')
    assert.match(
      stderr,
      /^mayfly: refused: write to \.git\/hooks\/pre-commit \(protected: \.git\/hooks\); no flag opens it: .+$/m,
    )
    assert.match(
      stderr,
      /^mayfly: refused: read of \.env \(secret: \.env\*\); "--read \.env" permits reading it$/m,
    )
    const { stdout } = await shell('cat .env', ['--read', '.env'])
    assert.equal(stdout, 'SECRET=1\n')
    assert.notEqual((await shell('echo x >> .env', ['--read', '.env'])).code, 0)
  })

  test('prints one document with --json: outcome, output and refusals', async () => {
    const ran = await exec([
      '--json',
      '--',
      'sh',
      '-c',
      'echo out; echo err >&2; echo x > .bashrc; exit 5',
    ])
    const { status, exitCode, stdout, stderr, refused, tier, provider } = documentOf(ran)
    assert.deepEqual(
      [status, exitCode, stdout, tier, provider],
      ['error', 5, 'out\n', 'process', 'folder'],
    )
    assert.match(stderr, /^err\n/)
    const path = join(place.cwd, '.bashrc')
    assert.deepEqual(refused, [{ what: 'write', path, rule: 'protected', name: '.bashrc' }])
    assert.equal(ran.code, 5)
  })

  test('prints a document that is larger than a pipe whole, also if a signal ended the command', async () => {
    const large = "head -c 4000000 /dev/zero | tr '\\0' a"
    const { status, stdout, truncated } = documentOf(await shell(large, ['--json']))
    assert.deepEqual([status, stdout.length], ['ok', 4_000_000])
    assert.deepEqual(truncated, { stdout: false, stderr: false })
    const killed = await shell(`${large}; kill -TERM $$`, ['--json'])
    assert.deepEqual([documentOf(killed).stdout.length, killed.signal], [4_000_000, 'SIGTERM'])
  })

  test('marks captured output that was cut, and prints bytes that are no text in base64', async () => {
    const cut = documentOf(await shell('yes ü | head -c 17000000; echo; echo last', ['--json']))
    assert.deepEqual(cut.truncated, { stdout: true, stderr: false })
    assert.deepEqual([cut.stdout.slice(0, 4), cut.stdoutEncoding], ['ü\nü\n', undefined])
    assert.match(cut.stdout.slice(-300_000), /\nü\n… \d+ bytes left out …\nü\n[^]*\nlast\n$/)
    const raw = documentOf(await shell("printf 'a\\377'; echo text >&2", ['--json']))
    assert.deepEqual([raw.stdout, raw.stdoutEncoding], ['Yf8=', 'base64'])
    assert.deepEqual([raw.stderr, raw.stderrEncoding], ['text\n', undefined])
  })

  test('takes the arguments after -- as the command, and no others', async () => {
    for (const words of [[], ['npm', 'test'], ['--', ''], ['--timeout', 'soon', '--', 'true']])
      assert.equal((await exec(words)).code, words.includes('') ? 127 : 2, words.join(' '))
  })

  test('removes secrets from the environment, and reports it', async () => {
    const env = { DEPLOY_TOKEN: 'abc', MAYFLY_API_KEY: 'k'.repeat(32), SSH_AUTH_SOCK: '/tmp/agent' }
    const script = 'echo "[$DEPLOY_TOKEN$MAYFLY_API_KEY$SSH_AUTH_SOCK]"'
    const without = await shell(script, [], { env })
    assert.equal(without.stdout, '[]\n')
    assert.match(
      without.stderr,
      /Environment variables not passed: DEPLOY_TOKEN \("--env NAME" passes one\)/,
    )
    const given = await shell(script, ['--env', 'DEPLOY_TOKEN', 'SSH_AUTH_SOCK=x'], { env })
    assert.equal(given.stdout, '[abcx]\n')
  })

  test('does not run a hook of NODE_OPTIONS outside of the wall', async () => {
    const marker = join(place.state, 'marker')
    writeFileSync(
      join(place.cwd, 'hook.js'),
      `require('fs').writeFileSync(${JSON.stringify(marker)}, 'x')`,
    )
    await shell('node -e 0', ['--env', `NODE_OPTIONS=--require ${place.cwd}/hook.js`])
    assert.throws(() => statSync(marker))
  })
})

/** Forks four children of a process of 100 MB, which live for several samples of the wall. */
const sharing = `import os, time
held = b'1' * (100 << 20)
children = []
for _ in range(4):
    pid = os.fork()
    if pid == 0:
        time.sleep(1.5)
        os._exit(0)
    children.append(pid)
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
print('all')`

/** A child really uses more than the limit. */
const filling = `import os, sys, time
pid = os.fork()
if pid == 0:
    held = b'1' * (300 << 20)
    time.sleep(30)
    os._exit(0)
sys.exit(os.waitpid(pid, 0)[1] != 0)`

suite('Limits of mayfly exec', { skip, timeout, concurrency: 2 }, () => {
  test('--timeout ends the command and what it started, with exit code 4', async () => {
    const ran = await shell('sleep 86398 & sleep 86398', ['--timeout', '1s'])
    assert.equal(ran.code, 4)
    assert.match(
      ran.stderr,
      /mayfly: ended: the command ran longer than 1 s of wall time \(--timeout 2s raises it\)/,
    )
  })

  test('ceilings of the configuration limit memory, processes, time and network', async () => {
    const file = join(place.state, 'ceilings.toml')
    const ceilings = 'memory = "96MB"\nprocesses = 40\ntimeout = "20s"\nnetwork = "none"\n'
    writeFileSync(file, `[ceilings]\n${ceilings}`)
    const memory = await exec([
      '--config',
      file,
      '--',
      'node',
      '-e',
      'a = []; for (;;) a.push(Buffer.alloc(2 ** 24, 1))',
    ])
    assert.equal(memory.code, 5)
    assert.match(
      memory.stderr,
      /ended: the command used more memory than 96 MB \(the operator's "ceilings\.memory" holds it there\)/,
    )
    const forks = 'i=0; while [ $i -lt 100 ]; do sleep 5 & i=$((i+1)); done; echo all'
    const processes = await shell(forks, ['--config', file])
    assert.match(processes.stderr, /[Cc]annot fork|Resource temporarily unavailable/)
    const network = await shell('true', ['--config', file, '--allow', 'example.com'])
    assert.equal(network.code, 2)
  })

  for (const who of ['self', 'ordinary'] as const)
    test(
      `pages that forked children share count once in the memory of a command of ${who}`,
      { skip: who === 'ordinary' && noOrdinaryUser() },
      async () => {
        const own = makePlace(who)
        try {
          const file = join(own.state, 'memory.toml')
          writeFileSync(file, '[ceilings]\nmemory = "256MB"\n')
          const run = (program: string) =>
            mayfly(own, ['exec', '--config', file, '--', '/usr/bin/python3', '-c', program])
          const shared = await run(sharing)
          assert.deepEqual([shared.code, shared.stdout], [0, 'all\n'], shared.stderr)
          const filled = await run(filling)
          assert.equal(filled.code, 5, filled.stderr)
          assert.match(filled.stderr, /used more memory than 256 MB/)
        } finally {
          own.remove()
        }
      },
    )

  test('floors, signatures and phases that a process wall cannot enforce end with 126', async () => {
    const demands = {
      floor: '[[tenants]]\nname = "default"\nfloor = "gvisor"\n',
      signing: '[[tenants]]\nname = "default"\nsigning = { required = true }\n',
      phases:
        '[schedules.default]\nphases = [{ name = "a", for = "5s" }, { name = "b", for = "5s" }]\n',
    }
    for (const [name, text] of Object.entries(demands)) {
      const file = join(place.state, `${name}.toml`)
      writeFileSync(file, text)
      const ran = await shell('echo ran', ['--config', file])
      assert.deepEqual([ran.code, ran.stdout], [126, ''], `${name}: ${ran.stderr}`)
      assert.match(ran.stderr, /mayfly: cannot run the command: /)
    }
  })

  test('a configuration file in the folder cannot widen rights, and cannot be changed from inside', async () => {
    // A folder of its own: other tests run beside this one.
    const cwd = join(place.cwd, 'configured')
    mkdirSync(cwd)
    const run = (script: string) => mayfly({ ...place, cwd }, ['exec', '--', 'sh', '-c', script])
    writeFileSync(join(cwd, 'mayfly.toml'), 'network = "open"\n')
    assert.equal((await run('true')).code, 2)
    writeFileSync(join(cwd, 'mayfly.toml'), '[ceilings]\ntimeout = "1s"\n')
    assert.equal((await run('echo > mayfly.toml; sleep 86397')).code, 4)
  })

  test('each command has an admitted and an ended line, also if no wall can run it', async () => {
    const file = join(place.state, 'floor.toml')
    writeFileSync(file, '[[tenants]]\nname = "default"\nfloor = "gvisor"\n')
    const own = { ...place, env: { ...place.env, MAYFLY_STATE: join(place.state, 'own') } }
    const ran = await mayfly(own, ['exec', '--', 'sh', '-c', 'exit 4'])
    const refused = await mayfly(own, ['exec', '--config', file, '--', 'true'])
    assert.deepEqual([ran.code, refused.code], [4, 126], `${ran.stderr}\n${refused.stderr}`)
    const lines = documentOf(await mayfly(own, ['audit', 'list', '--json'])) as unknown as {
      kind: string
      run: string
      status: string
    }[]
    const [first, second, third, fourth] = lines.slice(-4)
    const said = JSON.stringify(lines)
    assert.deepEqual(
      [first!.kind, second!.kind, second!.status],
      ['admitted', 'ended', 'error'],
      said,
    )
    assert.deepEqual([third!.kind, fourth!.kind, fourth!.run], ['admitted', 'ended', third!.run])
    assert.match(fourth!.status, /^(?:blocked|unavailable)$/)
    assert.equal((await mayfly(own, ['audit', 'verify'])).code, 0)
  })
})

suite('Files as streams of mayfly exec', { skip, timeout }, () => {
  const beside = join(place.cwd, '../beside')
  before(async () => {
    mkdirSync(beside, { mode: 0o755 })
    await makeProgram('attacks', join(place.cwd, 'attacks'))
  })

  /** Runs a command as a shell does that redirects its streams from and to files. */
  async function redirected(words: readonly string[], input: string, output: string) {
    const streams = [openSync(input, 'r'), openSync(output, 'a')] as const
    const child = spawn(process.execPath, [bin, 'exec', ...words], {
      cwd: place.cwd,
      env: place.env,
      stdio: [...streams, 'pipe'],
    })
    for (const one of streams) closeSync(one)
    let stderr = ''
    child.stderr!.on('data', (chunk: Buffer) => (stderr += String(chunk)))
    const [code] = (await once(child, 'close')) as [number | null]
    return { code, stderr, written: readFileSync(output, 'utf8') }
  }

  const facts = (file: string) => {
    const { mode, mtimeMs, uid } = statSync(file)
    return [readFileSync(file, 'utf8'), mode, mtimeMs, uid]
  }

  for (const [where, inside, flags] of [
    ['outside of the folder', false, []],
    ['below a folder of --read', false, ['--read', beside]],
    ['in the folder', true, []],
    ['in the folder of a dry run', true, ['--dry-run']],
  ] as const)
    test(`a file ${where} that is a stream is read or written, and not changed otherwise`, async () => {
      const folder = inside ? place.cwd : beside
      const input = join(folder, 'input')
      const output = join(folder, 'output')
      writeFileSync(input, 'given\n', { mode: 0o644 })
      writeFileSync(output, 'before\n', { mode: 0o644 })
      const before = facts(input)
      const tried = await redirected([...flags, '--', './attacks', 'streams'], input, output)
      assert.equal(tried.written, 'before\nstreams 0\n', tried.stderr)
      assert.match(
        tried.stderr,
        /refused: write to .*input \(stream: a stream of the caller\); it may be used as it was given/,
      )
      assert.deepEqual(facts(input), before)
      assert.equal(statSync(output).mode & 0o7777, 0o644)
      const ran = await redirected([...flags, '--', './attacks', 'own_streams'], input, output)
      assert.deepEqual([ran.code, ran.written], [0, 'given\nown_streams 0\n'], ran.stderr)
    })

  test('files that only their owner may read are opened again by /dev/stdin, and written by /dev/stderr', async () => {
    const input = join(beside, 'private')
    const output = join(beside, 'log')
    writeFileSync(input, 'given\n', { mode: 0o600 })
    writeFileSync(output, '', { mode: 0o600 })
    const script = 'exec 2>&1; cat /dev/stdin - < /dev/stdin; echo said >> /dev/stderr'
    const { code, written, stderr } = await redirected(['--', 'sh', '-c', script], input, output)
    assert.deepEqual([code, written], [0, 'given\ngiven\nsaid\n'], stderr)
  })

  const noPython = !hasProgram('python3') && 'there is no Python, whose files of memory these are'
  test('files of memory are streams as others are', { skip: noPython }, async () => {
    const given = [
      'import os, subprocess, sys',
      'streams = [os.memfd_create(name) for name in ("input", "output")]',
      'os.write(streams[0], b"given\\n")',
      'os.lseek(streams[0], 0, os.SEEK_SET)',
      'code = subprocess.run(sys.argv[1:], stdin=streams[0], stdout=streams[1]).returncode',
      'print(code, os.pread(streams[1], 100, 0))',
    ].join('\n')
    const script = 'cat; cat /dev/stdin; echo said >> /dev/stdout'
    const words = [process.execPath, bin, 'exec', '--', 'sh', '-c', script]
    const child = spawn('python3', ['-c', given, ...words], {
      cwd: place.cwd,
      env: { PATH: process.env['PATH'], ...place.env },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let said = ''
    child.stdout.on('data', (chunk: Buffer) => (said += String(chunk)))
    await once(child, 'close')
    assert.equal(said, "0 b'given\\ngiven\\nsaid\\n'\n")
  })

  test('a folder as a stream, whose files would be those outside of the wall, ends with 126', async () => {
    const { code, written, stderr } = await redirected(
      ['--', 'true'],
      beside,
      join(beside, 'nothing'),
    )
    assert.deepEqual([code, written], [126, ''])
    assert.match(stderr, /cannot run the command: .*standard stream: Is a directory/)
  })
})

suite('Races and process 1 of mayfly exec', { skip, timeout }, () => {
  test('Attack: a name is created while its folder is swapped for one where a protected file has it', async () => {
    const cwd = join(place.cwd, 'racing')
    for (const name of ['empty', 'full']) mkdirSync(join(cwd, name), { recursive: true })
    await makeProgram('attacks', join(cwd, 'attacks'))
    writeFileSync(join(cwd, '.envrc'), 'mine\n')
    linkSync(join(cwd, '.envrc'), join(cwd, 'full/same'))
    const { stdout, stderr } = await mayfly({ ...place, cwd }, [
      'exec',
      '--',
      './attacks',
      'created_race',
    ])
    assert.equal(stdout, 'created_race 0\n', stderr)
  })

  for (const [attack, what] of [
    ['first_process', 'process 1 is made to give way to others'],
    ['links_to_first_process', 'files of process 1 are opened by a descriptor with O_PATH'],
  ] as const)
    test(`Attack: ${what}`, async () => {
      const cwd = join(place.cwd, attack)
      mkdirSync(cwd)
      await makeProgram('attacks', join(cwd, 'attacks'))
      const ran = await mayfly({ ...place, cwd }, ['exec', '--', './attacks', attack])
      assert.equal(ran.stdout, `${attack} 0\n`, ran.stderr)
    })

  test('a command gives way itself, and reads what is public of process 1', async () => {
    const { stdout, stderr } = await shell('nice -n 1 ls /proc/self/fd | head -1; cat /proc/1/comm')
    assert.match(stdout, /^0\n.+\n$/, stderr)
  })
})

suite('mayfly exec on a terminal', { skip, timeout }, () => {
  const pty = join(place.state, 'pty')
  before(async () => {
    await makeProgram('pty', pty)
    await makeProgram('attacks', join(place.cwd, 'attacks'))
  })

  function onTerminal(words: readonly string[]) {
    return spawn(pty, ['77', '33', process.execPath, bin, 'exec', ...words], {
      cwd: place.cwd,
      env: place.env,
      stdio: ['pipe', 'pipe', 'inherit'],
    })
  }

  /** Types each text after the answer to the previous one. */
  async function typed(words: readonly string[], dialogue: readonly (readonly [RegExp, string])[]) {
    const child = onTerminal(words)
    let said = ''
    let next = 0
    const { promise, resolve } = Promise.withResolvers<number | null>()
    child.once('close', resolve)
    child.stdout.on('data', (chunk: Buffer) => {
      said += String(chunk)
      const [answer, text] = dialogue[next] ?? []
      if (!answer?.test(said)) return
      next += 1
      said = ''
      child.stdin.write(text!)
    })
    return { code: await promise, said, answered: next }
  }

  /** Types more than a terminal holds, to a command that reads nothing, and returns all processes once it is full. */
  async function typedInVain(flags: readonly string[]) {
    const full = join(place.cwd, 'full')
    rmSync(full, { force: true })
    const child = onTerminal([...flags, '--', './attacks', 'unread_keys'])
    const closed = once(child, 'close') as Promise<[number | null]>
    child.stdout.once('data', () => child.stdin.write('k'.repeat(20_000)))
    await until(() => existsSync(full), 'a full terminal')
    return { closed, all: descendantsOf(child.pid!) }
  }

  async function areGone(all: readonly number[]) {
    try {
      await until(() => !all.some((pid) => isAlive(pid)), 'the end of all processes')
    } finally {
      for (const pid of all) if (isAlive(pid)) process.kill(pid, 'SIGKILL')
    }
  }

  test('runs on its own pty of the same size, in which keys become signals', async () => {
    const { code, answered } = await typed(
      ['--', 'sh', '-i'],
      [
        [/[$#] $/, 'tty; stty size; echo $((40+2))\r'],
        // Not a child of this shell: dash loses a signal while it starts one.
        [/\/dev\/pts\/0\r\n33 77\r\n42\r\n/, 'sh -c "echo go$((6*7)); exec sleep 86396"\r'],
        [/go42\r\n$/, '\x03'],
        [/[$#] $/, 'exit 7\r'],
      ],
    )
    assert.deepEqual([code, answered], [7, 4])
  })

  test('--timeout ends a command that reads no key of those that are typed', async () => {
    const { closed, all } = await typedInVain(['--timeout', '15s'])
    await areGone(all)
    assert.deepEqual(await closed, [4, null])
  })

  test('a kill of mayfly, and SIGTERM, end a command that reads no key of those that are typed', async () => {
    for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
      const { all } = await typedInVain([])
      process.kill(all[0]!, signal)
      await areGone(all)
    }
  })

  test('--timeout ends a command that stops itself, and so this job', async () => {
    const child = onTerminal(['--timeout', '1s', '--', 'sh', '-c', 'sleep 86393 & kill -STOP $$'])
    const closed = once(child, 'close') as Promise<[number | null]>
    let all: readonly number[] = []
    const isStopped = () => {
      all = descendantsOf(child.pid!)
      return all.length > 0 && processFacts(all[0]!)?.state === 'T'
    }
    await until(isStopped, 'a stop of mayfly')
    await areGone(all.slice(1))
    process.kill(all[0]!, 'SIGCONT')
    assert.deepEqual(await closed, [4, null])
  })

  /** Runs a command that says more than a terminal takes which nobody reads, and then `last`. */
  async function saidInVain(flags: readonly string[], last: string) {
    const go = join(place.cwd, 'go')
    rmSync(go, { force: true })
    const waits = 'echo ready; until [ -e go ]; do sleep 0.02; done'
    const says = `head -c ${vainBytes} /dev/zero | tr '\\0' x; echo end`
    const child = onTerminal([...flags, '--', 'sh', '-c', `${waits}; ${says}; ${last}`])
    const closed = once(child, 'close') as Promise<[number | null]>
    let said = ''
    child.stdout.on('data', (chunk: Buffer) => (said += String(chunk)))
    await until(() => said.includes('ready'), 'a command')
    process.kill(child.pid!, 'SIGSTOP')
    await until(() => isStopped(child.pid!), 'a stop of the terminal')
    const all = descendantsOf(child.pid!)
    const [monitor, init] = all.filter((pid) => commandLineOf(pid).startsWith('mayfly-folder'))
    const command = all.find((pid) => processFacts(pid)?.parent === init)
    writeFileSync(go, '')
    const isWhole = () => said.endsWith(`${'x'.repeat(vainBytes)}end\r\n`)
    const read = () => process.kill(child.pid!, 'SIGCONT')
    return { closed, all, monitor: monitor!, init: init!, command: command!, isWhole, read }
  }

  test('--timeout is over once the command has ended, while its output waits for the terminal', async () => {
    const { closed, all, monitor, init, isWhole, read } = await saidInVain(
      ['--timeout', '15s'],
      'exit 3',
    )
    const isOver = () => !isAlive(monitor) || (!isAlive(init) && clocksOf(monitor).length === 0)
    await until(isOver, 'the end of the time limit')
    read()
    await areGone(all)
    assert.deepEqual([await closed, isWhole()], [[3, null], true])
  })

  test('a stop of the command comes after what it said before', async () => {
    const { closed, all, command, isWhole, read } = await saidInVain([], 'kill -STOP $$; exit 3')
    try {
      await until(() => isStopped(command), 'a stop of the command')
      read()
      await until(() => isStopped(all[0]!) && isWhole(), 'all output and a stop of mayfly', 10_000)
      process.kill(-all[0]!, 'SIGCONT')
      assert.deepEqual(await closed, [3, null])
    } finally {
      for (const pid of all) if (isAlive(pid)) process.kill(pid, 'SIGKILL')
    }
  })

  test('signals end mayfly while output waits for the terminal', async () => {
    const told = await saidInVain([], 'exec sleep 86391')
    await until(() => commandLineOf(told.command).startsWith('sleep'), 'output that waits')
    process.kill(told.all[0]!, 'SIGTERM')
    await areGone(told.all).finally(told.read)
    const ended = await saidInVain([], 'exit 3')
    await until(() => !processFacts(ended.init), 'the end of the command')
    process.kill(ended.all[0]!, 'SIGINT')
    await areGone(ended.all).finally(ended.read)
  })

  test('a command that goes on after SIGHUP says all that it has to say', async () => {
    const [trapped, hung] = ['trapped', 'hung'].map((name) => join(place.cwd, name))
    for (const file of [trapped!, hung!]) rmSync(file, { force: true })
    const goesOn = "trap ': > hung' HUP; : > trapped; until [ -e hung ]; do sleep 0.02; done"
    const { closed, all, init, isWhole, read } = await saidInVain([], `${goesOn}; exit 3`)
    try {
      await until(() => existsSync(trapped!), 'a trap')
      process.kill(all[0]!, 'SIGHUP')
      await until(() => !processFacts(init), 'the end of the command')
      // Longer than output waits after the end of a command that ended as it was told.
      await sleep(2_000)
    } finally {
      read()
    }
    await areGone(all)
    assert.deepEqual([await closed, isWhole()], [[3, null], true])
  })

  test("keys are the caller's again after a command that has closed its terminal", async () => {
    const script = 'echo ready; read line; exec < /dev/null > log 2>&1; exec sleep 86392'
    const child = onTerminal(['--', 'sh', '-c', script])
    const closed = once(child, 'close') as Promise<[number | null]>
    await once(child.stdout, 'data')
    const all = descendantsOf(child.pid!)
    const hasMaster = (pid: number) => openFilesOf(pid).some((file) => file.endsWith('/ptmx'))
    child.stdin.on('error', () => undefined).write('\r')
    await until(() => !all.some(hasMaster), 'the end of the relay')
    // No program reads a key that is typed just before the settings are those of the caller.
    const interrupted = () => {
      child.stdin.write('\x03')
      return child.exitCode !== null
    }
    try {
      await until(interrupted, 'the end of an interrupted command', 10_000)
      assert.deepEqual(await closed, [130, null])
    } finally {
      for (const pid of [...all, child.pid!]) if (isAlive(pid)) process.kill(pid, 'SIGKILL')
    }
  })

  test('takes a text that is longer than what a terminal holds', async () => {
    const isSet = 'until [ "$(stty size)" = "33 77" ]; do :; done'
    const script = `${isSet}; stty raw -echo; echo ready; head -c 200000 > pasted; wc -c < pasted`
    const text = 'abcdefghij'.repeat(20_000)
    const { code, said } = await typed(['--', 'sh', '-c', script], [[/ready/, text]])
    assert.equal(code, 0)
    assert.match(said, /200000/)
    assert.equal(readFileSync(join(place.cwd, 'pasted'), 'utf8'), text)
  })

  test('has no terminal with --json, which captures its output', async () => {
    const script = 'tty; echo drawn >&0; stty -isig <&0; echo $?'
    const { code, said } = await typed(['--json', '--', 'sh', '-c', script], [])
    assert.equal(code, 0)
    assert.equal((JSON.parse(said) as { stdout: string }).stdout, 'not a tty\n1\n')
  })

  test('cannot insert input into the terminal of its caller', async () => {
    const { said } = await typed(['--', './attacks', 'terminal', 'inherited'], [])
    assert.match(said, /terminal 0\r\ninherited 0\r\n/)
  })
})

suite('Last timers of mayfly exec', { skip: skip || noClocks, timeout }, () => {
  test('count no suspend of the machine, after which the time limit itself ends the command', async () => {
    const { promise: started, resolve } = Promise.withResolvers<ChildProcess>()
    const ran = exec(['--timeout', '60s', '--', 'sleep', '86390'], { started: resolve })
    const child = await started
    const clocks = () => descendantsOf(child.pid!).flatMap(clocksOf)
    await until(() => clocks().length === 2, 'two timers')
    assert.deepEqual(clocks(), [CLOCK_MONOTONIC, CLOCK_MONOTONIC])
    child.kill('SIGTERM')
    await ran
  })
})

suite('mayfly exec of root', { skip: skip || noOrdinaryUser(), timeout }, () => {
  test('runs as the owner of the folder, who owns the new files', async () => {
    const other = makePlace('ordinary')
    try {
      const state = join(other.state, 'own')
      mkdirSync(state)
      chownSync(state, 12_345, 12_345)
      const env = { ...other.env, HOME: place.env['HOME'], MAYFLY_STATE: state }
      const ran = await mayfly({ ...other, env, become: [] }, [
        'exec',
        '--',
        'sh',
        '-c',
        'id -u; touch made; cat /etc/shadow 2>&1 | wc -c',
      ])
      assert.match(ran.stdout, /^12345\n/, ran.stderr)
      assert.equal(statSync(join(other.cwd, 'made')).uid, 12_345)
    } finally {
      other.remove()
    }
  })
})
