import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, suite } from 'node:test'
import { text } from 'node:stream/consumers'
import { test } from '../fixtures/drawn.ts'
import { isMissing } from '../walls/process-stands.ts'
import { bin, documentOf, makePlace, mayfly, type RunOptions } from './program.ts'

/** Arguments, environment and standard input that `mayfly run` passes to a program. */
const place = makePlace()
after(() => place.remove())

const write = (name: string, source: string) => writeFileSync(join(place.cwd, name), source)
const inJson = async (args: readonly string[], options?: RunOptions) =>
  documentOf(await mayfly(place, ['run', '--json', ...args], options))

const told = {
  'told.mjs': `import fs from 'node:fs'
console.log(JSON.stringify([process.argv.slice(2), process.env.REGION, fs.readFileSync(0, 'utf8')]))`,
  'told.py': `import json, os, sys
print(json.dumps([sys.argv[1:], os.environ["REGION"], sys.stdin.read()]))`,
  'told.sh': `#!/bin/sh
text=$(cat); printf '[["%s","%s"],"%s","%s\\\\n"]\\n' "$1" "$2" "$REGION" "$text"`,
  'told.bash': `text=$(</dev/stdin); printf '[["%s","%s"],"%s","%s\\\\n"]\\n' "\${@:1}" "$REGION" "$text"`,
}

suite('Arguments, environment and standard input of a program', () => {
  for (const [name, source] of Object.entries(told))
    test(`${name} has its arguments, its variables and its standard input`, async (t) => {
      if (isMissing(t, { jailKind: 'bubblewrap' })) return
      write(name, source)
      const args = [name, '--env', 'REGION=eu', '--', 'two words', '--json']
      const { stdout, error } = await inJson(args, { stdin: 'piped\n' })
      assert.deepEqual(JSON.parse(stdout), [['two words', '--json'], 'eu', 'piped\n'], error)
    })

  for (const name of ['-told.sh', '+told.sh', '-told.bash', '-told.py', '-told.mjs'])
    test(`${name}, whose name looks like an option, runs as ./${name}`, async (t) => {
      if (isMissing(t, { jailKind: 'bubblewrap' })) return
      const source = told[name.replace(/^./, '') as keyof typeof told]
      write(name, source)
      const args = [`./${name}`, '--env', 'REGION=eu', '--', 'two words', '-c']
      const { stdout, error } = await inJson(args, { stdin: 'piped\n' })
      assert.deepEqual(JSON.parse(stdout), [['two words', '-c'], 'eu', 'piped\n'], error)
    })

  test('A variable is passed by its name, one flag takes several, and the later of two wins', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    write('env.sh', 'echo "$A|$B|$C|$HOME"')
    const args = [
      'env.sh',
      '--env',
      'A=1',
      'B=x=y',
      '--env',
      'C',
      '--env',
      'A=2',
      '--env',
      'HOME=/tmp',
    ]
    const { stdout } = await inJson(args, { env: { C: 'passed' } })
    assert.equal(stdout, '2|x=y|passed|/tmp\n')
    const ran = await mayfly(place, ['run', 'env.sh', '--env', 'NOT_THERE'])
    assert.equal(ran.code, 2)
    assert.match(ran.stderr, /Cannot pass on "NOT_THERE": it is not in the environment/)
  })

  const asked = {
    'asked.sh': 'getent hosts a.example; echo $? $npm_config_fetch_retries',
    'asked.py': `import os, socket
try: socket.getaddrinfo('a.example', 80)
except OSError as error: print(error.errno, os.environ['npm_config_fetch_retries'])`,
    'asked.mjs': `import dns from 'node:dns'
dns.lookup('a.example', (error) => console.log(error.code, process.env.npm_config_fetch_retries))`,
  }
  const answers = { 'asked.sh': '2 0', 'asked.py': '-2 0', 'asked.mjs': 'ENOTFOUND 0' }
  for (const provider of ['bubblewrap', 'embedded', 'gvisor'])
    test(`With a closed network no name exists in a wall of ${provider}, which nothing retries as temporary`, async (t) => {
      for (const [name, source] of Object.entries(asked)) {
        write(name, source)
        const ran = await inJson([name, '--provider', provider, '--timeout', '60s'])
        if (ran.status === 'unavailable') return t.skip(ran.error.message)
        assert.equal(ran.stdout.trim(), answers[name as keyof typeof answers], ran.stderr)
      }
    })

  const streams = {
    'streams.bash': `exec 88< <(echo far); cat /dev/fd/88 /dev/stdin; echo out > /dev/stdout; (exec 2> /dev/stdout; echo moved >&2)
echo twice | tee /dev/stderr; mkfifo box; echo in > box & cat box`,
    'streams.py': `import os
with open('/dev/stdin') as given: print('far', given.read().strip(), sep='\\n', flush=True)
for name, text in ('/dev/stdout', 'out'), ('/proc/self/fd/1', 'moved'), ('/dev/stderr', 'twice'):
  with open(name, 'w') as stream: stream.write(text + '\\n')
os.system('echo twice > /dev/stdout; echo in > /dev/fd/1')`,
    'streams.mjs': `import fs from 'node:fs'
import { execSync } from 'node:child_process'
console.log('far\\n' + fs.readFileSync('/dev/stdin', 'utf8').trim())
for (const [name, text] of [['/dev/stdout', 'out'], ['/proc/self/fd/1', 'moved'], ['/dev/stderr', 'twice']]) fs.writeFileSync(name, text + '\\n')
execSync('echo twice > /dev/stdout; echo in > /dev/fd/1', { stdio: 'inherit' })`,
  }
  for (const provider of ['bubblewrap', 'embedded', 'gvisor'])
    test(`Standard streams are opened by their names in a wall of ${provider}`, async (t) => {
      for (const [name, source] of Object.entries(streams)) {
        write(name, source)
        const args = [name, '--provider', provider, '--timeout', '60s']
        const ran = await inJson(args, { stdin: 'given\n' })
        if (ran.status === 'unavailable') return t.skip(ran.error.message)
        assert.equal(ran.stdout, 'far\ngiven\nout\nmoved\ntwice\nin\n', `${name}: ${ran.stderr}`)
        assert.equal(ran.stderr, 'twice\n', name)
      }
    })

  test('Thread pools have the size of --cpu, and git asks nobody, unless a variable says otherwise', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    const names = ['OPENBLAS_NUM_THREADS', 'OMP_NUM_THREADS', 'MKL_NUM_THREADS']
    const more = ['RAYON_NUM_THREADS', 'GOMAXPROCS', 'UV_THREADPOOL_SIZE']
    const shown = [...names, ...more, 'GIT_TERMINAL_PROMPT', 'GIT_SEQUENCE_EDITOR', 'PAGER']
    write('pools.sh', `echo "${shown.map((name) => `$${name}`).join(' ')}"`)
    const { stdout } = await inJson(['pools.sh', '--cpu', '1.5'])
    assert.equal(stdout, '2 2 2 2 2 2 0 false cat\n')
    const given = ['--env', 'GOMAXPROCS=7', 'PAGER=less', 'GIT_TERMINAL_PROMPT=1']
    const { stdout: own } = await inJson(['pools.sh', '--cpu', '1', ...given])
    assert.equal(own, '1 1 1 1 7 1 1 false less\n')
  })

  test('Without --input and a pipe standard input is empty; an input arrives there as JSON', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    write('stdin.py', 'import sys; print(repr(sys.stdin.read()))')
    assert.equal((await inJson(['stdin.py'])).stdout, "''\n")
    assert.equal((await inJson(['stdin.py', '--input', '{"a":1}'])).stdout, `'{"a":1}'\n`)
    const binary = ['stdin.py', '--language', 'python']
    write('bytes.py', 'import sys; print(sys.stdin.buffer.read())')
    assert.equal((await inJson(binary, { stdin: 'é' })).stdout, "'é'\n")
  })

  test('The exit code of a program is reported, and returned if the flag asks for it', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    const ends = {
      'three.sh': ['exit 3', 3, null],
      'three.py': ['import sys; sys.exit(3)', 3, null],
      'three.mjs': ["import 'node:fs'; process.exit(3)", 3, null],
      'thrown.py': ['1/0', 1, null],
      'raw.py': ['import os; os._exit(42)', 42, null],
      'killed.sh': ['kill -SEGV $$', 139, 'SIGSEGV'],
      'good.sh': ['true', 0, null],
    } as const
    for (const [name, [source, code, signal]] of Object.entries(ends)) {
      write(name, source)
      const passed = await mayfly(place, ['run', name, '--pass-exit-code', '--json'])
      const outcome = documentOf(passed)
      assert.deepEqual([passed.code, outcome['signal']], [code, signal], name)
      if (signal === null) assert.equal(outcome['exitCode'], code, name)
    }
    const ran = await mayfly(place, ['run', 'three.sh'])
    assert.equal(ran.code, 1)
    assert.match(ran.stderr, /The program exited with 3/)
  })

  test('A job that Mayfly ended has Mayfly’s exit code, with and without that flag', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    write('long.sh', 'sleep 60')
    const ran = await mayfly(place, [
      'run',
      'long.sh',
      '--pass-exit-code',
      '--timeout',
      '300ms',
      '--json',
    ])
    assert.deepEqual([ran.code, documentOf(ran)['exitCode']], [4, null])
    write('value.js', 'return 1')
    const value = documentOf(await mayfly(place, ['run', 'value.js', '--pass-exit-code', '--json']))
    assert.deepEqual([value['exitCode'], value['signal']], [null, null])
  })

  test('Limit flags set the limits of the job', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    write('true.sh', 'true')
    const flags = ['--disk', '8MB', '--output', '2KB', '--artifacts-max', '3MB', '--processes', '9']
    const { profile } = await inJson(['true.sh', ...flags])
    const rows = Object.fromEntries(
      profile.explain.map(({ field, value }: { field: string; value: unknown }) => [field, value]),
    )
    const names = ['disk', 'output', 'artifacts', 'processes']
    const values = names.map((name) => rows[`limits.${name}`])
    assert.deepEqual(values, [8 * 2 ** 20, 2048, 3 * 2 ** 20, 9])
  })
})

suite('Shell scripts run with the shell of their shebang line', () => {
  const scripts: readonly (readonly [string, string, readonly string[], string])[] = [
    ['pipe.sh', '#!/bin/bash\nset -o pipefail\nfalse | true || echo "failed"', [], 'failed\n'],
    ['env.sh', '#!/usr/bin/env bash\n[[ abc == a* ]] && echo "bash"', [], 'bash\n'],
    ['flags.sh', '#!/bin/bash -eu\nset +e\necho "$-" | grep -o u', [], 'u\n'],
    ['split.sh', '#!/usr/bin/env -S bash -u\necho "$-" | grep -o u', [], 'u\n'],
    ['plain.sh', 'echo "$0 $#"', [], 'plain.sh 0\n'],
    ['asked.sh', 'a=(1 2 3); echo "${#a[@]}"', ['--language', 'bash'], '3\n'],
    ['named.bash', 'echo "${BASH_VERSION:+bash} $0"', [], 'bash named.bash\n'],
    ['tool', '#!/usr/bin/env python3\nprint(40 + 2)', [], '42\n'],
    ['script', '#!/usr/bin/env node\nconsole.log(process.argv.length)', [], '2\n'],
    [
      'whole.sh',
      `#!/bin/bash
trap 'echo trapped' EXIT
f=$(mktemp) && cat > "$f" <<END
here $((1 + 1))
END
cat "$f"; cat <<< "string"; diff <(echo a) <(echo a) && echo same
sleep 0.1 & wait $! && echo waited`,
      [],
      'here 2\nstring\nsame\nwaited\ntrapped\n',
    ],
  ]
  for (const [name, source, args, output] of scripts)
    test(`${name} prints ${JSON.stringify(output)}`, async (t) => {
      if (isMissing(t, { jailKind: 'bubblewrap' })) return
      write(name, source)
      const { stdout, stderr, status } = await inJson([name, ...args])
      assert.deepEqual([stdout, status], [output, 'ok'], stderr)
    })

  test('An error message names the file and line of the source', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    write('wrong.bash', 'true\n\nno-such-command')
    const { stderr, exitCode } = await inJson(['wrong.bash'])
    assert.equal(stderr, 'wrong.bash: line 3: no-such-command: command not found\n')
    assert.equal(exitCode, 127)
  })

  test('A shebang line with an unavailable interpreter is an error with a hint', async () => {
    write('z.sh', '#!/bin/zsh\necho')
    const ran = await mayfly(place, ['run', 'z.sh'])
    assert.equal(ran.code, 2)
    assert.match(ran.stderr, /Cannot run "z.sh": its shebang names "zsh"[^]*--language bash/)
  })
})

suite('Refused inputs of programs', () => {
  test('Arguments and variables for an isolate are refused, and piped input is not used', async () => {
    write('isolate.js', 'return 1')
    for (const args of [
      ['--', 'a'],
      ['--env', 'A=1'],
    ]) {
      const ran = await mayfly(place, ['run', 'isolate.js', ...args])
      assert.equal(ran.code, 2)
      assert.match(ran.stderr, /language "js" has no (arguments|environment)[^]*--language node/)
    }
    write('reads.js', 'return typeof stdin')
    const ran = await mayfly(place, ['run', 'reads.js', '--stdin'], { stdin: 'x' })
    assert.equal(ran.code, 0, ran.stderr)
    assert.match(ran.stderr, /Standard input is not used: language "js" has no standard input/)
  })

  test('Standard input that the program did not read is reported', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    write('deaf.py', 'print(1)')
    const ran = await mayfly(place, ['run', 'deaf.py'], { stdin: 'x' })
    assert.deepEqual([ran.code, ran.stdout], [0, '1\n'])
    assert.match(ran.stderr, /Standard input was not used/)
    const quiet = await mayfly(place, ['run', 'deaf.py', '--quiet'], { stdin: 'x' })
    assert.equal(quiet.stderr, '')
  })

  test('An input that nothing reads, and a handler that nothing calls, are reported with the entry that calls it', async () => {
    write('fn.js', 'export const handler = async ({ n }) => ({ twice: n * 2 })')
    const words = ['run', 'fn.js', '--input', '{"n": 4}']
    const warning = 'The input was not read: nothing calls "handler" (--entry handler does)'
    const ran = await mayfly(place, words)
    assert.deepEqual(
      [ran.code, ran.stderr.includes(`Warning: ${warning}\n`)],
      [0, true],
      ran.stderr,
    )
    for (const json of ['--json', '--json=short'])
      assert.deepEqual(documentOf(await mayfly(place, [...words, json]))['warnings'], [warning])
    const called = documentOf(await mayfly(place, [...words, '--entry', 'handler', '--json']))
    assert.deepEqual([called['result'], called['warnings']], [{ twice: 8 }, undefined])
  })

  test('A second file is a usage error, not an argument', async () => {
    write('one.sh', 'true')
    const ran = await mayfly(place, ['run', 'one.sh', 'two.sh'])
    assert.equal(ran.code, 2)
    assert.match(ran.stderr, /Cannot use "two.sh"[^]*after "--"/)
  })

  test('A pipe that stays open delays nothing', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    write('open.sh', 'cat; echo done')
    const child = spawn(process.execPath, [bin, 'run', 'open.sh'], {
      cwd: place.cwd,
      env: place.env,
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: 60_000,
    })
    const [stdout, stderr, [code]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'close') as Promise<[number]>,
    ])
    child.stdin.destroy()
    assert.deepEqual([code, stdout], [0, 'done\n'])
    assert.match(stderr, /Nothing arrived on standard input/)
  })

  test('Endless input is refused at its limit, and never passed in part', async () => {
    write('all.py', 'import sys; print(len(sys.stdin.read()))')
    const child = spawn(process.execPath, [bin, 'run', 'all.py'], {
      cwd: place.cwd,
      env: place.env,
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: 60_000,
    })
    const chunk = Buffer.alloc(2 ** 20, 'x')
    const more = () => {
      while (child.stdin.writable && child.stdin.write(chunk));
    }
    child.stdin.on('drain', more).on('error', () => undefined)
    more()
    const [stdout, stderr, [code]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'close') as Promise<[number]>,
    ])
    assert.deepEqual([code, stdout], [2, ''])
    assert.match(stderr, /it is larger than 32.0 MB/)
  })
})

suite('Hostile environments', () => {
  test('Variables of loaders, interpreters and shells are refused before anything runs', async () => {
    write('bait.sh', 'echo ran')
    const names = ['LD_PRELOAD', 'NODE_OPTIONS', 'BASH_ENV', 'PYTHONSTARTUP', 'MAYFLY_RESULT']
    for (const name of names) {
      const ran = await mayfly(place, ['run', 'bait.sh', '--env', `${name}=./evil`])
      assert.deepEqual([ran.code, ran.stdout], [2, ''], name)
      assert.match(ran.stderr, new RegExp(`"${name}" cannot be set`))
    }
  })

  test('Code on standard input and in variables of Perl and Python is refused before anything runs', async () => {
    write('bait.py', 'import colorsys; print("ran")')
    for (const env of [
      'PYTHONPATH=/dev/stdin',
      'PYTHONPATH=lib:../proc/self/fd/0',
      'PERL5OPT=-d',
      'PERL5DB=BEGIN{print 1}',
      'BROWSER=/bin/sh -c "echo 1" #%s',
    ]) {
      const asked = ['run', 'bait.py', '--env', env]
      const ran = await mayfly(place, asked, { stdin: 'an archive' })
      assert.deepEqual([ran.code, ran.stdout], [2, ''], env)
      assert.match(ran.stderr, new RegExp(`"${env.split('=')[0]}" cannot be set`))
    }
  })

  test('A folder in PYTHONPATH is searched by the job, and not by the runner that starts it', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    write(
      'early.py',
      'import json, early_lib; print(early_lib.value, json.__file__.startswith("/work"))',
    )
    write('lib_early.py', 'value = 7')
    write('lib_json.py', 'raise SystemExit("the runner loaded a file of the job")')
    const files = ['--file', 'lib_early.py=lib/early_lib.py', 'lib_json.py=lib/binascii.py']
    const { stdout, stderr } = await inJson(['early.py', '--env', 'PYTHONPATH=lib', ...files])
    assert.equal(stdout, '7 False\n', stderr)
  })

  test('Values of variables and of standard input are in no file and no output of Mayfly', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    const canary = `canary${process.pid}${Date.now()}`
    const own = makePlace()
    try {
      writeFileSync(join(own.cwd, 'quiet.py'), 'import sys; sys.stdin.read(); sys.exit(5)')
      const args = ['run', 'quiet.py', '--env', `TOKEN=${canary}`, '--verbose', '--explain']
      const ran = await mayfly(own, args, { stdin: canary })
      assert.equal(ran.code, 1, ran.stderr)
      assert.equal((ran.stdout + ran.stderr).includes(canary), false)
      assert.match(ran.stderr, /env +\{"TOKEN":\d+\}/)
      const bad = await mayfly(own, ['run', 'quiet.py', '--env', `LD_PRELOAD=${canary}`])
      assert.equal(bad.stderr.includes(canary), false)
      assert.deepEqual(filesWith(own.state, canary), [])
    } finally {
      own.remove()
    }
  })
})

function filesWith(folder: string, word: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile())
    .filter((file) => readFileSync(file).includes(word))
}
