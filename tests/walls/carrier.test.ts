import { openOwnProgram } from '../../src/jail/own-programs.ts'
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fstatSync, readdirSync, realpathSync, renameSync, rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Duplex } from 'node:stream'
import { encodeFrame } from '../../src/lib/frames.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { tryReadLink } from '../../src/os/read.ts'
import { descriptorOf, spawnChild, type SpawnedChild } from '../../src/os/spawned-child.ts'
import type { GuestStream } from '../../src/walls/guest-stream.ts'
import { GuestStreams } from '../../src/walls/guest-streams.ts'
import { until } from '../conformance/stand.ts'
import { drawn, suite, test } from '../fixtures/drawn.ts'
import { descendantsOf } from '../hostile/proc.ts'

/**
 * The real carrier, as a process of this machine in a network namespace of its own: it changes its user, which only root may.
 */
const found = await openOwnProgram('carrier')
const program = 'missing' in found ? undefined : realpathSync(found.file)
const skip = whyNot()
const MEBIBYTE = 2 ** 20

suite('The carrier of a machine', { skip, timeout: 120_000 }, () => {
  test('Frames of the runner arrive after its earlier output, also for a slow reader', async () => {
    await using carrier = start(
      `import os\nos.read(5, 1)\nos.write(2, b'e' * 1000)\nleft = ${MEBIBYTE}\nwhile left: left -= os.write(1, b'x' * left)\nos.write(5, b'done')`,
    )
    const { handle, streams } = carrier.streams
    const seen = { stdout: 0, stderr: 0 }
    const received = bytesReceivedBy(streams.stdout)
    const beforeFrame = new Promise<number>((resolve) => {
      const receive = handle.receive.bind(handle)
      handle.receive = (bytes) => {
        resolve(received())
        receive(bytes)
      }
    })
    streams.stderr.on('data', (chunk: Buffer) => void (seen.stderr += chunk.length))
    streams.stdout.on('data', (chunk: Buffer) => {
      seen.stdout += chunk.length
      streams.stdout.pause()
      setImmediate(() => streams.stdout.resume())
    })
    handle.write('1')
    const [said] = (await once(handle, 'data')) as [Buffer]
    assert.equal(said.toString(), 'done')
    assert.deepEqual([await beforeFrame, seen.stderr], [MEBIBYTE, 1000])
    await until(() => seen.stdout === MEBIBYTE, 'the slow reader')
    assert.equal(await carrier.ended, 0)
  })

  test('A megabyte passes each way unchanged', async () => {
    await using carrier = start(
      `import os\nleft = ${MEBIBYTE}\nwhile left:\n  chunk = os.read(5, 65536)\n  left -= len(chunk)\n  at = 0\n  while at < len(chunk): at += os.write(5, chunk[at:])`,
    )
    const { handle } = carrier.streams
    const bytes = Buffer.from(Array.from({ length: MEBIBYTE }, (_, at) => (at * 31) % 251))
    const answer = collect(handle)
    handle.write(bytes)
    const back = await answer
    assert.equal(sha(back), sha(bytes))
    assert.equal(await carrier.ended, 0)
  })

  test('The carrier exits with the code of its runner, after the server has received the output', async () => {
    await using carrier = start(`import os\nos.read(5, 1)\nos.write(1, b'last')\nos._exit(7)`)
    const said = collect(carrier.streams.streams.stdout)
    carrier.streams.handle.write('1')
    assert.equal(String(await said), 'last')
    assert.equal(await carrier.ended, 7)
  })

  test('A killed runner is reported with its signal, also if a child keeps its outputs open', async () => {
    await using carrier = start(
      `import os, signal\nos.read(5, 1)\nif os.fork() == 0:\n  signal.pause()\nos.kill(os.getpid(), 9)`,
    )
    carrier.streams.handle.write('1')
    assert.equal(await carrier.ended, 128 + 9)
  })

  test('Output before the first frame of the server is dropped', async () => {
    await using carrier = start(
      `import os\nos.write(1, b'early')\nos.read(5, 1)\nos.write(1, b'late')`,
    )
    // Written before the runner was ready, and read by the carrier since.
    await carrier.ready
    await carrier.settled()
    const said = collect(carrier.streams.streams.stdout)
    carrier.streams.handle.write('1')
    assert.equal(String(await said), 'late')
  })

  test('A runner blocks while its reader does not read', async () => {
    await using carrier = start(
      `import os\nos.read(5, 1)\nos.set_blocking(1, False)\nsent = 0\nimport select, time\nuntil = time.monotonic() + 60\nwhile time.monotonic() < until:\n  if select.select([], [1], [], 0.3)[1]: sent += os.write(1, b'x' * 65536)\n  else: break\nos.write(2, str(sent).encode())\nos.read(5, 1)`,
    )
    const { handle, streams } = carrier.streams
    streams.stdout.on('data', () => undefined)
    streams.stdout.pause()
    handle.write('1')
    const [said] = (await once(streams.stderr, 'data')) as [Buffer]
    // A window, a pipe buffer, and bytes in flight.
    assert.ok(Number(said) >= 262_144 && Number(said) <= 262_144 + 3 * 65_536, String(said))
    streams.stdout.resume()
    handle.write('2')
    assert.equal(await carrier.ended, 0)
  })

  test('Connections to the loopback port reach the server, and half-closed ones are answered', async () => {
    await using carrier = start(
      `import os, socket\nos.read(5, 1)\ns = socket.create_connection(('127.0.0.1', 3128))\ns.sendall(b'ask')\ns.shutdown(socket.SHUT_WR)\nanswer = b''\nwhile chunk := s.recv(99): answer += chunk\nos.write(1, answer)`,
    )
    const listener = carrier.streams.listen()
    listener.on('connection', (connection: Duplex) => {
      void collect(connection, false).then((asked) => connection.end(`answer to ${String(asked)}`))
    })
    const said = collect(carrier.streams.streams.stdout)
    carrier.streams.handle.write('1')
    assert.equal(String(await said), 'answer to ask')
    assert.equal(await carrier.ended, 0)
  })

  test('A paused carrier sends and loses nothing, and in a clone closes every connection', async () => {
    await using carrier = start(
      `import os, socket\nos.read(5, 1)\ns = socket.create_connection(('127.0.0.1', 3128))\nos.write(1, b'on')\nos.read(5, 1)\nos.write(1, b'x' * 5000)\nos.write(5, b'frame')\ntry: end = s.recv(9)\nexcept ConnectionError: end = b''\nos.write(1, b'gone' if not end else end)`,
    )
    const { streams } = carrier
    const listener = streams.listen()
    listener.on('connection', (connection: Duplex) => connection.on('error', () => undefined))
    let said = ''
    const frames = once(streams.handle, 'data')
    const until = async (end: string) => {
      while (!said.endsWith(end)) await once(streams.streams.stdout, 'data')
    }
    streams.streams.stdout.on('data', (chunk: Buffer) => void (said += chunk.toString()))
    streams.handle.write('1')
    await until('on')
    // Credit given before the pause, so the runner may write while the carrier is paused.
    streams.handle.write('2')
    await streams.hold(60_000)
    const before = said
    await carrier.settled()
    assert.equal(said, before)
    carrier.socket.write(encodeFrame(11, Buffer.from([1])))
    await until('gone')
    assert.equal(said, `on${'x'.repeat(5000)}gone`)
    assert.equal(String((await frames)[0]), 'frame')
    // The server belongs to the machine that was cloned, and sends nothing more.
    carrier.socket.write(encodeFrame(6, ''))
    assert.equal(await carrier.ended, 0)
  })

  test('Without a listener on the server no port listens', async () => {
    await using carrier = start(
      `import os, socket\nos.read(5, 1)\ntry:\n  socket.create_connection(('127.0.0.1', 3128))\nexcept ConnectionRefusedError: os.write(1, b'refused')`,
    )
    const said = collect(carrier.streams.streams.stdout)
    carrier.streams.handle.write('1')
    assert.equal(String(await said), 'refused')
  })

  test('The runner has seven fds, no capability, and cannot signal or trace the carrier', async () => {
    await using carrier = start(
      `import os\nos.read(5, 1)\nfds = []\nfor n in range(64):\n  try: os.fstat(n); fds.append(n)\n  except OSError: pass\ntry: os.kill(os.getppid(), 9)\nexcept PermissionError: fds.append('eperm')\ntry: open(f'/proc/{os.getppid()}/mem')\nexcept PermissionError: fds.append('hidden')\nstatus = open('/proc/self/status').read()\nfds += [l.split()[1] for l in status.splitlines() if l.startswith(('CapEff', 'NoNewPrivs'))]\nos.write(1, repr([os.getuid(), os.getgroups(), fds]).encode())`,
    )
    const said = collect(carrier.streams.streams.stdout)
    carrier.streams.handle.write('1')
    assert.equal(
      String(await said),
      "[1000, [], [0, 1, 2, 3, 5, 7, 'eperm', 'hidden', '0000000000000000', '1']]",
    )
  })

  test('A listening carrier accepts another server after a connection without a byte, and none after the first byte', async () => {
    await using listening = await listen(
      `import os\nos.write(1, b'early')\nos.read(5, 1)\nos.write(1, b'said')\nos.read(5, 1)`,
    )
    const first = listening.connect()
    await once(first, 'connect')
    first.destroy()
    await once(first, 'close')
    const second = listening.connect()
    await once(second, 'connect')
    const streams = new GuestStreams(second, { garbled: () => undefined })
    await until(() => listening.isAccepting(), 'the carrier to start')
    const said = collect(streams.streams.stdout)
    streams.handle.write('1')
    await once(streams.streams.stdout, 'data')
    assert.ok(!listening.isAccepting(), 'it still has its listening socket')
    // The test has the socket, too, so that this one waits in its queue.
    const third = listening.connect()
    await once(third, 'connect')
    third.write(encodeFrame(77, ''))
    streams.handle.write('2')
    // Output of a spare before the first frame of a server is dropped.
    assert.match(String(await said), /^(early)?said$/)
    assert.equal(await listening.ended, 0)
  })

  test('A listening carrier exits with the code of its runner if that ends before any server connects', async () => {
    await using listening = await listen(`import os\nos._exit(7)`)
    assert.equal(await listening.ended, 7)
  })

  for (const [title, frame] of drawn(brokenFrames(), 'frames'))
    test(`Attack: ${title} ends the carrier, and its runner with it`, async () => {
      await using carrier = start(`import os\nos.read(5, 1)`)
      await carrier.ready
      carrier.socket.write(frame)
      const code = await carrier.ended
      assert.ok(code !== null && code >= 64 && code <= 67, `${code}`)
    })
})

function brokenFrames(): readonly (readonly [string, Buffer])[] {
  const number = (...values: number[]) => Buffer.from(new Uint32Array(values).buffer)
  return [
    ['a frame that is too long', Buffer.from([255, 255, 255, 127, 1])],
    ['an empty frame', Buffer.from([0, 0, 0, 0, 1])],
    ['an unknown kind', encodeFrame(77, number(0))],
    ['an unknown stream', encodeFrame(1, Buffer.concat([number(9), Buffer.from('x')]))],
    ['data for an output', encodeFrame(1, Buffer.concat([number(1), Buffer.from('x')]))],
    ['too much credit', encodeFrame(3, number(1, 0xffff_ffff))],
    ['a credit without a number', encodeFrame(3, number(1))],
    [
      'data while it is paused',
      Buffer.concat([
        encodeFrame(9, ''),
        encodeFrame(1, Buffer.concat([number(0), Buffer.from('x')])),
      ]),
    ],
    [
      'a resume of an unknown kind',
      Buffer.concat([encodeFrame(9, ''), encodeFrame(11, Buffer.from([2]))]),
    ],
    ['a resume without a pause', encodeFrame(11, Buffer.from([0]))],
    ['a reset of the runner', encodeFrame(4, number(0))],
    [
      'more than a window',
      Buffer.concat(
        Array.from({ length: 20 }, () =>
          encodeFrame(1, Buffer.concat([number(0), Buffer.alloc(32_768)])),
        ),
      ),
    ],
  ]
}

let sockets = 0

/** A carrier whose channel is a listening socket. */
async function listen(script: string) {
  const at = path.join(tmpdir(), `mayfly-carrier-${process.pid}-${++sockets}.sock`)
  // Closing it here, before a connection is accepted, removes its path.
  const server = createServer().listen(`${at}.new`)
  await once(server, 'listening')
  renameSync(`${at}.new`, at)
  const [command = '', ...args] = carrierCommand(script)
  const child = spawn(command, args, {
    env,
    stdio: ['ignore', 'ignore', 'ignore', descriptorOf(server as unknown as Socket), 'pipe'],
  })
  const link = `socket:[${fstatSync(descriptorOf(server as unknown as Socket)).ino}]`
  server.close()
  const carriers = () =>
    descendantsOf(child.pid!).filter((pid) => tryReadLink(`/proc/${pid}/exe`) === program)
  const ended = new Promise<number | null>((resolve) => void child.once('exit', resolve))
  const open: Socket[] = []
  return {
    ended,
    /** True while the carrier has the listening socket. */
    isAccepting() {
      const fds = carriers().flatMap((pid) =>
        readdirSync(`/proc/${pid}/fd`).map((fd) => tryReadLink(`/proc/${pid}/fd/${fd}`)),
      )
      return fds.includes(link)
    },
    connect() {
      const socket = connect(at)
      socket.on('error', () => undefined)
      open.push(socket)
      return socket
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      for (const socket of open) socket.destroy()
      await ended
      rmSync(at, { force: true })
    },
  }
}

const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' }

function carrierCommand(script: string): readonly string[] {
  assert.ok(!('missing' in found))
  const own = [
    'unshare',
    '--net',
    '--kill-child',
    '--',
    'sh',
    '-c',
    'ip link set lo up; exec "$@"',
    'sh',
  ]
  const runner = [
    '/usr/bin/python3',
    '-I',
    '-S',
    '-c',
    `import os\nos.write(4, b'R')\nos.close(4)\n${script}`,
  ]
  return [...own, found.file, '3', '4', '1000', '/', `${2 ** 30}`, '-', '--', ...runner]
}

/** Counts what a stream receives from now on, before its reader does. */
function bytesReceivedBy(stream: GuestStream): () => number {
  let count = 0
  const receive = stream.receive.bind(stream)
  stream.receive = (bytes) => {
    count += bytes.length
    receive(bytes)
  }
  return () => count
}

function start(script: string) {
  const [file = '', ...args] = carrierCommand(script)
  const child: SpawnedChild = spawnChild(findProgram(file)!, args, {
    env,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe'],
  })
  const socket = (child.stdio as unknown as Socket[])[3]!
  const streams = new GuestStreams(socket, {
    garbled: () => undefined,
  })
  return {
    streams,
    socket,
    ready: once((child.stdio as unknown as Socket[])[1]!, 'data'),
    ended: new Promise<number | null>((resolve) => void child.once('exit', resolve)),
    settled: () => isAsleep(child),
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      socket.destroy()
      await this.ended
    },
  }
}

/** Resolves once the runner has waited for its first byte in several samples in a row. */
async function isAsleep({ pid }: SpawnedChild): Promise<void> {
  const { readFileSync } = await import('node:fs')
  const below = (of: number) =>
    readFileSync(`/proc/${of}/task/${of}/children`, 'utf8').trim().split(' ').map(Number)
  for (let looks = 0; looks < 20;) {
    await new Promise((resolve) => void setTimeout(resolve, 5))
    const states = [pid!, ...below(pid!)].map(
      (one) => /\) (\w)/.exec(readFileSync(`/proc/${one}/stat`, 'utf8'))?.[1],
    )
    looks = states.every((state) => state === 'S') ? looks + 1 : 0
  }
}

async function collect(stream: Duplex, ends = true): Promise<Buffer> {
  stream.allowHalfOpen = !ends
  const parts: Buffer[] = []
  stream.on('data', (chunk: Buffer) => void parts.push(chunk))
  await once(stream, 'end')
  return Buffer.concat(parts)
}

const sha = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

function whyNot(): string | false {
  if ('missing' in found) return found.missing
  if (process.getuid?.() !== 0) return 'it changes its user, which only root may'
  for (const name of ['unshare', 'ip', 'python3'])
    if (!findProgram(name)) return `the program "${name}" is missing`
  return false
}
