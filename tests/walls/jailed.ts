import { spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { composeBubblewrap, seccompFd } from '../../src/jail/bubblewrap.ts'
import {
  composeEmbedded,
  narrowFilter,
  type JailCommand,
  type JailedProgram,
} from '../../src/jail/embedded.ts'
import { findJailFacts, type JailLayer } from '../../src/jail/facts.ts'
import { childrenOf, isAlive } from '../../src/os/proc.ts'
import { takeSlot } from '../../src/warden/slots.ts'

/** Options of a jail for a test: hidden features of this machine, one omitted layer. */
export interface JailWish {
  readonly hide?: readonly string[]
  readonly without?: readonly JailLayer[]
  /** Fd of the launcher, which replaces the system's programs. */
  readonly launcher?: number | undefined
  /** `none`: no jail at all, to prove that the targets are reachable. */
  readonly jailKind?: 'embedded' | 'bubblewrap' | 'none'
}

/** Resources that a probing program reached, under the first seccomp filter and under the second. */
export interface Report {
  readonly first: readonly string[]
  readonly second: readonly string[]
  /** System calls that the second filter let through to the kernel. */
  readonly probed: readonly string[]
}

const root = join(import.meta.dirname, '../..')
const program = join(import.meta.dirname, 'fixtures/reach.js')
const reportMsMax = 30_000

/** Starts a hostile program in a jail, as the warden would, and returns the targets that it reached and its leftovers. */
export async function reachFrom(wish: JailWish) {
  await using bait = await layOut()
  using slot = slotFor(wish)
  const command = composed(wish, bait.facts, slot.uid)
  const { file, args, filter, nested, layers } = command
  const stdio: ('ignore' | 'pipe' | number)[] = ['ignore', 'ignore', 'pipe', 'pipe', 'pipe']
  if (filter) stdio.push('pipe')
  if (command.launcherFd !== undefined) stdio[command.launcherFd] = wish.launcher!
  const child = spawn(file, args, { cwd: '/', env: {}, stdio })
  if (filter) (child.stdio as unknown as Socket[])[seccompFd]!.end(filter)
  try {
    const complaint = gathered(child.stderr as Readable)
    ;(child.stdio[4] as Readable).resume()
    const line = await lineFrom(child.stdio[3] as Socket, () => complaint.text)
    const inside = nested ? (childrenOf(child.pid!)[0] ?? child.pid!) : child.pid!
    child.kill('SIGKILL')
    await dead(inside)
    const report = JSON.parse(line) as Report
    return { ...report, layers, knocks: bait.knocks(), mark: bait.mark() }
  } finally {
    child.kill('SIGKILL')
  }
}

function composed(wish: JailWish, bait: object, uid: number | undefined): JailCommand {
  const facts = findJailFacts(wish.hide)
  const { without = [], jailKind } = wish
  const program = programFor(bait, jailKind !== 'none' && !without.includes('seccomp'))
  if (jailKind === 'none') return unjailed(program)
  const options = { uid, without, hasLauncher: wish.launcher !== undefined }
  const command =
    jailKind === 'bubblewrap'
      ? composeBubblewrap(program, facts, options)
      : composeEmbedded(program, facts, options)
  if (!command) throw new Error('Cannot make this jail here')
  return command
}

function unjailed({ main, env }: JailedProgram): JailCommand {
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`)
  const args = [...variables, process.execPath, '--disable-warning=ExperimentalWarning', main]
  return {
    jailKind: 'embedded',
    file: '/usr/bin/env',
    args,
    nested: false,
    layers: [],
    missing: [],
  }
}

function slotFor({ hide, jailKind }: JailWish) {
  const slot = jailKind !== 'none' && findJailFacts(hide).root ? takeSlot() : undefined
  return { uid: slot?.uid, [Symbol.dispose]: () => slot?.release() }
}

function programFor(facts: object, filtered: boolean): JailedProgram {
  const reach = JSON.stringify({ ...facts, seccomp: filtered ? narrowFilter() : null })
  return {
    name: 'reach',
    nodeFlags: [],
    main: program,
    env: { MAYFLY_REACH: reach },
    tree: ['tests/walls/fixtures', 'src/os', 'package.json'].map((place) => join(root, place)),
  }
}

/** Creates a target of each kind, open to every user, and counts the accesses to it. */
async function layOut() {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-reach-'))
  chmodSync(folder, 0o777)
  const [canary, socket] = [join(folder, 'canary'), join(folder, 'socket')]
  writeFileSync(canary, 'a canary', { mode: 0o666 })
  const abstract = `mayfly-reach-${process.pid}`
  let knocks = 0
  const listen = (where: { port?: number; host?: string; path?: string }) =>
    new Promise<Server>((resolve) => {
      const server = createServer((one) => {
        knocks++
        one.destroy()
      })
      server.listen(where, () => resolve(server))
    })
  const servers = [
    await listen({ port: 0, host: '127.0.0.1' }),
    await listen({ path: socket }),
    await listen({ path: `\0${abstract}` }),
  ]
  chmodSync(socket, 0o777)
  const udp = createSocket('udp4')
  udp.on('message', (_text, from) => {
    knocks++
    udp.send('heard', from.port, from.address)
  })
  await new Promise<void>((resolve) => void udp.bind(0, '127.0.0.1', resolve))
  return {
    facts: {
      canary,
      folder,
      socket,
      abstract,
      pid: process.pid,
      address: stackAddress(),
      port: (servers[0]!.address() as AddressInfo).port,
      udpPort: udp.address().port,
    },
    knocks: () => knocks,
    mark: () => existsSync(join(folder, 'mark')),
    async [Symbol.asyncDispose]() {
      for (const server of servers) server.close()
      udp.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** An address that can be read in this process. */
function stackAddress(): string {
  const line = readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .find((one) => one.includes('[stack]'))
  return `0x${line?.split('-')[0] ?? '0'}`
}

function gathered(stream: Readable): { text: string } {
  const said = { text: '' }
  stream.on('data', (chunk: Buffer) => void (said.text += chunk.toString().slice(0, 2000)))
  return said
}

function lineFrom(socket: Socket, complaint: () => string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const fail = (why: string) => reject(new Error(`${why}: ${complaint()}`))
    const timer = setTimeout(() => fail('the program printed nothing'), reportMsMax)
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      if (!text.includes('\n')) return
      clearTimeout(timer)
      resolve(text.slice(0, text.indexOf('\n')))
    })
    socket.on('end', () => fail('the program ended'))
  })
}

async function dead(pid: number): Promise<void> {
  for (let polls = 0; polls < 400 && isAlive(pid); polls++)
    await new Promise((resolve) => void setTimeout(resolve, 5))
  if (isAlive(pid)) throw new Error('It outlived what started it')
}
