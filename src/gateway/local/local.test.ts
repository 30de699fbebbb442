import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { MayflyError } from '../../contract/error.ts'
import type { Outcome } from '../../contract/outcome.ts'
import { encodeFrame, FrameDecoder, type Frame } from '../../lib/frames.ts'
import { NoAnalystError } from '../../threat/no-analyst.ts'
import { attach, type SentJob } from './client.ts'
import { openLocalDoor, type LocalDoorOptions } from './door.ts'
import { localFolder, readRecord, recordFile, socketPath } from './place.ts'
import { serverEnvironment, serverName } from './server-name.ts'
import {
  framesOfText,
  clientHelloBytesMax,
  localKinds,
  nonceBytes,
  partBytesMax,
  proofOf,
  protocol,
} from './wire.ts'

const skip = process.platform !== 'linux' && 'servers are left behind on Linux alone'
const name = 'a'.repeat(32)
const job: SentJob = { request: { code: 'return 1' }, packages: [], watch: true, live: true }
const signal = new AbortController().signal
const outcome = { id: 'exec_1', status: 'ok' } as Outcome

function folderFor(t: TestContext): { readonly state: string; readonly folder: string } {
  const state = mkdtempSync(join(tmpdir(), 'mayfly-attach-'))
  t.after(() => rmSync(state, { recursive: true, force: true }))
  return { state, folder: localFolder(state) }
}

async function doorFor(t: TestContext, more: Partial<LocalDoorOptions> = {}) {
  const { state, folder } = folderFor(t)
  const options: LocalDoorOptions = {
    folder,
    name,
    kind: 'left',
    state,
    run: async () => outcome,
    isItself: () => true,
    idleMs: null,
    onIdle: () => undefined,
    onStop: () => undefined,
    ...more,
  }
  const door = await openLocalDoor(options)
  assert.ok(door)
  t.after(() => door.close())
  return { door, folder, options }
}

/** A caller that speaks for itself. */
async function strangerAt(folder: string) {
  const socket = connect(socketPath(folder, readRecord(folder, name)!.socket)!)
  await once(socket, 'connect')
  return { socket, frames: framesFrom(socket), gone: once(socket, 'close') }
}

async function* framesFrom(socket: Socket): AsyncGenerator<Frame, void> {
  const decoder = new FrameDecoder(partBytesMax)
  for await (const chunk of socket) yield* decoder.push(chunk as Buffer)
}

const hello = () =>
  encodeFrame(localKinds.hello, Buffer.concat([Buffer.of(protocol), randomBytes(32)]))

suite('A server for runs of its own user', { skip }, () => {
  test('A job is sent to the server, and output, timeline, profile and outcome are returned', async (t) => {
    const seen: unknown[] = []
    const { folder } = await doorFor(t, {
      async run(text, { tap, planned, on }) {
        assert.deepEqual(JSON.parse(text), job)
        planned({ profile: { tier: 'isolate' } as never, hasSentinel: true })
        await tap('stdout', 'a'.repeat(300_000))
        await tap('stderr', '\u{1f600}'.repeat(200_000))
        on({ at: 0, zone: 'main', event: 'phase' } as never)
        return { ...outcome, stdout: 'ü'.repeat(2 * partBytesMax) }
      },
    })
    const server = await attach(folder, name)
    const texts = { stdout: '', stderr: '' }
    const ended = await server!.run(job, {
      signal,
      tap: (stream, text) => void (texts[stream] += text),
      planned: (planned) => void seen.push(planned),
      on: (entry) => void seen.push(entry),
    })
    assert.equal(ended!.stdout, 'ü'.repeat(2 * partBytesMax))
    assert.deepEqual(texts, { stdout: 'a'.repeat(300_000), stderr: '\u{1f600}'.repeat(200_000) })
    assert.deepEqual(seen, [
      { profile: { tier: 'isolate' }, hasSentinel: true },
      { at: 0, zone: 'main', event: 'phase' },
    ])
  })

  test('Output that is not UTF-8 arrives as its bytes, and as text that no frame cuts within a character', async (t) => {
    // The first frame would end within the last euro sign.
    const long = Buffer.concat([Buffer.of(0xff), Buffer.from('\u20ac'.repeat(partBytesMax / 2))])
    const { folder } = await doorFor(t, {
      async run(_text, { tap }) {
        await tap('stdout', 'text')
        await tap('stdout', long.toString(), long)
        return outcome
      },
    })
    const told: Buffer[] = []
    let heard = ''
    await (await attach(folder, name))!.run(job, {
      signal,
      tap(_stream, text, bytes) {
        heard += text
        told.push(Buffer.from(bytes ?? text))
      },
    })
    assert.ok(Buffer.concat(told).equals(Buffer.concat([Buffer.from('text'), long])))
    assert.equal(heard, `text\ufffd${'\u20ac'.repeat(partBytesMax / 2)}`)
  })

  test('Errors of the pipeline arrive with code, hint and details; a full server declines', async (t) => {
    const errors = [
      new MayflyError('INVALID', 'Cannot "x"', { hint: 'h', details: [{ path: 'stdin' }] }),
      new Error('a bug'),
      new MayflyError('OVERLOADED', 'full'),
    ]
    const { folder } = await doorFor(t, { run: () => Promise.reject(errors.shift()!) })
    const run = async () => (await attach(folder, name))!.run(job, { signal })
    const expected = { code: 'INVALID', hint: 'h', details: [{ path: 'stdin' }] }
    await assert.rejects(run(), expected)
    await assert.rejects(run(), { code: 'INTERNAL', message: 'a bug' })
    assert.equal(await run(), undefined)
  })

  test('A server that has never begun an analysis declines, and answers any other job that is unavailable', async (t) => {
    const errors = [
      new NoAnalystError('UNAVAILABLE', 'Cannot analyse: a file is missing'),
      new MayflyError('UNAVAILABLE', 'Cannot analyse: it ended'),
    ]
    const { folder } = await doorFor(t, { run: () => Promise.reject(errors.shift()!) })
    const run = async () => (await attach(folder, name))!.run(job, { signal })
    assert.equal(await run(), undefined)
    await assert.rejects(run(), { code: 'UNAVAILABLE', message: 'Cannot analyse: it ended' })
  })

  test('Cancelling reaches the job, and so does the end of the caller', async (t) => {
    const cancelled = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const started = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    let count = 0
    const { folder } = await doorFor(t, {
      async run(_text, { signal: asked }) {
        const at = count++
        started[at]!.resolve()
        await once(asked, 'abort')
        cancelled[at]!.resolve()
        return { ...outcome, status: 'cancelled' }
      },
    })
    const cancel = new AbortController()
    const first = (await attach(folder, name))!.run(job, { signal: cancel.signal })
    await started[0]!.promise
    cancel.abort()
    assert.equal((await first)!.status, 'cancelled')
    await cancelled[0]!.promise
    const server = await attach(folder, name)
    const second = server!.run(job, { signal })
    await started[1]!.promise
    server!.close()
    await assert.rejects(second, { code: 'INTERNAL' })
    await cancelled[1]!.promise
  })

  test('Attack: a caller without the secret gets only a nonce and a proof, and runs nothing', async (t) => {
    let runs = 0
    const { folder } = await doorFor(t, { run: async () => (runs++, outcome) })
    const { secret } = readRecord(folder, name)!
    const proofs = [
      () => randomBytes(32),
      () => Buffer.alloc(32),
      () => randomBytes(31),
      // The server's own proof, sent back.
      (challenge: Buffer) => challenge.subarray(nonceBytes),
      // The right secret for other nonces, as one that was overheard.
      () =>
        proofOf(secret, 'client', name, {
          client: randomBytes(32),
          server: randomBytes(nonceBytes),
        }),
      () => Buffer.from(secret, 'hex'),
    ]
    for (const proof of proofs) {
      const { socket, frames, gone } = await strangerAt(folder)
      socket.write(hello())
      const challenge = (await frames.next()).value!.payload
      assert.ok(!challenge.includes(Buffer.from(secret, 'hex')) && !challenge.includes(secret))
      socket.write(encodeFrame(localKinds.proof, proof(challenge)))
      socket.write(encodeFrame(localKinds.run, ''))
      assert.equal((await frames.next()).done, true)
      await gone
    }
    assert.equal(runs, 0)
  })

  test('Attack: frames of another kind, order or length end the connection', async (t) => {
    let runs = 0
    const { folder } = await doorFor(t, { run: async () => (runs++, outcome) })
    const first = [
      encodeFrame(localKinds.run, ''),
      encodeFrame(localKinds.stop, ''),
      encodeFrame(localKinds.status, ''),
      encodeFrame(localKinds.part, '{}'),
      encodeFrame(localKinds.hello, Buffer.alloc(clientHelloBytesMax)),
      encodeFrame(localKinds.hello, Buffer.alloc(1)),
      Buffer.concat([Buffer.from([0xff, 0xff, 0xff, 0x7f]), randomBytes(64)]),
      Buffer.alloc(5),
      Buffer.concat([hello(), hello()]),
      randomBytes(4096),
    ]
    for (const bytes of first) {
      const { socket, gone } = await strangerAt(folder)
      socket.on('error', () => undefined)
      socket.resume()
      socket.write(bytes)
      await gone
    }
    const proved = [
      encodeFrame(localKinds.proof, randomBytes(32)),
      encodeFrame(localKinds.cancel, ''),
      encodeFrame(localKinds.run, 'x'),
      encodeFrame(localKinds.outcome, ''),
      encodeFrame(99, ''),
      Buffer.from([0xff, 0xff, 0xff, 0x7f, 3]),
    ]
    for (const bytes of proved) {
      const { socket, frames, gone } = await provedAt(folder)
      socket.write(bytes)
      assert.equal((await frames.next()).done, true)
      await gone
    }
    assert.equal(runs, 0)
    assert.equal((await (await attach(folder, name))!.run(job, { signal }))!.id, 'exec_1')
  })

  test('Attack: a program in place of the server gets only a nonce, and is not accepted as the server', async (t) => {
    const { door, folder } = await doorFor(t)
    const record = readRecord(folder, name)!
    await door.close()
    for (const answer of [
      encodeFrame(localKinds.challenge, randomBytes(64)),
      encodeFrame(localKinds.ready, ''),
      randomBytes(200),
    ]) {
      const heard: Buffer[] = []
      const fake = createServer((socket) => {
        socket.on('error', () => undefined)
        socket.on('data', (chunk: Buffer) => heard.push(chunk))
        socket.once('data', () => socket.write(answer))
      })
      mkdirSync(folder, { recursive: true, mode: 0o700 })
      fake.listen(socketPath(folder, record.socket))
      await once(fake, 'listening')
      writeFileSync(recordFile(folder, name), JSON.stringify(record), { mode: 0o600 })
      assert.equal(await attach(folder, name), undefined)
      const bytes = Buffer.concat(heard)
      assert.equal(bytes.length, 4 + 1 + clientHelloBytesMax)
      assert.ok(!bytes.includes(Buffer.from(record.secret, 'hex')))
      fake.close()
      rmSync(folder, { recursive: true })
    }
  })

  test('Attack: a folder, record or socket that others may access, or that is a link, is not used', async (t) => {
    const { folder } = await doorFor(t)
    const file = recordFile(folder, name)
    assert.ok(readRecord(folder, name))
    chmodSync(file, 0o640)
    assert.equal(readRecord(folder, name), undefined)
    chmodSync(file, 0o600)
    chmodSync(folder, 0o750)
    assert.equal(readRecord(folder, name), undefined)
    chmodSync(folder, 0o700)
    assert.ok(readRecord(folder, name))
    const { folder: open } = folderFor(t)
    mkdirSync(open)
    chmodSync(open, 0o755)
    const options = { kind: 'left', idleMs: null, name } as const
    const never = { isItself: () => true, onIdle() {}, onStop() {}, run: async () => outcome }
    assert.equal(await openLocalDoor({ ...options, ...never, folder: open, state: '/' }), undefined)
    const { state } = folderFor(t)
    symlinkSync(folder, localFolder(state))
    assert.equal(readRecord(localFolder(state), name), undefined)
    assert.equal(
      await openLocalDoor({ ...options, ...never, folder: localFolder(state), state }),
      undefined,
    )
  })

  test('The second of two servers with one name ends, and a dead one is replaced with its socket', async (t) => {
    const { door, folder, options } = await doorFor(t)
    assert.equal(await openLocalDoor(options), undefined)
    const record = readRecord(folder, name)!
    assert.deepEqual(readdirSync(folder).sort(), [`${name}.key`, record.socket].sort())
    await door.close()
    assert.ok(!existsSync(folder))
    mkdirSync(folder, { mode: 0o700 })
    const dead = { ...record, owner: { ...record.owner, startTime: '1' } }
    writeFileSync(recordFile(folder, name), JSON.stringify(dead), { mode: 0o600 })
    writeFileSync(join(folder, record.socket), '')
    const next = await openLocalDoor(options)
    assert.ok(next)
    assert.ok(!existsSync(join(folder, record.socket)))
    assert.notEqual(readRecord(folder, name)!.secret, record.secret)
    await next.close()
    assert.ok(!existsSync(folder))
  })

  test('Servers report their status; a background server accepts a stop command, and another server refuses it', async (t) => {
    const stopped = Promise.withResolvers<void>()
    const { folder } = await doorFor(t, { onStop: () => stopped.resolve(), idleMs: 60_000 })
    await (await attach(folder, name))!.run(job, { signal })
    const server = await attach(folder, name)
    const { kind, jobs, idle, pid } = await server!.facts()
    assert.deepEqual({ kind, idle, pid }, { kind: 'left', idle: 60_000, pid: process.pid })
    assert.deepEqual(jobs, { running: 0, done: 1 })
    const ended = server!.stop()
    await stopped.promise
    server!.close()
    await ended
    const stays = await doorFor(t, { kind: 'serve', onStop: () => assert.fail('it was stopped') })
    const serving = await attach(stays.folder, name)
    void serving!.stop()
    assert.equal((await (await attach(stays.folder, name))!.facts()).kind, 'serve')
    serving!.close()
  })

  test('Idle time begins when the last caller disconnects, and an outdated server accepts no job', async (t) => {
    const idle = Promise.withResolvers<void>()
    let isItself = true
    const options = { idleMs: 1, onIdle: () => idle.resolve(), isItself: () => isItself }
    const { folder } = await doorFor(t, options)
    await idle.promise
    const server = await attach(folder, name)
    isItself = false
    assert.equal(await server!.run(job, { signal }), undefined)
    assert.equal(await attach(folder, name), undefined)
  })

  test('Draining waits for running jobs, cancels late ones, and closes idle connections', async (t) => {
    const started = Promise.withResolvers<void>()
    const { door, folder } = await doorFor(t, {
      async run(_text, { signal: asked }) {
        started.resolve()
        await once(asked, 'abort')
        return { ...outcome, status: 'cancelled' }
      },
    })
    const listening = await attach(folder, name)
    const running = (await attach(folder, name))!.run(job, { signal })
    await started.promise
    const draining = door.drain(1)
    await assert.rejects(listening!.facts())
    assert.equal(await draining, 1)
    assert.equal((await running)!.status, 'cancelled')
    await door.close()
    assert.ok(!existsSync(folder))
  })

  test('A stopping server declines the job of an attached caller that has not sent it, of any size', async (t) => {
    const code = 'x'.repeat(2 ** 23)
    const jobs: readonly SentJob[] = [job, { ...job, request: { code } }]
    for (const isClosed of [false, true])
      for (const sent of jobs) {
        const { door, folder } = await doorFor(t, { run: () => assert.fail('a job ran') })
        const server = await attach(folder, name)
        assert.equal(await door.drain(0), 0)
        if (isClosed) await door.close()
        assert.equal(await server!.run(sent, { signal }), undefined)
      }
  })

  test('A server whose process ended before a job was sent ran nothing of it', async (t) => {
    const { folder } = folderFor(t)
    const server = startOther(folder)
    t.after(() => server.kill('SIGKILL'))
    await once(server.stdout, 'data')
    const attached = await attach(folder, name)
    server.kill('SIGKILL')
    await once(server, 'close')
    assert.equal(await attached!.run(job, { signal }), undefined)
  })

  test('A caller that has attached and sends nothing does not hold up the end of the server', async (t) => {
    const started = Promise.withResolvers<void>()
    const finish = Promise.withResolvers<Outcome>()
    const { door, folder } = await doorFor(t, {
      run: () => (started.resolve(), finish.promise),
    })
    const idle = await attach(folder, name)
    const running = (await attach(folder, name))!.run(job, { signal })
    await started.promise
    const draining = door.drain(2 ** 30)
    finish.resolve(outcome)
    assert.equal((await running)!.id, outcome.id)
    assert.equal(await draining, 0)
    idle!.close()
  })

  test('Attack: a caller that does not read its response does not keep the server alive', async (t) => {
    const started = Promise.withResolvers<void>()
    const { door, folder } = await doorFor(t, {
      async run() {
        started.resolve()
        return { ...outcome, stdout: 'x'.repeat(2 ** 25) }
      },
    })
    const { socket } = await provedAt(folder)
    for (const frame of framesOfText('{}', localKinds.part, localKinds.run)) socket.write(frame)
    await started.promise
    await door.drain(1)
    await door.close()
    assert.ok(!existsSync(folder))
    socket.destroy()
  })

  test('Attack: a run in other namespaces asks no server that has more, as without a network', (t) => {
    assert.equal(nameIn(...node), serverName(surroundings))
    for (const namespace of ['--net', '--mount', '--pid']) {
      const there = nameIn('unshare', '--fork', namespace, ...node)
      if (there === undefined) return t.skip('namespaces need root')
      assert.notEqual(there, serverName(surroundings), namespace)
    }
  })

  test('Attack: a run under limits of its shell asks no server without them', () => {
    const there = nameIn('sh', '-c', 'ulimit -t 1000; exec "$@"', 'sh', ...node)
    assert.match(there ?? '', /^[0-9a-f]{32}$/)
    assert.notEqual(there, serverName(surroundings))
  })

  test('A name changes with state, configuration and every variable that a server reads, and with no other', () => {
    const base = { state: '/s', config: null, env: { PATH: '/bin' } }
    const others = [
      { ...base, state: '/t' },
      { ...base, config: 'x' },
      { ...base, env: { PATH: '/sbin' } },
      { ...base, env: { PATH: '/bin', MAYFLY_NETWORK: 'open' } },
      { ...base, env: { PATH: '/bin', MAYFLY_SENTINEL: 'off' } },
      { ...base, env: { PATH: '/bin', OTEL_SDK_DISABLED: 'true' } },
      { ...base, env: { PATH: '/bin', NODE_TLS_REJECT_UNAUTHORIZED: '0' } },
      { ...base, env: { PATH: '/bin', LD_PRELOAD: '/lib/proxy.so' } },
    ]
    const names = [base, ...others].map(serverName)
    assert.equal(new Set(names).size, names.length)
    const same = { ...base, env: { PATH: '/bin', PWD: '/x', SECRET: 'y', MAYFLY_STATE: '/s' } }
    assert.equal(serverName(same), names[0])
    assert.deepEqual(serverEnvironment(same.env), { PATH: '/bin' })
    const project = { ...base, env: { PATH: `${process.cwd()}/bin:node_modules/.bin:/bin` } }
    assert.equal(serverName(project), names[0])
  })
})

const surroundings = { state: '/s', config: null, env: {} }
/** Program that prints its name for a server. */
const node = [
  process.execPath,
  '--input-type=module',
  '--eval',
  `import { serverName } from ${JSON.stringify(join(import.meta.dirname, 'server-name.ts'))}
  process.stdout.write(serverName(${JSON.stringify(surroundings)}))`,
] as const

function nameIn(...[program, ...args]: readonly [string, ...string[]]): string | undefined {
  const { status, stdout } = spawnSync(program, args, { encoding: 'utf8' })
  return status === 0 ? stdout : undefined
}

/** A server in a process of its own, which prints once it listens. */
function startOther(folder: string) {
  const program = `import { openLocalDoor } from ${JSON.stringify(join(import.meta.dirname, 'door.ts'))}
  const never = { isItself: () => true, onIdle() {}, onStop() {}, run: async () => ({}) }
  const { folder, name } = JSON.parse(process.argv[1])
  await openLocalDoor({ ...never, kind: 'left', idleMs: null, state: '/', folder, name })
  process.stdout.write('listens')`
  const flags = ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval', program]
  const words = [...flags, JSON.stringify({ folder, name })]
  return spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] })
}

/** A caller that has proved itself, and then speaks for itself. */
async function provedAt(folder: string) {
  const { secret } = readRecord(folder, name)!
  const stranger = await strangerAt(folder)
  const client = randomBytes(nonceBytes)
  stranger.socket.write(encodeFrame(localKinds.hello, Buffer.concat([Buffer.of(protocol), client])))
  const server = (await stranger.frames.next()).value!.payload.subarray(0, nonceBytes)
  stranger.socket.write(
    encodeFrame(localKinds.proof, proofOf(secret, 'client', name, { client, server })),
  )
  assert.equal((await stranger.frames.next()).value!.kind, localKinds.ready)
  return stranger
}
