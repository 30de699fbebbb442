import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket, type RawData } from 'ws'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { copyMachineState } from '../fixtures/machine-images.ts'
import { unable } from '../walls/process-stands.ts'
import { isQemuThere, noQemu } from '../walls/qemu-here.ts'
import { isUserKernelThere, noUserKernel } from '../walls/user-kernel-here.ts'
import {
  bin,
  makeKey,
  makePlace,
  documentOf,
  mayfly,
  startServer,
  whenReady,
  type Place,
  type Server,
} from './program.ts'

const WAIT_MS_MAX = 30_000

/** Client of a terminal: records its messages, and how it was closed. */
class Client {
  readonly socket: WebSocket
  readonly told: any[] = []
  readonly closed: Promise<number>
  shown = ''

  constructor(url: URL, key: string | null, headers: Record<string, string> = {}) {
    const own = key === null ? {} : { authorization: `Bearer ${key}` }
    this.socket = new WebSocket(url, { headers: { ...own, ...headers } })
    this.closed = new Promise((resolve) => this.socket.once('close', resolve))
    this.socket.on('error', () => undefined)
    this.socket.on('message', (data: RawData, isBinary: boolean) => {
      if (isBinary) this.shown += (data as Buffer).toString()
      else this.told.push(JSON.parse((data as Buffer).toString()))
    })
  }

  /** 101, or the status of the refusal with its code. */
  get answered(): Promise<readonly [number, string?]> {
    return new Promise((resolve) => {
      this.socket.once('open', () => resolve([101]))
      this.socket.once('unexpected-response', (_, response) => {
        let text = ''
        response.on('data', (chunk: Buffer) => (text += chunk.toString()))
        response.once('end', () => resolve([response.statusCode!, JSON.parse(text).code]))
      })
    })
  }

  async shows(pattern: RegExp): Promise<void> {
    const late = Date.now() + WAIT_MS_MAX
    while (!pattern.test(this.shown)) {
      assert.ok(Date.now() < late, `${pattern} did not arrive, but ${JSON.stringify(this.shown)}`)
      await sleep(10)
    }
  }
}

suite('Terminals of a server', { skip: unable('python') }, () => {
  let place: Place
  let server: Server
  let keyOf: Readonly<Record<'run' | 'other' | 'foreign', string>>
  let id: string
  before(async () => {
    place = makePlace()
    server = await startServer(place)
    const made = (tenant: string) => makeKey(place, tenant)
    keyOf = { run: made('default'), other: made('default'), foreign: made('strange') }
    await whenReady(server)
    id = (await ask('POST', '/v1/sandboxes', { language: 'python' })).id
  })
  after(async () => {
    await server.stop()
    place.remove()
  })

  async function ask(method: string, path: string, body?: object): Promise<any> {
    const response = await fetch(new URL(path, server.active), {
      method,
      headers: { authorization: `Bearer ${keyOf.run}`, 'content-type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
    })
    return await response.json()
  }

  function open(query = '', key: string | null = keyOf.run, headers = {}): Client {
    const url = new URL(`/v1/sandboxes/${id}/pty${query}`, server.active)
    url.protocol = 'ws:'
    return new Client(url, key, headers)
  }

  test('input, output, sizes and signals are passed on, and the exit is sent before the close', async () => {
    const client = open('?cols=90&rows=20')
    assert.deepEqual(await client.answered, [101])
    client.socket.send(Buffer.from('stty size; echo "[$PAGER$GIT_EDITOR]"\r'))
    await client.shows(/20 90\r\n\[\]/)
    client.socket.send(JSON.stringify({ resize: { cols: 50, rows: 10 } }))
    // Printed by the job itself, so it is in the foreground by then.
    client.socket.send(Buffer.from('stty size; sh -c "echo begun; exec sleep 1000"\r'))
    await client.shows(/10 50\r\nbegun\r\n/)
    client.socket.send(JSON.stringify({ signal: 'SIGINT' }))
    client.socket.send(Buffer.from('exit 5\r'))
    assert.equal(await client.closed, 1000)
    assert.deepEqual(client.told, [{ exit: { code: 5, signal: null } }])
    const { items } = await ask('GET', '/v1/executions?limit=1')
    const outcome = await ask('GET', `/v1/executions/${items[0].id}`)
    assert.deepEqual([outcome.exitCode, outcome.session.id], [5, id])
    assert.equal(outcome.metrics.terminal.sent, client.shown.length)
  })

  test('other keys get 404, a page of another origin is refused, and the key may be the first message', async () => {
    assert.deepEqual(await open('', keyOf.other).answered, [404, 'NOT_FOUND'])
    assert.deepEqual(await open('', keyOf.foreign).answered, [404, 'NOT_FOUND'])
    assert.deepEqual(await open('', 'mfy_wrong').answered, [401, 'UNAUTHENTICATED'])
    const page = { origin: 'http://elsewhere.test' }
    assert.deepEqual(await open('', keyOf.run, page).answered, [403, 'FORBIDDEN'])
    assert.deepEqual(await open('?cols=1001').answered, [422, 'INVALID'])
    const admin = open('?command=true', server.apiKey)
    assert.deepEqual(await admin.answered, [101], 'an admin of the tenant')
    assert.equal(await admin.closed, 1000)
    const late = open('?command=tty', null)
    assert.deepEqual(await late.answered, [101])
    late.socket.send(JSON.stringify({ token: keyOf.run }))
    assert.equal(await late.closed, 1000)
    assert.match(late.shown, /\/dev\/pts/)
    const wrong = open('', null)
    await wrong.answered
    wrong.socket.send(JSON.stringify({ token: keyOf.foreign }))
    assert.equal(await wrong.closed, 4404)
    assert.equal(wrong.told[0].problem.code, 'NOT_FOUND')
  })

  test('a terminal ends after its key was revoked, given in a header or in the first message', async () => {
    const options = ['--scope', 'admin', '--name', 'short-lived', '--json']
    const { key } = documentOf(await mayfly(place, ['access', 'create', ...options]))
    const command = `?command=${encodeURIComponent('echo begun; sleep 1000')}`
    const [byHeader, byMessage, kept] = [open(command, key), open(command, null), open(command)]
    await Promise.all([byHeader.answered, byMessage.answered, kept.answered])
    byMessage.socket.send(JSON.stringify({ token: key }))
    for (const one of [byHeader, byMessage, kept]) await one.shows(/begun/)
    await mayfly(place, ['access', 'revoke', 'short-lived'])
    assert.deepEqual([await byHeader.closed, await byMessage.closed], [1000, 1000])
    // Longer than the interval in which its own key is looked up again.
    assert.equal(await Promise.race([kept.closed, sleep(6_000, 'open')]), 'open')
    kept.socket.terminate()
  })

  test('an invalid control message closes with 1008, and too large a one with 1009', async () => {
    const cases = [
      ['{"resize": {"cols": 0, "rows": 10}}', 1008],
      ['{"signal": "SIGSTOP"}', 1008],
      ['no JSON', 1008],
      [`{"signal": "${'x'.repeat(5000)}"}`, 1009],
      [Buffer.alloc(70_000), 1009],
    ] as const
    for (const [message, code] of cases) {
      const client = open('?command=sleep&command=1000')
      await client.answered
      client.socket.send(message)
      assert.equal(await client.closed, code, String(message).slice(0, 40))
    }
  })

  test('unread output of a flood does not grow the server, and the flood ends with the client', async () => {
    const client = open('?command=cat&command=/dev/urandom')
    await client.answered
    client.socket.pause()
    await sleep(500)
    const before = await residentMiB(server.pid)
    await sleep(1500)
    const grown = (await residentMiB(server.pid)) - before
    assert.ok(grown < 64, `${grown} MiB more`)
    client.socket.terminate()
    for (let tries = 0; ; tries++) {
      const { items } = await ask('GET', '/v1/executions?limit=1')
      const { status } = await ask('GET', `/v1/executions/${items[0].id}`)
      if (status === 'cancelled') break
      assert.ok(tries < 100, status)
      await sleep(100)
    }
  })

  test('mayfly sandbox exec -t gives a terminal its size and keys, and exits as its program did', async () => {
    const env = { MAYFLY_SERVER: server.active, MAYFLY_API_KEY: keyOf.run }
    const none = await mayfly(place, ['sandbox', 'exec', '-t', id], { env })
    assert.equal(none.code, 2)
    assert.match(none.stderr, /stdin and stdout must be a terminal[^]*-- COMMAND/)
    const shown = await typed(['sandbox', 'exec', '-t', id, '--', 'bash', '--norc'], env)
    assert.match(shown, /33 77[^]*code-130[^]*44 88[^]*exited 6/)
  })

  /** Runs the program on a terminal of this machine, which Python makes. */
  async function typed(args: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
    return await typedAt(place, args, env)
  }
})

const tiers = [
  { tier: 'microvm', missing: isQemuThere() ? false : noQemu },
  { tier: 'userkernel', missing: isUserKernelThere() ? false : noUserKernel },
] as const

for (const { tier, missing } of tiers)
  suite(
    `Terminals of a server, in a wall of the tier ${tier}`,
    { skip: missing || unable('python') },
    () => {
      let place: Place
      let server: Server
      let noImages: string | undefined
      before(async () => {
        place = makePlace()
        noImages = await copyMachineState(place.state)
        server = await startServer(place)
        await whenReady(server)
      })
      after(async () => {
        await server.stop()
        place.remove()
      })

      test(`a terminal behind ${tier} works over HTTP and by mayfly sandbox exec -t: size, resize, Ctrl-C, exit code`, async (t) => {
        if (noImages !== undefined) return t.skip(noImages)
        const headers = {
          authorization: `Bearer ${server.apiKey}`,
          'content-type': 'application/json',
        }
        const body = JSON.stringify({ language: 'python', tier })
        const response = await fetch(new URL('/v1/sandboxes', server.active), {
          method: 'POST',
          headers,
          body,
        })
        const { id, tier: got } = (await response.json()) as {
          readonly id: string
          readonly tier: string
        }
        assert.equal(got, tier)
        const url = new URL(`/v1/sandboxes/${id}/pty?cols=90&rows=20`, server.active)
        url.protocol = 'ws:'
        const client = new Client(url, server.apiKey)
        assert.deepEqual(await client.answered, [101])
        client.socket.send(Buffer.from('stty size; uname -n; exit 5\r'))
        await client.shows(/20 90/)
        assert.equal(await client.closed, 1000)
        assert.deepEqual(client.told, [{ exit: { code: 5, signal: null } }])
        const env = { MAYFLY_SERVER: server.active, MAYFLY_API_KEY: server.apiKey }
        const shown = await typedAt(place, ['sandbox', 'exec', '-t', id, '--', 'sh'], env)
        assert.match(shown, /33 77[^]*code-130[^]*44 88[^]*exited 6/)
      })
    },
  )

/** Runs the program on a terminal of this machine, which Python makes. */
async function typedAt(
  place: Place,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<string> {
  const command = [process.execPath, bin, ...args]
  const own = args.includes('--') ? command : [...command, '--state', place.state]
  const child = spawn('/usr/bin/python3', ['-c', onTerminal, ...own], {
    env: { ...process.env, ...env, TERM: 'xterm' },
    cwd: place.cwd,
  })
  let text = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (text += chunk.toString()))
  await new Promise((resolve) => child.once('close', resolve))
  return text
}

const onTerminal = `
import fcntl, os, pty, re, select, signal, struct, sys, termios, time
def size(fd, rows, cols): fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', rows, cols, 0, 0))
pid, fd = pty.fork()
if pid == 0:
    size(0, 33, 77)
    os.execv(sys.argv[1], sys.argv[1:])
shown = b''
# BusyBox requests the cursor position.
prompt = rb'[$#] (?:\\x1b\\[6n)?$'
def until(pattern):
    global shown
    late = time.time() + 30
    while not re.search(pattern, shown):
        if time.time() > late: print('LATE', pattern, shown); os.kill(pid, 9); sys.exit(1)
        if select.select([fd], [], [], 0.1)[0]:
            try: got = os.read(fd, 4096)
            except OSError: got = b''
            if not got: break
            shown += got
            sys.stdout.buffer.write(got); sys.stdout.flush()
    shown = b''
def type(keys, pattern): os.write(fd, keys); until(pattern)
until(prompt)
type(b'stty size\\r', rb'33 77')
type(b'sleep 1000; echo late\\r', rb'late\\r')
time.sleep(0.3)
type(b'\\x03', prompt)
type(b'echo code-$?\\r', rb'code-130')
size(fd, 44, 88)
time.sleep(0.3)
type(b'stty size\\r', rb'44 88')
os.write(fd, b'exit 6\\r')
until(rb'never')
print('exited', os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`

async function residentMiB(pid: number): Promise<number> {
  const { readFileSync } = await import('node:fs')
  const [, kib = '0'] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kib) / 1024
}
