import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, copyFileSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { HostMessageOf } from '../../src/agent-wire/encode.ts'
import { isAlive } from '../../src/os/proc.ts'
import { descriptorOf } from '../../src/os/spawned-child.ts'
import {
  AgentHost,
  agentCommand,
  agentSkip,
  agentUsers,
  openAgent,
  runOf,
} from '../fixtures/guest-agent.ts'

/** An agent whose channel is a listening socket, as in a machine whose snapshot closes every connection. */
const program = await openAgent()
const skip = 'missing' in program ? program.missing : agentSkip()
const folder = mkdtempSync(join(tmpdir(), 'mayfly-hosts-'))
const file = join(folder, 'agent')
chmodSync(folder, 0o755)
if (!('missing' in program)) copyFileSync(program.file, file)
after(() => rmSync(folder, { recursive: true, force: true }))

const claim: HostMessageOf<'claim'> = {
  kind: 'claim',
  id: 'job-1',
  seed: Buffer.alloc(32, 7),
  timeNs: 1_900_000_000_000_000_000n,
  limits: {},
  memory: undefined,
  hostname: 'clone-1',
  labels: {},
}
let sockets = 0

/** The agent, and the socket at which it listens. */
class ListeningAgent implements AsyncDisposable {
  readonly ended: Promise<number | string | null>
  readonly pid: number
  readonly #child: ChildProcess
  readonly #at: string
  readonly #hosts: AgentHost[] = []

  private constructor(at: string, server: Server) {
    this.#at = at
    const [command = '', ...args] = agentCommand(agentUsers[0]!, [file, '3'])
    const child = spawn(command, args, {
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
      stdio: ['ignore', 'ignore', 'inherit', descriptorOf(server as unknown as Socket)],
    })
    this.#child = child
    this.pid = child.pid!
    this.ended = once(child, 'close').then(([code, signal]) => (code ?? signal) as string)
  }

  static async start(): Promise<ListeningAgent> {
    const at = join(folder, `agent-${++sockets}.sock`)
    // Closing it here, before a connection is accepted, removes its path.
    const server = createServer().listen(`${at}.new`)
    await once(server, 'listening')
    chmodSync(`${at}.new`, 0o777)
    renameSync(`${at}.new`, at)
    const agent = new ListeningAgent(at, server)
    server.close()
    return agent
  }

  /** Connects a host; it gets a hello once no other host is connected. */
  host(): AgentHost {
    const host = new AgentHost(connect(this.#at))
    this.#hosts.push(host)
    return host
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { socket } of this.#hosts) socket.destroy()
    this.#child.kill('SIGKILL')
    await this.ended
  }
}

suite('An agent that listens for its host', { skip, timeout: 120_000 }, () => {
  test('Each host gets a hello, and the programs of the last host still run', async () => {
    await using agent = await ListeningAgent.start()
    const first = agent.host()
    await first.find('hello')
    const id = await first.run('echo one; sleep 1000')
    await first.until(() => first.written(id) === 'one\n', 'output')
    const { pid } = await first.find('started')
    first.socket.destroy()
    const second = agent.host()
    second.isWatched = false
    await second.find('hello')
    second.send({ kind: 'status', nonce: 1 })
    const { processes } = await second.find('statused')
    assert.ok(processes.some((one) => one.pid === pid))
  })

  test('A second host gets its hello once the first has disconnected', async () => {
    await using agent = await ListeningAgent.start()
    const first = agent.host()
    await first.find('hello')
    const second = agent.host()
    await once(second.socket, 'connect')
    assert.equal(await first.outputOf('echo heard'), 'heard\n')
    assert.equal(second.socket.bytesRead, 0)
    first.socket.destroy()
    await second.find('hello')
  })

  test('The next host gets the exit of a program that ended without a host, and half a frame is dropped', async () => {
    await using agent = await ListeningAgent.start()
    const first = agent.host()
    const id = await first.run('sleep 0.3; exit 7')
    await first.find('started')
    first.socket.write(Buffer.from([9, 0, 0, 0, 10, 1]))
    first.socket.end()
    await once(first.socket, 'close')
    await sleep(600)
    const second = agent.host()
    second.isWatched = false
    const { end } = await second.find('exited', (one) => one.program === id)
    assert.deepEqual(end, { exitCode: 7 })
    assert.equal(second.messages[0]?.kind, 'hello')
  })

  test('A claimed agent accepts no other host, and ends when its host disconnects', async () => {
    await using agent = await ListeningAgent.start()
    const first = agent.host()
    await first.find('hello')
    const early = agent.host()
    await once(early.socket, 'connect')
    first.send(claim)
    await first.find('claimed')
    const late = agent.host()
    await once(late.socket, 'connect')
    const others = [early, late]
    const closed = others.map(
      ({ socket }) => new Promise((done) => void socket.once('close', done)),
    )
    await first.run('sleep 1000')
    await first.find('started')
    first.socket.destroy()
    assert.equal(await agent.ended, 0)
    await Promise.all(closed)
    assert.deepEqual(
      others.map(({ socket }) => socket.bytesRead),
      [0, 0],
    )
  })

  test('Attack: an invalid frame ends the agent', async () => {
    await using agent = await ListeningAgent.start()
    const host = agent.host()
    host.isWatched = false
    await host.find('hello')
    host.socket.write(Buffer.alloc(64, 0xff))
    await host.find('lost')
    assert.notEqual(await agent.ended, 0)
    assert.equal(isAlive(agent.pid), false)
  })

  test('A new host can start a program beside the old ones', async () => {
    await using agent = await ListeningAgent.start()
    const first = agent.host()
    await first.run('sleep 1000')
    await first.find('started')
    first.socket.destroy()
    const second = agent.host()
    second.isWatched = false
    await second.find('hello')
    second.send(runOf(2, 'echo beside'))
    await second.until(() => second.written(2) === 'beside\n', 'output')
  })
})
