import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { spawn } from 'node:child_process'
import {
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, suite, test } from 'node:test'
import type { HostMessageOf } from '../../src/agent-wire/encode.ts'
import type { Clone } from '../../src/warden/engines/qemu/clone.ts'
import type { Template } from '../../src/warden/engines/qemu/template.ts'
import { tryParseJson } from '../../src/lib/parse-json.ts'
import { tryReadText } from '../../src/os/read.ts'
import { runOf } from '../fixtures/guest-agent.ts'
import { claimed, cloneState, CloneStand } from './clone-stand.ts'

/**
 * Two clones of one template at a time, as root of each guest: bait in one and on the host, probes in the other. The
 * same probes find bait of their own guest, so that a probe that cannot find anything fails the test.
 */
const timeout = 300_000
const WAIT_MS_MAX = 60_000
const MiB = 2 ** 20
const found = await cloneState()
const skip = 'missing' in found ? found.missing : false
const stand = new CloneStand('missing' in found ? '' : found.state)
const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-neighbours-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const probes = readFileSync(new URL('fixtures/neighbour-probes.py', import.meta.url), 'utf8')
const bait = readFileSync(new URL('fixtures/neighbour-bait.py', import.meta.url), 'utf8')

/** Probes that find bait of their own guest. */
const findable = [
  'TCP to a listener on loopback',
  'abstract Unix socket',
  'Unix socket in a folder',
  'shared memory segment',
  'process',
  'file',
]
/** Probes of what a guest has no way to, whether or not something is there. */
const wayless = {
  'TCP to the address of a host or of a neighbour': 'ENETUNREACH',
  'metadata service over IPv4': 'ENETUNREACH',
  'metadata service over IPv6': 'ENETUNREACH',
  'DNS over UDP': 'ENETUNREACH',
  'frames to every neighbour of an interface': 'ENODEV',
  'vsock to the host': 'EAFNOSUPPORT',
  'vsock to a neighbour': 'EAFNOSUPPORT',
}
const PROBES = 15

suite('A clone beside another', { skip, timeout }, () => {
  let template: Template
  before(async () => {
    template = await stand.template('python')
  })
  after(() => stand.clear())

  test('S1-29: fifteen probes reach neither its neighbour, nor the host, nor a metadata service', async () => {
    const canary = randomBytes(16).toString('hex')
    const at = path.join('/tmp', `bait-${canary}`)
    await using host = await listenOnHost(canary)
    const [neighbour, prober] = [await stand.clone(template), await stand.clone(template)]
    await Promise.all([claimed(neighbour), claimed(prober)])
    await layOut(neighbour, [canary, `${host.port}`, canary, at])
    const addresses = ['10.0.2.2', '10.0.2.15']
    for (const address of addresses)
      for (const place of [at, host.path]) {
        const seen = await probe(prober, [canary, `${host.port}`, canary, place, address])
        assert.equal(Object.keys(seen).length, PROBES)
        assert.deepEqual(reachedIn(seen), [], JSON.stringify(seen))
        assert.deepEqual({ ...seen, ...wayless }, seen)
      }
    assert.equal(host.connections(), 0)
  })

  test('Control: the same probes find bait in their own guest', async () => {
    const canary = randomBytes(16).toString('hex')
    const clone = await stand.clone(template)
    await claimed(clone)
    const asked = [canary, '4711', canary, `/tmp/bait-${canary}`]
    await layOut(clone, asked)
    const seen = await probe(clone, [...asked, '127.0.0.1'])
    assert.equal(Object.keys(seen).length, PROBES)
    const missed = findable.filter((name) => seen[name] !== 'reached')
    assert.deepEqual(missed, [], JSON.stringify(seen))
  })

  test('S1-27: a clone that writes 8 MiB, and one that writes nothing, take less than 1 MiB of disk each, beside the memory file of their template', async () => {
    const [writer, idle] = [await stand.clone(template), await stand.clone(template)]
    await Promise.all([claimed(writer), claimed(idle)])
    const script = 'head -c 8388608 /dev/urandom > /tmp/a && echo done'
    assert.equal(await outputOf(writer, { args: ['sh', '-c', script] }), 'done\n')
    for (const { machine } of [writer, idle]) {
      assert.ok(machine.processes.length > 0)
      const open = machine.processes.flatMap(({ pid }) => openForWriting(pid))
      const bytes = bytesOnDisk(machine.folder) + open.reduce((sum, one) => sum + one, 0)
      assert.ok(bytes < MiB, `${bytes} bytes`)
    }
    assert.ok(statSync(template.memory.path).size >= 256 * MiB)
  })
})

function reachedIn(seen: Readonly<Record<string, unknown>>): readonly string[] {
  return Object.keys(seen).filter((name) => seen[name] === 'reached')
}

/**
 * Bait of this machine: listeners on loopback, under an abstract name and in a folder, whose connections are counted; a file
 * beside that socket, and a process with the name in its command line.
 */
async function listenOnHost(abstract: string) {
  let connections = 0
  const servers: Server[] = []
  const listen = async (where: object) => {
    const server = createServer((socket) => {
      connections++
      socket.destroy()
    })
    servers.push(server)
    server.listen(where)
    await once(server, 'listening')
    return server
  }
  const tcp = await listen({ host: '127.0.0.1', port: 0 })
  const socket = path.join(folder, 'socket')
  await listen({ path: `\0${abstract}` })
  await listen({ path: socket })
  writeFileSync(`${socket}.txt`, abstract)
  const holder = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)', abstract], {
    stdio: 'ignore',
  })
  return {
    port: (tcp.address() as AddressInfo).port,
    path: socket,
    connections: () => connections,
    async [Symbol.asyncDispose]() {
      for (const server of servers) server.close()
      holder.kill()
    },
  }
}

const python = { file: '/usr/bin/python3' } as const

/** Starts the bait of a guest, and waits until it is all there. */
async function layOut(clone: Clone, asked: readonly string[]): Promise<void> {
  start(clone, { ...python, args: ['python3', '-c', bait, ...asked] })
  const { bytes } = await clone.agent.take('output', WAIT_MS_MAX)
  assert.equal(String(bytes), 'ready\n')
}

/** Runs the probes as root of a guest; resolves to `reached` or the name of an error by probe. */
async function probe(clone: Clone, asked: readonly string[]): Promise<Record<string, unknown>> {
  const text = await outputOf(clone, { ...python, args: ['python3', '-c', probes, ...asked] })
  const seen = tryParseJson(text)
  assert.ok(seen !== null && typeof seen === 'object', text)
  return seen as Record<string, unknown>
}

let programs = 0

function start({ agent }: Clone, more: Partial<HostMessageOf<'run'>>): number {
  const program = ++programs
  agent.send({ ...runOf(program, ''), streams: ['stdout'], stderrCredit: 0, ...more })
  return program
}

async function outputOf(clone: Clone, more: Partial<HostMessageOf<'run'>>): Promise<string> {
  const own = start(clone, more)
  const said: Buffer[] = []
  for (;;) {
    const next = await clone.agent.take(['output', 'ended', 'refused'], WAIT_MS_MAX, (message) =>
      'program' in message ? message.program === own : true,
    )
    if (next.kind !== 'output') break
    said.push(next.bytes)
  }
  return Buffer.concat(said).toString()
}

/** Space that the files take which a process may write, also those without a name, in bytes. */
function openForWriting(pid: number): readonly number[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    const info = tryReadText(`/proc/${pid}/fdinfo/${fd}`) ?? ''
    const [, flags = '0'] = /^flags:\s+(\d+)$/m.exec(info) ?? []
    const file = statSync(`/proc/${pid}/fd/${fd}`, { throwIfNoEntry: false })
    return file?.isFile() && Number.parseInt(flags, 8) & 3 ? [file.blocks * 512] : []
  })
}

/** Space that the files of a folder take, in bytes. */
function bytesOnDisk(root: string): number {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .map((name) => lstatSync(path.join(root, name)).blocks * 512)
    .reduce((sum, bytes) => sum + bytes, 0)
}
