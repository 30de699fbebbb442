import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'node:test'
import { test } from '../fixtures/drawn.ts'
import { GuestSession, type ExecEnd } from '../fixtures/guest-session.ts'

/** The guest's part of a session, without a wall: the messages to the server for each exec. */

const long = Boolean(process.env['MAYFLY_LONG'])

function ok(end: ExecEnd, text?: string): void {
  assert.deepEqual([end.status, end.state, end.error], ['ok', 'kept', undefined], end.stderr)
  if (text !== undefined) assert.equal(end.text, text)
}

function interruptedBut(end: ExecEnd, state: string, code = ''): void {
  const seen = [end.status, end.error?.code, end.state]
  assert.deepEqual(seen, ['error', 'INTERRUPTED', state], `${code} ${JSON.stringify(end)}`)
}

function isAlive(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return false
  }
}

suite('Sessions of Node', () => {
  test('Node reports the memory limit of its session as the memory of the machine', async () => {
    await using session = await GuestSession.open('node', { memoryBytes: 100 * 2 ** 20 })
    const read = `const os = require('node:os')
    const figures = [os.totalmem(), process.constrainedMemory(), os.freemem() <= os.totalmem()]
    figures`
    ok(await session.exec(read), JSON.stringify([100 * 2 ** 20, 100 * 2 ** 20, true]))
  })

  test('Variables, imports, functions, files and timers persist between execs', async () => {
    await using session = await GuestSession.open('node')
    ok(await session.exec('const a = 1; let b = 2; class C { n = 3 }; a + b'), '3')
    ok(await session.exec('const a = 5; let b = a; class C { n = 4 }; b + new C().n'), '9')
    ok(await session.exec("import fs, { EOL } from './own.mjs'").then(() => session.exec('1')), '1')
    writeFileSync(join(session.work, 'own.mjs'), 'export default 7\nexport const x = { n: 8 }\n')
    ok(
      await session.exec(
        "import own, { x as y } from './own.mjs'\nimport * as all from './own.mjs'",
      ),
    )
    ok(await session.exec('function f() { return own + y.n + all.x.n }\nf()'), '23')
    ok(await session.exec("(await import('./own.mjs')).default + require('node:path').sep"), '"7/"')
    ok(await session.exec("require('node:fs').writeFileSync('made.txt', 'x'); __dirname"))
    ok(await session.exec('let ticks = 0; setInterval(() => ticks++, 5); import.meta.filename'))
    await sleep(100)
    const later = await session.exec('ticks')
    ok(later)
    assert.ok(Number(later.text) > 2, later.text)
    const made = await session.exec(
      "const at = require('node:fs').readFileSync('made.txt', 'utf8'); at",
    )
    ok(made, '"x"')
    assert.deepEqual(made.artifacts, [])
  })

  test('The last expression is the result, awaited, and as text if JSON cannot represent it', async () => {
    await using session = await GuestSession.open('node')
    ok(await session.exec('{ a: 1, b: [true, null] }'), '{"a":1,"b":[true,null]}')
    ok(await session.exec('const nothing = 1'), 'null')
    ok(await session.exec('Promise.resolve(5)'), '5')
    ok(await session.exec('await new Promise((resolve) => setTimeout(resolve, 5, 6))'), '6')
    ok(await session.exec('if (true) { 4 }'), '4')
    const map = await session.exec('new Map([[1, 2n]])')
    assert.deepEqual([map.encoding, map.status], ['tagged', 'ok'])
    const shown = await session.exec('const ring = {}; ring.ring = ring; ring')
    assert.deepEqual([shown.encoding, shown.text], ['text', '"<ref *1> { ring: [Circular *1] }"'])
    const large = await session.exec('"x".repeat(1e6)')
    assert.deepEqual(
      [large.encoding, large.text.length, large.partial],
      ['text', 64 * 1024 + 2, true],
    )
    assert.equal(shown.partial, undefined)
    ok(await session.exec({ code: 'input.n + 1', inputText: '{"n":41}' }), '42')
    ok(
      await session.exec({
        code: "require('fs').readFileSync(0, 'utf8')",
        stdin: { content: 'text', encoding: 'utf8' },
      }),
      '"text"',
    )
    ok(await session.exec("require('fs').readFileSync(0, 'utf8')"), '""')
    ok(await session.exec({ code: 'process.env.OWN', env: { OWN: 'own' } }), '"own"')
    ok(await session.exec('process.env.OWN === undefined'), 'true')
  })

  test('Errors have their position in the cell and no frames of the runner, and are printed', async () => {
    await using session = await GuestSession.open('node')
    const thrown = await session.exec("function f() {\n  throw new TypeError('bad')\n}\nf()")
    assert.equal(
      thrown.error?.stack,
      'TypeError: bad\n    at f (cell-1.js:2:9)\n    at cell-1.js:4:1',
    )
    assert.equal(thrown.stderr, `Uncaught ${thrown.error.stack}\n`)
    const awaited = await session.exec("import 'node:fs'\nawait null;   null.x")
    assert.match(awaited.error?.stack ?? '', /^TypeError: .*\n {4}at cell-2\.js:2:20$/)
    const syntax = await session.exec('1\nlet x = ;')
    assert.deepEqual(
      [syntax.error?.code, syntax.error?.message],
      ['SYNTAX_ERROR', "Unexpected token ';' (cell-3.js:2:9)"],
    )
    const exported = await session.exec('1\n  export const x = 1')
    assert.match(exported.error?.message ?? '', /exports nothing.*\(cell-4\.js:2:3\)$/)
    const parsed = await session.exec("JSON.parse('{')")
    assert.deepEqual([parsed.error?.code, parsed.error?.name], ['USER_ERROR', 'SyntaxError'])
    const missing = await session.exec("import { nope } from 'node:fs'")
    assert.match(missing.error?.message ?? '', /does not provide an export named 'nope'/)
    const absent = await session.exec("import './absent.mjs'")
    assert.match(absent.error?.message ?? '', /Cannot find module/)
    ok(
      await session
        .exec('setTimeout(() => { throw new Error("later") }); Promise.reject(1); 1')
        .then(() => session.exec('2')),
      '2',
    )
  })

  test('TypeScript runs if the task is typed, with its positions', async () => {
    await using session = await GuestSession.open('node', { typed: true })
    ok(await session.exec('interface A { n: number }\nconst a: A = { n: 1 }; a.n as number'), '1')
    const thrown = await session.exec('const b: number = 1\n;(null as any).x')
    assert.match(thrown.error?.stack ?? '', /cell-2\.js:2:16/)
    ok(await session.exec('enum E { One = 1, Two }\nE.Two'), '2')
    assert.equal((await session.exec('let x: = 1')).error?.code, 'SYNTAX_ERROR')
  })

  test('An interrupt ends loops, waits and children, and the state persists', async () => {
    await using session = await GuestSession.open('node')
    const begin = "var spawned = require('child_process').spawn('sleep', ['60']); var n = 1"
    ok(await session.exec(begin))
    for (const code of [
      'console.log(1); while (true) {}',
      'console.log(1); await null; for (;;) n++',
      'console.log(1); await new Promise(() => {})',
      'console.log(1); while (true) await null',
      'console.log(1); setTimeout(() => { for (;;); }); await new Promise(() => {})',
      "console.log(1); require('child_process').execSync('sleep 60')",
      'console.log(1); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)',
      "console.log(1); 'x'.repeat(1e8).match(/(x+x+)+y/)",
    ])
      for (let tries = 1; ; tries++) {
        const end = await session.interrupted(code)
        // A kernel without CPU time for a second is replaced, but not three times in a row for that reason.
        if (end.state !== 'lost' || tries === 3) {
          interruptedBut(end, 'kept', code)
          break
        }
        ok(await session.exec(begin))
      }
    ok(
      await session.exec('[n > 0, spawned.exitCode === null && spawned.signalCode === null]'),
      '[true,true]',
    )
    ok(await session.exec("spawned.kill('SIGKILL')"))
  })

  test('A kernel that does not answer an interrupt is replaced, and the new one works', async () => {
    await using session = await GuestSession.open('node')
    execFileSync('mkfifo', [join(session.work, 'pipe')])
    ok(await session.exec('const a = 1'))
    const end = await session.interrupted("console.log(1); require('fs').openSync('pipe', 'r')")
    interruptedBut(end, 'lost')
    ok(await session.exec('typeof a'), '"undefined"')
  })

  test('A late interrupt of an ended exec does not affect the next one', async () => {
    await using session = await GuestSession.open('node')
    ok(await session.exec('1', 'first'))
    session.interrupt('first')
    const second = session.exec(
      'await new Promise((resolve) => setTimeout(resolve, 50)); 2',
      'second',
    )
    session.interrupt('first')
    ok(await second, '2')
  })

  test('process.exit and a crash end the exec, and the next one has a fresh kernel', async () => {
    await using session = await GuestSession.open('node')
    const left = await session.exec('const a = 1; console.log("bye"); process.exit(3)')
    assert.deepEqual(
      [left.status, left.error?.code, left.exitCode, left.state, left.stdout],
      ['error', 'EXIT', 3, 'lost', 'bye\n'],
    )
    const killed = await session.exec("process.kill(process.pid, 'SIGKILL')")
    assert.deepEqual([killed.signal, killed.state], ['SIGKILL', 'lost'])
    ok(await session.exec('typeof a'), '"undefined"')
    const kernel = await session.exec('setTimeout(() => process.exit(0), 1); process.pid')
    assert.match(kernel.text, /^\d+$/)
    await session.exec({ command: `while kill -0 ${kernel.text}; do sleep 0.01; done 2>/dev/null` })
    assert.deepEqual(await session.exec('2').then(({ status, state }) => [status, state]), [
      'ok',
      'lost',
    ])
    ok(await session.exec('3'), '3')
  })

  test('Invalid data, floods and forged ends of a kernel affect at most its own exec', async () => {
    await using session = await GuestSession.open('node')
    const forged = `const head = JSON.stringify({ nonce: 'x', status: 'ok', cpuTimeMs: -1 })
      const frame = Buffer.alloc(5 + head.length + 1)
      frame.writeUInt32LE(head.length + 2); frame[4] = 14; frame.write(head + '\\n', 5)
      const fs = require('fs')`
    ok(await session.exec(forged))
    ok(await session.exec('fs.writeSync(4, frame); fs.writeSync(4, frame); 1'), '1')
    for (const code of [
      'for (;;) try { fs.writeSync(4, frame) } catch {}',
      "require('fs').writeSync(4, Buffer.alloc(1e5, 255)); await new Promise(() => {})",
      "require('fs').writeSync(4, Buffer.from('ffffffff05', 'hex')); await new Promise(() => {})",
      "require('fs').closeSync(4); require('fs').closeSync(5); await new Promise(() => {})",
    ]) {
      const end = await session.exec(code)
      assert.deepEqual([end.status, end.state], ['error', 'lost'], code)
    }
    ok(await session.exec('JSON.stringify = JSON.parse = Promise.prototype.then = null; 1'), '1')
    ok(await session.exec('Array.prototype.push = Function.prototype.call = null; 1'), '1')
    const broken = session.exec('2', 'broken')
    session.interrupt('broken')
    interruptedBut(await broken, 'lost')
    ok(await session.exec('2'), '2')
  })

  test('The control socket is not among the descriptors of a kernel or its children', async () => {
    await using session = await GuestSession.open('node')
    const control = readlinkSync(`/proc/${session.child.pid}/fd/5`)
    const listed =
      await session.exec(`const ls = require('child_process').execSync('ls -l /proc/self/fd').toString()
      const fs = require('fs')
      ls + fs.readdirSync('/proc/self/fd').map((fd) => { try { return fs.readlinkSync('/proc/self/fd/' + fd) } catch {} })`)
    assert.match(control, /^socket:/)
    assert.match(listed.text, /socket:|pipe:/)
    assert.ok(!listed.text.includes(control), listed.text)
  })

  test('A cell that awaits a promise which can never settle survives garbage collections', async () => {
    await using session = await GuestSession.open('node')
    ok(
      await session.exec(
        "require('v8').setFlagsFromString('--expose-gc'); const gc = require('vm').runInNewContext('gc'); setInterval(gc, 5); 1",
      ),
    )
    for (const code of [
      'await new Promise(() => {})',
      'while (true) await null',
      'new Promise(() => {})',
    ]) {
      const ended = session.exec(`console.log(1); ${code}`, code)
      await sleep(300)
      session.interrupt(code)
      interruptedBut(await ended, 'kept', code)
      await sleep(50)
    }
    ok(await session.exec('1'), '1')
  })

  test('Output arrives before the end of its exec, and 300 execs do not grow the manager', async () => {
    await using session = await GuestSession.open('node')
    const many = await session.exec("for (let i = 0; i < 2000; i++) console.log('line ' + i)")
    assert.equal(many.stdout.split('\n').length, 2001)
    const memory = () =>
      Number(
        /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${session.child.pid}/status`, 'latin1'))?.[1],
      )
    // Heap and caches are warm after some hundred.
    for (let n = 0; n < (long ? 1_000 : 100); n++) ok(await session.exec('1'))
    const before = memory()
    for (let n = 0; n < (long ? 10_000 : 300); n++)
      ok(await session.exec(`const v${n % 10} = 'x'.repeat(50_000); v${n % 10}.length`), '50000')
    assert.ok(memory() - before < 16_000, `${before} KiB, then ${memory()} KiB`)
  })
})

for (const language of ['bash', 'sh'])
  suite(`Sessions of ${language}`, () => {
    test('Folder, variables, functions and background work persist between execs', async () => {
      await using session = await GuestSession.open(language, { args: ['one', 'two words'] })
      ok(await session.exec('x=5; f() { echo "f $1"; }; cd out; sleep 60 & pid=$!; echo "$2"'))
      const end = await session.exec('f $x; pwd; kill -0 $pid && echo alive; echo made > made')
      ok(end, 'null')
      assert.equal(end.stdout, `f 5\n${session.work}/out\nalive\n`)
      assert.deepEqual(end.artifacts, ['made'])
      const read = await session.exec({
        code: 'cat; echo $OWN',
        stdin: { content: 'in\n', encoding: 'utf8' },
        env: { OWN: "o'wn" },
      })
      assert.equal(read.stdout, "in\no'wn\n")
      assert.deepEqual(read.artifacts, [])
      ok(await session.exec('[ -z "${OWN+x}" ] && kill $pid'))
      ok(await session.exec('echo \'{"a":1}\' > "$MAYFLY_RESULT"'), '{"a":1}\n')
      ok(await session.exec('true'), 'null')
    })

    test('A nonzero status, a syntax error and an unset variable end only the exec', async () => {
      await using session = await GuestSession.open(language)
      ok(await session.exec('x=5'))
      const codes = [
        '(exit 3)',
        'return 4',
        'if then',
        'echo ${nope:?gone}',
        'set -u; echo $nope',
        '. ./absent; (exit 6)',
      ]
      for (const code of codes) {
        const end = await session.exec(code)
        assert.deepEqual([end.status, end.error?.code, end.state], ['error', 'EXIT', 'kept'], code)
      }
      assert.equal((await session.exec('echo $x$nope')).stdout, '5\n')
    })

    test('An exit ends the shell, and the next exec has a fresh one', async () => {
      await using session = await GuestSession.open(language)
      const left = await session.exec('x=5; exit 3')
      assert.deepEqual([left.status, left.exitCode, left.state], ['error', 3, 'lost'])
      const done = await session.exec('exit 0')
      assert.deepEqual([done.status, done.exitCode, done.state], ['ok', 0, 'lost'])
      assert.equal((await session.exec('echo ${x-unset}')).stdout, 'unset\n')
    })

    test('An interrupt ends loops, waits and functions, and state and background work persist', async () => {
      await using session = await GuestSession.open(language)
      ok(await session.exec('x=5; sleep 60 & pid=$!'))
      for (const code of [
        'f() { echo 1; sleep 60; }; f; echo not',
        'echo 1; while :; do :; done; echo not',
        'echo 1; (while :; do :; done) | cat; echo not',
        'echo 1; wait; echo not',
      ]) {
        const end = await session.interrupted(code)
        interruptedBut(end, 'kept', code)
        assert.equal(end.stdout, '1\n', code)
      }
      assert.equal((await session.exec('kill -0 $pid && echo $x; kill $pid')).stdout, '5\n')
    })

    test('A shell that ignores the interrupt is replaced', async () => {
      await using session = await GuestSession.open(language)
      interruptedBut(await session.interrupted('trap "" INT; echo 1; while :; do :; done'), 'lost')
      ok(await session.exec('true'))
    })

    test('Output arrives before the end of its exec, and 300 execs have 300 statuses', async () => {
      await using session = await GuestSession.open(language)
      for (let n = 0; n < 300; n++) {
        const end = await session.exec(`echo ${n}; (exit ${n % 256})`)
        assert.deepEqual([end.stdout, end.exitCode], [`${n}\n`, n % 256])
      }
    })

    test('Execs leave no open fd and no file in the manager', async () => {
      await using session = await GuestSession.open(language)
      const open = () => readdirSync(`/proc/${session.child.pid}/fd`).length
      const left = () => readdirSync(join(session.folder, 'tmp')).toSorted()
      const given = { code: 'cat > /dev/null; echo 1 > $MAYFLY_RESULT', inputText: '1' }
      await session.exec(given)
      const before = [open(), left()]
      for (let n = 0; n < 5; n++) await session.exec(given)
      assert.deepEqual([open(), left()], before)
    })
  })

suite('Commands and files of a session', () => {
  test('A command runs beside the kernel, and does not change its state', async () => {
    await using session = await GuestSession.open('node')
    ok(await session.exec('let a = 1'))
    const said = await session.exec({
      command: 'pwd; echo $OWN; cat',
      stdin: { content: 'aW4=', encoding: 'base64' },
      env: { OWN: 'own' },
    })
    ok(said, 'null')
    assert.equal(said.stdout, `${session.work}\nown\nin`)
    const [listed, absent] = [['printf', '%s|', 'a b', '$HOME'], ['/absent/program']]
    assert.equal((await session.exec({ command: listed })).stdout, 'a b|$HOME|')
    const failed = await session.exec({ command: 'exit 7' })
    assert.deepEqual([failed.error?.code, failed.exitCode, failed.state], ['EXIT', 7, 'kept'])
    assert.equal((await session.exec({ command: absent })).exitCode, 127)
    interruptedBut(await session.interrupted({ command: 'echo 1; sleep 60' }), 'kept')
    interruptedBut(
      await session.interrupted({ command: 'trap "" INT; echo 1; while :; do :; done' }),
      'kept',
    )
    ok(await session.exec('a'), '1')
  })

  test('Files are put, read and listed, also while an exec runs', async () => {
    await using session = await GuestSession.open('node')
    const running = session.exec('await new Promise((resolve) => setTimeout(resolve, 200)); 1')
    assert.equal(
      (await session.file({ op: 'put', path: 'a/b/c.bin' }, Buffer.from([0, 10, 255]))).size,
      3,
    )
    assert.deepEqual(
      [...(await session.file({ op: 'get', path: 'a/b/c.bin' })).bytes],
      [0, 10, 255],
    )
    assert.equal(
      (await session.file({ op: 'put', path: 'run.sh' }, '#!/bin/sh\n')).error,
      undefined,
    )
    assert.equal(statSync(join(session.work, 'run.sh')).mode & 0o111, 0o111)
    const { entries } = await session.file({ op: 'list', path: 'a' })
    assert.deepEqual(
      entries?.map(({ path, type, size }) => [path, type, size]),
      [
        ['a/b', 'folder', 0],
        ['a/b/c.bin', 'file', 3],
      ],
    )
    const all = await session.file({ op: 'list', path: '' })
    assert.ok(all.entries?.some(({ path }) => path === 'run.sh'))
    ok(await running, '1')
  })

  test('Links, pipes, large files and paths outside are refused', async () => {
    await using session = await GuestSession.open('sh')
    const { work } = session
    symlinkSync('/etc/passwd', join(work, 'link'))
    symlinkSync('/etc', join(work, 'etc'))
    const outside = mkdtempSync(join(tmpdir(), 'session-outside-'))
    symlinkSync(outside, join(work, 'away'))
    execFileSync('mkfifo', [join(work, 'pipe')])
    writeFileSync(join(work, 'large'), 'x'.repeat(1000))
    mkdirSync(join(work, 'folder'))
    const code = async (op: string, path: string, bytesMax?: number) =>
      (await session.file({ op, path, bytesMax }, 'x')).error?.code
    for (const path of [
      'link',
      'etc/passwd',
      'pipe',
      'folder',
      '../x',
      '/etc/passwd',
      '',
      '.',
      'folder/',
      'a\0b',
    ])
      assert.ok(['INVALID', 'NOT_FOUND'].includes((await code('get', path)) ?? ''), path)
    for (const path of ['etc/x', '../x', 'folder', '', '.', 'large/x', 'folder/', 'away/new/x'])
      assert.equal(await code('put', path), 'INVALID', path)
    for (const path of [join(outside, 'x'), 'a\0b', '\ud800', 'x'.repeat(300)])
      assert.equal(await code('put', path), 'INVALID', path)
    assert.equal(await code('put', join(work, 'own')), undefined)
    assert.equal(await code('get', 'own'), undefined)
    assert.equal(await code('list', outside), 'INVALID')
    assert.deepEqual(readdirSync(outside), [], 'a refused put makes no folder')
    rmSync(outside, { recursive: true })
    assert.equal(await code('get', 'absent'), 'NOT_FOUND')
    assert.equal(await code('get', 'large', 999), 'TOO_LARGE')
    assert.equal(await code('get', 'large', 1000), undefined)
    assert.equal(await code('list', 'link'), 'INVALID')
    assert.equal(await code('list', 'etc/apt'), 'INVALID')
    assert.equal(await code('melt', 'large'), 'INVALID')
    // A put replaces a symbolic link, and does not follow it.
    assert.equal(await code('put', 'link'), undefined)
    assert.equal(readFileSync(join(work, 'link'), 'utf8'), 'x')
    const types = (await session.file({ op: 'list', path: '.' })).entries?.map(
      ({ path, type }) => `${path} ${type}`,
    )
    assert.ok(types?.includes('etc link') && types.includes('pipe other'), String(types))
    for (let n = 0; n < 1001; n++) writeFileSync(join(work, 'folder', `f${n}`), '')
    const cut = await session.file({ op: 'list', path: 'folder' })
    assert.deepEqual([cut.entries?.length, cut.truncated], [1000, true])
    const long = `long/${`${'x'.repeat(200)}/`.repeat(4)}`
    mkdirSync(join(work, long), { recursive: true })
    for (let n = 0; n < 400; n++) writeFileSync(join(work, long, `${'y'.repeat(100)}${n}`), '')
    const head = JSON.stringify(await session.file({ op: 'list', path: 'long' }))
    assert.ok(head.length < 256 * 1024 && head.includes('"truncated":true'), String(head.length))
  })

  test('The end of the control socket ends kernels, commands and their children', async () => {
    const session = await GuestSession.open('bash')
    const started = await session.exec('sleep 61 & echo $!; setsid sleep 61 & echo $!; echo $$')
    const pids = started.stdout.trim().split('\n').map(Number)
    await session[Symbol.asyncDispose]()
    await sleep(100)
    for (const pid of pids) assert.ok(!isAlive(pid), String(pid))
  })
})
