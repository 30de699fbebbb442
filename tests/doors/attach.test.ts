import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { type TestContext } from 'node:test'
import { whyLeaveNone } from '../../src/cli/leave-server.ts'
import { serverUid } from '../../src/contract/uids.ts'
import { localFolder, recordsIn } from '../../src/gateway/local/place.ts'
import { suite, test } from '../fixtures/drawn.ts'
import {
  bin,
  documentOf,
  leasesIn,
  makePlace,
  mayfly,
  noOrdinaryUser,
  remaining,
  startServer,
  type Place,
  type RunOptions,
  type Who,
} from './program.ts'
import { descendantsOf } from '../hostile/proc.ts'

const skip = process.platform !== 'linux' && 'servers are left behind on Linux alone'
/** Environment in which a run detects neither a test run nor CI. */
const outsideOfCi = { CI: '' }
const hello = 'console.log("hello"); return { sum: input.a + 1 }'

function placeFor(t: TestContext, who: Who = 'self'): Place {
  const place = makePlace(who)
  t.after(async () => {
    await mayfly(place, ['serve', '--stop', '--quiet'])
    place.remove()
  })
  writeFileSync(join(place.cwd, 'hello.js'), hello, { mode: 0o644 })
  return place
}

const run = (place: Place, words: readonly string[], { env, ...more }: RunOptions = {}) =>
  mayfly(place, ['run', ...words], { ...more, env: { ...outsideOfCi, ...env } })

const asJson = ['hello.js', '--input', '{"a":1}', '--json']

/** Runs by root attach only without a configuration: tests of one run as an ordinary user. */
const isRoot = process.getuid?.() === 0
const noConfiguredServer = isRoot && noOrdinaryUser()

interface Status {
  readonly servers: readonly {
    readonly pid: number
    readonly kind: string
    readonly jobs: { readonly running: number; readonly done: number }
  }[]
}

async function statusOf(place: Place): Promise<Status['servers']> {
  return (documentOf(await mayfly(place, ['serve', '--status', '--json'])) as Status).servers
}

/** Pids of the warden, the server and the walls of the server that a run left in the background. */
function treeOf(pid: number): readonly number[] {
  const parent = Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))![1])
  return [parent, ...descendantsOf(parent)]
}

/** Names of the files of servers in the state folder. */
const leftIn = (place: Place) =>
  existsSync(localFolder(place.state)) ? readdirSync(localFolder(place.state)) : []

suite('mayfly run attached to a background server of this user', { skip }, () => {
  test('A run starts one background server, which serves the next run; "serve --stop" leaves nothing of it', async (t) => {
    const place = placeFor(t)
    const env = { PWD: place.cwd, OLDPWD: '/usr', SHLVL: '2' }
    const first = documentOf(await run(place, asJson, { env }))
    assert.deepEqual(
      [first['status'], first['result'], first['server']],
      ['ok', { sum: 2 }, 'attached'],
    )
    const [server, ...others] = await statusOf(place)
    assert.deepEqual([others, server!.kind, server!.jobs], [[], 'left', { running: 0, done: 1 }])
    const second = await run(place, ['hello.js', '--input', '{"a":2}', '--explain'])
    assert.match(second.stdout, /^hello\n\{\n {2}"sum": 3\n\}\n$/)
    assert.match(second.stderr, new RegExp(`Server: process ${server!.pid}`))
    const tree = treeOf(server!.pid)
    assert.ok(leftIn(place).length > 0 && leasesIn(place).length > 0)
    const warden = tree[0]!
    const session = readFileSync(`/proc/${warden}/stat`, 'utf8').split(') ')[1]!.split(' ')[3]
    assert.equal(Number(session), warden)
    for (const pid of [warden, server!.pid]) {
      assert.equal(readlinkSync(`/proc/${pid}/cwd`), '/')
      const [input, , errors] = [0, 1, 2].map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))
      assert.deepEqual([input, errors], ['/dev/null', '/dev/null'])
      const environment = readFileSync(`/proc/${pid}/environ`, 'utf8')
      assert.doesNotMatch(environment, /(?:^|\0)(?:CI|PWD|OLDPWD|SHLVL)=/)
    }
    const stopped = await mayfly(place, ['serve', '--stop', '--json'])
    assert.deepEqual(documentOf(stopped)['stopped'], [server!.pid])
    assert.deepEqual(await remaining(tree), [])
    assert.deepEqual([leftIn(place), leasesIn(place)], [[], []])
    assert.equal((await mayfly(place, ['audit', 'verify'])).code, 0)
  })

  test('$(mayfly run …) returns while the background server runs, and the server inherits no fd of the shell', async (t) => {
    const place = placeFor(t)
    // Node closes inherited fds up to the first gap above 15: flock(1) is used with fd 200.
    const line = `exec 9<>"$0" 200<>"$0"; echo "$("$1" "$2" run hello.js --input '{"a":1}' --quiet)"`
    const fifo = join(place.cwd, 'fifo')
    execFileSync('mkfifo', [fifo])
    const said = spawn('/bin/bash', ['-c', line, fifo, process.execPath, bin], {
      cwd: place.cwd,
      env: { ...place.env, ...outsideOfCi },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let text = ''
    said.stdout.on('data', (chunk) => (text += String(chunk)))
    said.stderr.resume()
    // 'close', not only 'end': no process holds either pipe open.
    assert.deepEqual(await once(said, 'close'), [0, null])
    assert.match(text, /hello/)
    const [server] = await statusOf(place)
    for (const pid of treeOf(server!.pid))
      for (const fd of readdirSync(`/proc/${pid}/fd`))
        assert.notEqual(readlinkSync(`/proc/${pid}/fd/${fd}`), fifo)
  })

  test('No background server is started with --once, in CI, in a test run, as process 1 or without a writable state folder', async (t) => {
    const place = placeFor(t)
    const runs = [
      await run(place, [...asJson, '--once']),
      await run(place, asJson, { env: { CI: 'true' } }),
      await run(place, asJson, { env: { NODE_TEST_CONTEXT: 'child-v8' } }),
    ]
    for (const ran of runs) assert.equal(documentOf(ran)['server'], 'own')
    const explained = await run(place, ['hello.js', '--input', '{"a":1}', '--explain', '--once'])
    assert.match(explained.stderr, /Server: none, --once/)
    assert.deepEqual([await statusOf(place), leftIn(place), leasesIn(place)], [[], [], []])
    const none = { pid: 7, ppid: 6 }
    assert.equal(whyLeaveNone(place.state, {}, none), undefined)
    assert.equal(whyLeaveNone(place.state, { CI: 'false' }, none), undefined)
    assert.ok(whyLeaveNone(place.state, {}, { pid: 1, ppid: 0 }))
    assert.ok(whyLeaveNone(place.state, {}, { pid: 7, ppid: 1 }))
    assert.ok(whyLeaveNone('/dev/null/state', {}, none))
  })

  test('Three runs that start at once start one background server, and all end', async (t) => {
    const place = placeFor(t)
    const both = await Promise.all([run(place, asJson), run(place, asJson), run(place, asJson)])
    for (const ran of both) assert.equal(documentOf(ran)['status'], 'ok')
    assert.equal((await statusOf(place)).length, 1)
  })

  test('After kill -9 of the server the next run replaces it, and leaves no stale socket', async (t) => {
    const place = placeFor(t)
    await run(place, asJson)
    const [first] = await statusOf(place)
    const tree = treeOf(first!.pid)
    process.kill(first!.pid, 'SIGKILL')
    assert.deepEqual(await remaining(tree), [])
    assert.equal(leftIn(place).length, 2)
    assert.equal(documentOf(await run(place, asJson))['server'], 'attached')
    const [second] = await statusOf(place)
    assert.notEqual(second!.pid, first!.pid)
    assert.equal(leftIn(place).length, 2)
  })

  test('A background server ends after its idle time', async (t) => {
    const place = placeFor(t)
    const words = ['serve', '--for-run', '--state', place.state, '--idle', '1ms']
    const ended = await mayfly(place, words)
    assert.deepEqual([ended.code, ended.stdout], [0, 'ready\n'])
    assert.deepEqual([leftIn(place), leasesIn(place)], [[], []])
  })

  test('Another variable or configuration gets a server of its own, and the previous server ends', async (t) => {
    if (noConfiguredServer) return t.skip(noConfiguredServer)
    const place = placeFor(t, isRoot ? 'ordinary' : 'self')
    await run(place, asJson)
    const [first] = await statusOf(place)
    const tree = treeOf(first!.pid)
    const limited = { MAYFLY_LIMITS_OUTPUT: '4' }
    const cut = documentOf(await run(place, asJson, { env: limited }))
    assert.deepEqual([cut['stdout'], cut['server']], ['hell', 'attached'])
    writeFileSync(join(place.cwd, 'mayfly.toml'), '[limits]\noutput = "5B"\n', { mode: 0o644 })
    const configured = documentOf(await run(place, asJson))
    assert.deepEqual([configured['stdout'], configured['server']], ['hello', 'attached'])
    rmSync(join(place.cwd, 'mayfly.toml'))
    const env = { PATH: `${place.env['PATH']}:/nowhere` }
    const other = documentOf(await run(place, asJson, { env }))
    assert.deepEqual([other['stdout'], other['server']], ['hello\n', 'attached'])
    assert.deepEqual(await remaining(tree), [])
    assert.equal((await statusOf(place)).length, 1)
  })

  test('A run warns of a default_provider that is no built-in one, with a server and without', async (t) => {
    if (noConfiguredServer) return t.skip(noConfiguredServer)
    const place = placeFor(t, isRoot ? 'ordinary' : 'self')
    writeFileSync(join(place.cwd, 'own.toml'), 'default_provider = "no-such"\n', { mode: 0o644 })
    const checked = await mayfly(place, ['policy', 'check', '--config', 'own.toml'])
    const warned =
      /^Warning: own\.toml:1:1: default_provider: no built-in provider has the name "no-such".*$/gm
    const [words, ...more] = checked.stderr.match(warned) ?? []
    assert.ok(words && more.length === 0, checked.stderr)
    for (const alone of [['--once'], [], []]) {
      const ran = await run(place, [...asJson, '--config', 'own.toml', ...alone])
      assert.equal(documentOf(ran)['server'], alone.length > 0 ? 'own' : 'attached')
      assert.deepEqual([ran.code, ran.stderr.match(warned)], [0, [words]], ran.stderr)
    }
    writeFileSync(join(place.cwd, 'own.toml'), 'default_provider = "wasi"\n')
    const ran = await run(place, [...asJson, '--config', 'own.toml'])
    assert.doesNotMatch(ran.stderr, /Warning/)
  })

  test('Attack: no value of a found mayfly.toml prints an escape sequence or a line of its own, with a server and without', async (t) => {
    if (noConfiguredServer) return t.skip(noConfiguredServer)
    const place = placeFor(t, isRoot ? 'ordinary' : 'self')
    const evil = String.raw`\u001b]0;owned\u0007\u001b[2J\nok isolate`
    const phase = `{ name = "${evil}", for = "5s", terminate_if = ${JSON.stringify('life.phase == "none"')} }`
    const toml = `[schedules.default]\nphases = [${phase}]\n`
    writeFileSync(join(place.cwd, 'mayfly.toml'), toml, { mode: 0o644 })
    for (const alone of [['--once'], [], []]) {
      const ran = await run(place, [...asJson, ...alone])
      assert.equal(documentOf(ran)['server'], alone.length > 0 ? 'own' : 'attached')
      assert.match(ran.stderr, /^Warning: .*\\x1b\]0;owned\\x07\\x1b\[2J\\nok isolate/m)
      assert.doesNotMatch(ran.stderr.replaceAll('\n', ''), /\p{Cc}/u)
    }
  })

  test('A run attaches to a running "mayfly serve" too, and cannot stop it', async (t) => {
    const place = placeFor(t)
    await using server = await startServer(place)
    assert.equal(documentOf(await run(place, asJson))['server'], 'attached')
    const [only, ...others] = await statusOf(place)
    assert.deepEqual([only!.kind, only!.pid, others], ['serve', server.pid, []])
    const stop = ['serve', '--stop']
    const told = await mayfly(place, stop)
    assert.match(
      told.stderr,
      new RegExp(`^No run had left .*\\nProcess ${server.pid} keeps running: `),
    )
    const { stopped, late, started } = documentOf(await mayfly(place, [...stop, '--json']))
    assert.deepEqual([stopped, late, started], [[], [], [server.pid]])
    assert.equal((await statusOf(place)).length, 1)
    const { left } = await server.stop()
    assert.deepEqual([left, leftIn(place)], [[], []])
  })

  test(
    'Orders to servers of a folder that its owner may not open end with STATE and a way out',
    { skip: noOrdinaryUser() },
    async (t) => {
      const place = placeFor(t)
      const closed = join(place.cwd, 'closed')
      const state = join(closed, 'state')
      mkdirSync(state, { recursive: true, mode: 0o700 })
      chmodSync(closed, 0o700)
      chownSync(state, serverUid, serverUid)
      for (const order of ['--stop', '--status']) {
        const words = ['serve', order, '--state', state]
        const asked = await mayfly(place, [...words, '--json'])
        const { code, message, hint } = documentOf(asked)['error']
        assert.deepEqual([code, message.includes(`"${state}"`)], ['STATE', true], order)
        assert.match(hint, /"x" on each folder above it.*SIGTERM/)
        assert.equal(asked.code, 9)
        assert.doesNotMatch((await mayfly(place, words)).stderr, /EACCES/)
      }
      chmodSync(closed, 0o755)
      assert.equal((await mayfly(place, ['serve', '--stop', '--state', state])).code, 0)
    },
  )

  test(
    'Orders to servers of a folder of another user, or of a link, end with STATE, and look for none',
    { skip: noOrdinaryUser() },
    async (t) => {
      const place = placeFor(t)
      const state = join(place.cwd, 'of-another')
      const link = join(place.cwd, 'link')
      mkdirSync(state)
      chownSync(state, 12_345, 12_345)
      symlinkSync(state, link)
      for (const order of ['--stop', '--status'])
        for (const [at, why] of [
          [state, 'it belongs to uid 12345'],
          [link, 'it is no folder'],
        ] as const) {
          const asked = await mayfly(place, ['serve', order, '--state', at, '--json'])
          const { code, message } = documentOf(asked)['error']
          assert.deepEqual([code, message.endsWith(why), asked.code], ['STATE', true, 9], message)
        }
      const gone = await mayfly(place, ['serve', '--stop', '--state', join(place.cwd, 'gone')])
      assert.match(gone.stderr, /No run had left a server behind/)
    },
  )

  test('Ctrl-C and the death of the client both cancel its job', async (t) => {
    const place = placeFor(t)
    writeFileSync(join(place.cwd, 'long.js'), 'console.log("on"); await new Promise(() => {})')
    const whenOn = (act: (pid: number) => void): RunOptions => ({
      started: (child) => child.stdout!.once('data', () => act(child.pid!)),
    })
    const words = ['long.js', '--timeout', '100s']
    const stopped = await run(
      place,
      words,
      whenOn((pid) => process.kill(pid, 'SIGINT')),
    )
    assert.deepEqual([stopped.code, stopped.stdout], [130, 'on\n'])
    const killed = await run(
      place,
      words,
      whenOn((pid) => process.kill(pid, 'SIGKILL')),
    )
    assert.equal(killed.signal, 'SIGKILL')
    for (let looks = 0; (await statusOf(place))[0]!.jobs.running > 0; looks += 1)
      assert.ok(looks < 500, 'the job of a dead client still runs')
    const lines = (await mayfly(place, ['audit', 'list', '--json'])).stdout
    assert.equal(lines.match(/"status":\s*"cancelled"/g)?.length, 2)
  })

  test('Streams, standard input, arguments, errors and exit codes equal those of a run with --once', async (t) => {
    const place = placeFor(t)
    const write = (name: string, text: string) => writeFileSync(join(place.cwd, name), text)
    write('read.py', 'import sys\nprint(sys.stdin.read()[::-1], sys.argv[1:])\nsys.exit(3)')
    write('throws.js', 'console.error("bad")\nthrow new TypeError("no")')
    write('loop.js', 'while (true) {}')
    const lines: readonly (readonly [readonly string[], string?])[] = [
      [['hello.js', '--input', '{"a":4}', '--quiet']],
      [['read.py', '--pass-exit-code', '--quiet', '--', 'x', '--json'], 'abc'],
      [['throws.js', '--quiet']],
      [['loop.js', '--timeout', '100ms', '--quiet']],
      [['-', '--quiet'], 'return 6 * 7'],
      [['missing.js']],
      [['hello.js', '--tier', 'nonsense']],
      [['hello.js', '--input', '{']],
      [['hello.js', '--timeout', 'soon']],
    ]
    for (const [words, stdin = ''] of lines) {
      const attached = await run(place, words, { stdin })
      const own = await run(place, [...alone(words)], { stdin })
      assert.deepEqual(attached, own, words.join(' '))
    }
    const servers = await statusOf(place)
    // The other lines are refused before a job.
    assert.deepEqual(
      servers.map(({ jobs }) => jobs),
      [{ running: 0, done: 5 }],
    )
  })

  test('Output within its limit is whole, printed or in the document, and only output beyond it is reported as cut', async (t) => {
    const place = placeFor(t)
    const bytes = 3 * 2 ** 20
    writeFileSync(join(place.cwd, 'long.py'), `print("x" * ${bytes - 1})`, { mode: 0o644 })
    for (const once of [[], ['--once']]) {
      const long = ['long.py', '--output', '4MB', ...once]
      const printed = await run(place, long)
      assert.equal(printed.stdout.length, bytes)
      assert.doesNotMatch(printed.stderr, /left out/)
      const { stdout, truncated } = documentOf(await run(place, [...long, '--json'])) as {
        readonly stdout: string
        readonly truncated: unknown
      }
      assert.equal(stdout.length, bytes)
      assert.deepEqual(truncated, { stdout: false, stderr: false })
      const cut = await run(place, ['long.py', '--output', '2MB', ...once])
      assert.ok(cut.stdout.length <= 2 * 2 ** 20 && cut.stdout.endsWith('x\n'))
      const [, leftOut] = /^x+\n… (\d+) bytes left out …\nx+\n$/.exec(cut.stdout)!
      assert.match(
        cut.stderr,
        new RegExp(
          `^Output on stdout is larger than its limit of 2MB: ${leftOut} bytes .* left out; --output 4MB keeps them, and so does the artifact stdout.txt$`,
          'm',
        ),
      )
    }
  })

  test('Output that is not UTF-8 reaches a pipe and a file as its bytes, with a server and without', async (t) => {
    const place = placeFor(t)
    const code = 'import sys\nsys.stdout.buffer.write(bytes(range(256)) * 400)'
    writeFileSync(join(place.cwd, 'bytes.py'), code, { mode: 0o644 })
    const bytes = Buffer.alloc(
      400 * 256,
      Uint8Array.from({ length: 256 }, (_, at) => at),
    )
    const line = '"$0" "$1" run bytes.py $2 $3 > file && "$0" "$1" run bytes.py $2 $3 | cat > piped'
    for (const flags of [[], ['--once'], ['--watch'], ['--once', '--idempotent']]) {
      const child = spawn('/bin/sh', ['-c', line, process.execPath, bin, ...flags], {
        cwd: place.cwd,
        env: { ...place.env, ...outsideOfCi },
        stdio: 'ignore',
      })
      assert.deepEqual(await once(child, 'close'), [0, null])
      for (const name of ['file', 'piped'])
        assert.ok(readFileSync(join(place.cwd, name)).equals(bytes), `${name} ${flags.join(' ')}`)
    }
  })

  test('An ordinary user attaches with every flag; the client reads files and writes artifacts', async (t) => {
    const missing = noOrdinaryUser()
    if (missing) return t.skip(missing)
    const place = placeFor(t, 'ordinary')
    const program = 'import json; print(open("given.txt").read()); open("made.txt", "w").write("m")'
    writeFileSync(join(place.cwd, 'made.py'), program, { mode: 0o644 })
    writeFileSync(join(place.cwd, 'given.txt'), 'given', { mode: 0o644 })
    const words = [
      'made.py',
      '--file',
      'given.txt',
      '--artifacts',
      join(place.cwd, 'out'),
      '--json',
    ]
    const made = documentOf(await run(place, words))
    assert.deepEqual([made['server'], made['stdout']], ['attached', 'given\n'])
    assert.equal(readFileSync(join(place.cwd, 'out', 'made.txt'), 'utf8'), 'm')
    const [record] = await statusOf(place)
    assert.equal(record!.kind, 'left')
    assert.equal(recordsIn(localFolder(place.state)).length, 0, 'closed to every other user')
  })
})

/** Arguments of the same run with --once; flags come before `--`. */
function alone(words: readonly string[]): readonly string[] {
  const at = words.indexOf('--')
  return at < 0 ? [...words, '--once'] : [...words.slice(0, at), '--once', ...words.slice(at)]
}
