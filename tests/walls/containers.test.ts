import assert from 'node:assert/strict'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type AddressInfo } from 'node:net'
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EnclosureSpec, EngineHost } from '../../src/contract/engine.ts'
import { openOwnProgram } from '../../src/jail/own-programs.ts'
import { isAlive, processFacts, readBootId } from '../../src/os/proc.ts'
import { ContainerApi } from '../../src/warden/engines/processes/containers/api.ts'
import { findSocket, socketHints } from '../../src/warden/engines/processes/containers/socket.ts'
import { ContainerStarter } from '../../src/warden/engines/processes/containers/start.ts'
import { makeContainers } from '../conformance/containers.ts'
import { inPython } from '../conformance/guests-of-programs.ts'
import { messageIn, Stand, until } from '../conformance/stand.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { openDocker, withoutDocker } from '../fixtures/docker.ts'
import { openPodman, withoutPodman, type PodmanAnswer } from '../fixtures/podman.ts'
import { openWhole, type WholeWall } from './whole-wall.ts'

/** Walls that are containers of rootless Podman, and of Docker as root, by their API sockets (S4-51). */
const userNamespace = ['container', 'user namespace', 'network namespace']
const kinds = {
  podman: {
    skip: withoutPodman(),
    layers: [...userNamespace, 'pid namespace', 'empty root', 'seccomp'],
    open: openOfPodman,
  },
  docker: {
    skip: withoutDocker(),
    layers: ['container', 'network namespace', 'pid namespace', 'empty root', 'own uid', 'seccomp'],
    open: openOfDocker,
  },
} as const

const all = ['ps', '--all', '--quiet', '--filter', 'label=mayfly.wall']

/** An engine of containers, started by this file. */
interface OpenedEngine extends AsyncDisposable {
  readonly variable: 'CONTAINER_HOST' | 'DOCKER_HOST'
  readonly socket: string
  /** Ids of the containers of walls, and names of images. */
  containers(): readonly string[]
  images(): readonly string[]
}

/** Lines of a command of an engine, which must not fail. */
function linesOf({ status, stdout, stderr }: PodmanAnswer): readonly string[] {
  assert.equal(status, 0, stderr)
  return stdout.trim().split('\n').filter(Boolean)
}

async function openOfPodman(): Promise<OpenedEngine> {
  const podman = openPodman()
  await podman.serve()
  const lines = (...args: string[]) => linesOf(podman.run(args))
  return {
    variable: 'CONTAINER_HOST',
    socket: podman.socket,
    containers: () => lines(...all),
    images: () => lines('images', '--format', '{{.Repository}}'),
    [Symbol.asyncDispose]: () => podman[Symbol.asyncDispose](),
  }
}

async function openOfDocker(): Promise<OpenedEngine> {
  const docker = await openDocker()
  const lines = (...args: string[]) => linesOf(docker.run(args))
  return {
    variable: 'DOCKER_HOST',
    socket: docker.socket,
    containers: () => lines(...all),
    images: () => lines('images', '--format', '{{.Repository}}'),
    [Symbol.asyncDispose]: () => docker[Symbol.asyncDispose](),
  }
}

const MiB = 2 ** 20

function pathOf(...asked: Parameters<typeof findSocket>): string | undefined {
  try {
    return findSocket(...asked).path
  } catch {
    return undefined
  }
}

test('The socket is that of the variable or of this user, and a missing one is an error with a hint', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-socket-'))
  const [server, ofUser] = [createServer(), createServer()]
  try {
    const place = join(folder, 'podman.sock')
    server.listen(place)
    await once(server, 'listening')
    const found = findSocket('podman', { CONTAINER_HOST: `unix://${place}` })
    assert.deepEqual(found, { path: place, uid: process.getuid?.() })
    assert.equal(findSocket('docker', { DOCKER_HOST: `unix://${place}` }).path, place)
    const usual = join(folder, 'podman', 'podman.sock')
    mkdirSync(join(folder, 'podman'))
    ofUser.listen(usual)
    await once(ofUser, 'listening')
    writeFileSync(join(folder, 'file'), '')
    // The search goes on at the usual path, at which this machine may have a socket of Docker.
    symlinkSync('loop', join(folder, 'loop'))
    const others = ['none', 'file', 'loop'].map((name) => `unix://${folder}/${name}`)
    for (const value of ['tcp://10.0.0.1:2375', ...others]) {
      const env = { CONTAINER_HOST: value, DOCKER_HOST: value, XDG_RUNTIME_DIR: folder }
      assert.equal(findSocket('podman', env).path, usual, value)
      assert.equal(pathOf('docker', env), pathOf('docker', {}), value)
    }
    for (const [name, message, hint] of [
      ['podman', /the API socket of Podman is missing/, /podman\.socket/],
      ['docker', /the API socket of Docker is missing/, /DOCKER_HOST/],
    ] as const)
      assert.throws(() => findSocket(name, {}, [name]), { code: 'UNAVAILABLE', message, hint })
  } finally {
    server.close()
    ofUser.close()
    rmSync(folder, { recursive: true })
  }
})

test('An engine that does not respond, or whose socket refuses, has the fix of its socket', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-socket-'))
  const silent = createServer()
  try {
    const place = join(folder, 'docker.sock')
    silent.listen(place)
    await once(silent, 'listening')
    for (const [path, message] of [
      [place, /^Cannot use the engine of containers: no response in 50 ms$/],
      [join(folder, 'none'), /^Cannot use the engine of containers: connect ENOENT/],
    ] as const)
      await assert.rejects(new ContainerApi(path, socketHints.docker).ping(50), {
        code: 'UNAVAILABLE',
        message,
        hint: /Start Docker, and let this user reach its socket/,
      })
  } finally {
    silent.close()
    rmSync(folder, { recursive: true })
  }
})

test('A sweep leaves the running containers of another pid namespace alone, whose wardens it cannot see', async (t) => {
  const connector = await openOwnProgram('connector')
  if ('missing' in connector) return t.skip(connector.missing)
  closeSync(connector.fd)
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-socket-'))
  const { startTime } = processFacts(process.pid)!
  const here = `${readBootId()}:${readlinkSync('/proc/self/ns/pid')}`
  const there = `${readBootId()}:pid:[1]`
  const containers = [
    ['other', `${process.pid}:1:${there}`, 'running'],
    ['other-ended', `${process.pid}:1:${there}`, 'exited'],
    ['without-namespace', `${process.pid}:1`, 'running'],
    ['without-namespace-ended', `${process.pid}:1`, 'exited'],
    ['own', `${process.pid}:${startTime}:${here}`, 'running'],
    ['own-dead', `${process.pid}:1:${here}`, 'running'],
  ].map(([Id, warden, State]) => ({ Id, State, Labels: { 'mayfly.warden': warden } }))
  const removed: string[] = []
  const engine = createHttpServer(({ method, url = '' }, answer) => {
    const [, name = ''] = /\/containers\/([^/?]+)\?/.exec(url) ?? []
    if (method === 'DELETE') removed.push(name)
    // Busy with a container at the first request for it.
    if (method === 'DELETE' && removed.filter((one) => one === name).length === 1)
      answer.statusCode = 409
    if (method === 'POST') answer.statusCode = 501
    answer.end(url.includes('/containers/json') ? JSON.stringify(containers) : '{}')
  })
  const { CONTAINER_HOST: before } = process.env
  try {
    const place = join(folder, 'podman.sock')
    engine.listen(place)
    await once(engine, 'listening')
    process.env['CONTAINER_HOST'] = `unix://${place}`
    const host: EngineHost = {
      lease: () => undefined,
      releaseLease: () => undefined,
      report: () => undefined,
      state: () => Promise.resolve(folder),
    }
    const starter = new ContainerStarter('podman', {}, host)
    const spec = { program: 'python', spares: 0 } as unknown as EnclosureSpec
    await assert.rejects(starter.start(spec), { code: 'UNAVAILABLE' })
    await starter.close()
    const swept = removed.filter((name) => !name.startsWith('mayfly-'))
    const twice = (name: string) => [name, name]
    assert.deepEqual(swept, ['other-ended', 'without-namespace-ended', 'own-dead'].flatMap(twice))
  } finally {
    if (before === undefined) delete process.env['CONTAINER_HOST']
    else process.env['CONTAINER_HOST'] = before
    engine.closeAllConnections()
    engine.close()
    rmSync(folder, { recursive: true })
  }
})

for (const name of ['podman', 'docker'] as const) {
  const { skip, layers, open } = kinds[name]
  suite(`S4-51: A container of ${name}`, { skip }, () => {
    let engine: OpenedEngine
    before(async () => {
      engine = await open()
      process.env[engine.variable] = `unix://${engine.socket}`
    })
    after(() => engine?.[Symbol.asyncDispose]())

    async function startOf(stand: Awaited<ReturnType<typeof openWhole>>): Promise<WholeWall> {
      const wall = await stand.start('python', name)
      await wall.claim({ processes: 20, memory: 256 * MiB })
      return wall
    }

    test('S4-51: runs a program with children, without network, capabilities or writable files, and leaves nothing', async () => {
      await using stand = await openWhole()
      const wall = await startOf(stand)
      assert.equal(engine.containers().length, 1)
      assert.deepEqual(wall.started.wall.layers.slice(0, 6), layers)
      wall.run(`
import os, socket, subprocess
def tried(act):
    try: return act()
    except OSError as error: return error.errno
print(subprocess.run(['sh', '-c', 'echo child'], capture_output=True, text=True).stdout.strip())
print(tried(lambda: socket.create_connection(('10.0.0.1', 80), 1)), [line.split(':')[0].strip() for line in open('/proc/net/dev') if ':' in line], os.listdir('/sys'))
print([line for line in open('/proc/self/status') if line[:3] == 'Cap' or line[:6] == 'NoNewP'])
print([tried(lambda: open(place + '/x', 'w')) for place in ('/', '/usr', '/etc', '/opt/mayfly', '/run/mayfly')])
print(tried(lambda: open('/work/own', 'w').write('x')), sorted(os.listdir('/run/mayfly')))
print(tried(lambda: os.kill(1, 9)), tried(lambda: os.listdir('/proc/1/fd')), os.path.exists('/root/.bashrc'), os.path.exists('/var/lib'))
print('ready', flush=True)`)
      const { exit } = await wall.end()
      assert.equal(exit.exitCode, 0, wall.said.stderr)
      const [child, network, rights, written, own, init] = wall.said.stdout.split('\n')
      assert.equal(child, 'child')
      assert.equal(network, "101 ['lo'] []")
      assert.deepEqual(
        [...rights!.matchAll(/(\w+):\\t(\w+)/g)].map(([, name, value]) => `${name} ${value}`),
        [
          ...['Inh', 'Prm', 'Eff', 'Bnd', 'Amb'].map((name) => `Cap${name} ${'0'.repeat(16)}`),
          'NoNewPrivs 1',
        ],
      )
      assert.match(written!, /^\[(?:(?:13|30), ){4}(?:13|30)\]$/)
      assert.match(own!, /^1 /)
      assert.match(init!, /^None 13 False False$/)
      await until(() => engine.containers().length === 0, 'its containers', thereMsMax)
    })

    test('S4-51: ends with all its processes by a kill, with its warden, and by the next sweep', async () => {
      const family = `
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print('ready', flush=True)
        time.sleep(1000)
    os._exit(0)
time.sleep(1000)`
      const folders: string[] = []
      for (const how of ['a kill', 'the end of its warden'] as const) {
        await using stand = await openWhole({ apart: true })
        const wall = await startOf(stand)
        folders.push(`/tmp/mayfly-${wall.id}`)
        assert.ok(existsSync(folders.at(-1)!))
        wall.run(family)
        await until(() => wall.said.stdout.includes('ready'), `ready: ${wall.said.stderr}`)
        // An orphan may be between its parents at a look.
        await until(() => wall.processes().length >= 3, 'its processes')
        const all = wall.processes().map((one) => one.split(' ').map(Number) as [number, number])
        const { pid } = await stand.warden.facts()
        if (how === 'a kill') await wall.kill()
        else process.kill(pid, 'SIGKILL')
        await until(() => !all.some(([one, began]) => isAlive(one, began)), `the end by ${how}`)
      }
      // Remains of a killed warden are removed by the first wall of the next.
      await using next = await openWhole()
      const wall = await startOf(next)
      await until(() => engine.containers().length === 1, 'its containers', thereMsMax)
      await until(() => !folders.some((one) => existsSync(one)), 'the removal of their folders')
      await wall.kill()
    })

    test('S4-51: has limits of memory and processes, and can be frozen', async () => {
      await using stand = await openWhole()
      const bomb = await startOf(stand)
      bomb.run(`b = []\nwhile True: b.append(bytearray(1 << 20))`)
      assert.equal((await bomb.end()).how, 'memory')
      const forks = await startOf(stand)
      forks.run(`
import os, time
n = 0
try:
    while n < 200:
        if os.fork() == 0: time.sleep(1000)
        n += 1
except OSError as error: print('bound', n, error.errno, flush=True)
time.sleep(1000)`)
      await until(() => forks.said.stdout.includes('bound'), 'its bound')
      const [, count] = /bound (\d+) 11/.exec(forks.said.stdout) ?? []
      assert.ok(Number(count) < 25, forks.said.stdout)
      assert.doesNotMatch(processFacts(forks.started.wall.pid)?.state ?? 't', /^[Tt]$/)
      await stand.warden.freeze(forks.id)
      assert.match(processFacts(forks.started.wall.pid)?.state ?? '', /^[Tt]$/)
      await stand.warden.thaw(forks.id)
      await forks.kill()
    })

    test('S4-51: fails with a full scratch folder as DISK, and otherwise with its own end', async () => {
      const fills = (at: string) => `f = open('${at}', 'wb', 0)
try:
    while True: f.write(bytes(1 << 20))`
      const failures = [
        [`${fills('/work/big')}\nfinally: pass`, 'limit', 'DISK'],
        [`import os\n${fills('/tmp/big')}\nexcept OSError: os._exit(3)`, 'limit', 'DISK'],
        [`${fills('/dev/shm/big')}\nexcept OSError: print('handled')`, 'ok', undefined],
        [`open('/work/big', 'wb').write(bytes(60 << 20))\n1 / 0`, 'error', 'USER_ERROR'],
        [
          `import errno\nraise OSError(errno.ENOSPC, 'No space left on device')`,
          'error',
          'USER_ERROR',
        ],
      ] as const
      const { provider, close } = await makeContainers({}, 'python', undefined, name)
      try {
        const stand = new Stand(provider, () => Promise.reject(new Error('no other')), inPython)
        for (const [code, status, error] of failures) {
          const { end } = await stand.run(code, { entry: 'program' })
          assert.deepEqual(
            [end.status, end.error?.code],
            [status, error],
            `${code}: ${messageIn(end)}`,
          )
        }
      } finally {
        await provider.close?.()
        await close()
      }
    })

    test('S4-51: reaches its egress path, and no image is pulled', async () => {
      await using server = createServer((socket) => void socket.destroy()).listen(0, '0.0.0.0')
      await once(server, 'listening')
      const { port } = server.address() as AddressInfo
      await using stand = await openWhole()
      const wall = await stand.start('python', name)
      await wall.claim({ processes: 20, egress: true })
      wall.claimed!.listener!.on('connection', (socket) => void socket.end('seen'))
      wall.run(`import socket
print(socket.create_connection(('127.0.0.1', 3128), 5).recv(9))
for place in (('127.0.0.1', ${port}), ('10.0.0.1', 80), ('10.0.2.2', ${port})):
    try: print(socket.create_connection(place, 2))
    except OSError: print('refused')`)
      await wall.end()
      assert.equal(wall.said.stdout, `b'seen'\n${'refused\n'.repeat(3)}`, wall.said.stderr)
      assert.deepEqual([...new Set(engine.images())], ['localhost/mayfly-empty'])
    })
  })
}

/** A container is removed by its engine, which takes seconds on a busy machine. */
const thereMsMax = 60_000
