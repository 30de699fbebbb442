/**
 * Latency of tightening: for each tier and control, the time from the order until a program first sees it; until it
 * is dead; and from a severe anomaly to the end or the next phase. A fresh sandbox each, interleaved, on an idle
 * machine and with every core busy. This process runs at the priority of a server.
 *
 *     node bench/tighten.ts [--rounds 40] [--provider bubblewrap] [--only kill] [--idle] [--json]
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { callClasses } from '../src/contract/calls.ts'
import { systemClock } from '../src/contract/clock.ts'
import { noNetwork, type Controls } from '../src/contract/controls.ts'
import { networkOf } from '../src/contract/network.ts'
import type { Profile } from '../src/contract/profile.ts'
import type { Provider, Sandbox, TaskIo } from '../src/contract/provider.ts'
import { jailKinds } from '../src/contract/jail-kind.ts'
import { makeAuthority } from '../src/egress/authority.ts'
import { openEgress } from '../src/egress/open-egress.ts'
import { figures } from '../src/lib/measure.ts'
import { createSparePools } from '../src/pool/spare-pools.ts'
import { startWarden } from '../src/sdk/start-warden.ts'
import { supervise } from '../src/lives/supervise.ts'
import { createIsolateProvider } from '../src/tiers/isolated-vm/provider.ts'
import { createProcessProvider } from '../src/tiers/process/provider.ts'
import type { WardenClient } from '../src/walls/client.ts'
import { raisePriority } from '../src/os/priority.ts'
import { niceOf } from '../src/warden/nice.ts'
import { profileFor } from './profile.ts'

const SAID_MS_MAX = 10_000
/** Warm-up: the pool's replacement is still starting at first. */
const LEAD_MS = 20
const SPREAD_MS = 200

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '40' },
    provider: { type: 'string', default: 'bubblewrap' },
    only: { type: 'string', default: '' },
    idle: { type: 'boolean' },
    json: { type: 'boolean' },
  },
})
const rounds = Math.min(10_000, Math.max(2, Number(flags.rounds) || 40))
const emitter = { emit() {} }
const { signal } = new AbortController()
const without = (...closed: readonly string[]) =>
  callClasses.filter((name) => !closed.includes(name))

/** Reports the first refused call, by a clock shared with this process. */
const tries = (before: string, attempt: string) => `
import os, socket, time
${before}
print('ready', flush=True)
while True:
    try:
        ${attempt}
    except OSError:
        print('refused', time.monotonic_ns(), flush=True)
        time.sleep(60)
`
/** Nonexistent program: ENOENT while permitted, refused afterwards. */
const execute = `try: os.execve('/nowhere', ['x'], {})
        except FileNotFoundError: pass`
const children = `for _ in range(8):
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)`
const fork = `pid = os.fork()
        if pid == 0: os._exit(0)
        os.waitpid(pid, 0)`
/** Open connection, which tightening must cut. */
const tunnel = (port: number) => `out = socket.create_connection(('127.0.0.1', 3128))
out.sendall(b'CONNECT out.example:${port} HTTP/1.1\\r\\nHost: out.example:${port}\\r\\n\\r\\n')
assert b' 200 ' in out.recv(4096)`
const pingPong = `out.sendall(b'.')
        if not out.recv(1): raise OSError('cut')`

const leadMs = () => LEAD_MS + Math.random() * SPREAD_MS

interface Contender {
  readonly code: string
  readonly granted?: Partial<Controls>
  readonly to: Partial<Controls>
}

function programs(port: number): Readonly<Record<string, Contender>> {
  const out = networkOf({ allow: [`out.example:${port}`] })
  return {
    'network, by its egress path': {
      code: tries(tunnel(port), pingPong),
      granted: { network: out },
      to: { network: noNetwork },
    },
    'network, by its sentinel': {
      code: tries('', 'socket.socket().close()'),
      to: { syscalls: without('network') },
    },
    exec: {
      code: tries('', execute),
      to: { syscalls: without('exec') },
    },
    write: {
      code: tries('', "open('/work/made', 'w').close()"),
      to: { syscalls: without('write') },
    },
    'new processes': { code: tries('', fork), to: { syscalls: without('process') } },
    'processes, to fewer': {
      code: tries(children, fork),
      to: { processes: 2 },
    },
  }
}

/** New sandbox for each flip. */
async function flip(provider: Provider, { code, granted, to }: Contender): Promise<number> {
  const profile = later(usualOf(provider, granted), to)
  await using sandbox = await provider.launch(profile, systemClock)
  const guest = begin(sandbox, { language: 'python', code })
  await guest.says(/ready/)
  await sleep(leadMs())
  const asked = process.hrtime.bigint()
  const { unenforced } = await sandbox.tighten({ ...profile.controls, ...to })
  if (unenforced.length > 0) throw new Error(`the wall cannot close ${unenforced.join(', ')}`)
  const [, at] = await guest.says(/refused (\d+)/)
  sandbox.kill({ status: 'cancelled' })
  await guest.end
  return Number(BigInt(at!) - asked) / 1e6
}

/** An isolate has no shared clock: uses the arrival time of its output. */
async function flipCapability(provider: Provider): Promise<number> {
  const usual = profileFor(provider, 'js', 'body')
  const profile = { ...usual, controls: { ...usual.controls, capabilities: ['tick'] } }
  await using sandbox = await provider.launch(profile, systemClock)
  const code = `for (let n = 0; ; n++) {
  try { await call('tick', n); if (n === 0) console.log('ready') } catch { console.log('refused'); break }
}`
  const guest = begin(sandbox, { language: 'js', code, capabilities: ['tick'] })
  await guest.says(/ready/)
  await sleep(leadMs())
  const asked = performance.now()
  await sandbox.tighten({ ...profile.controls, capabilities: [] })
  await guest.says(/refused/)
  const took = performance.now() - asked
  await guest.end
  return took
}

const spins = `
import os
for _ in range(8):
    if os.fork() == 0: break
print('ready', flush=True)
while True: pass
`

/** Waits until no process of the wall is left. */
async function kill(provider: Provider): Promise<number> {
  const profile = usualOf(provider)
  const sandbox = await provider.launch(profile, systemClock)
  const guest = begin(sandbox, { language: 'python', code: spins })
  await guest.says(/ready/)
  await sleep(leadMs())
  const asked = performance.now()
  sandbox.kill({ status: 'cancelled' })
  await sandbox[Symbol.asyncDispose]()
  const took = performance.now() - asked
  await guest.end
  return took
}

/** From an anomaly to the end of the program, or to the next phase as read back by the wall. */
async function react(provider: Provider, high: 'terminate' | 'advance'): Promise<number> {
  const usual = later(usualOf(provider), { syscalls: without('exec', 'network') })
  const { schedule } = usual
  const profile = {
    ...usual,
    schedule: { ...schedule, onAnomaly: { ...schedule.onAnomaly, high } },
  }
  const sandbox = await provider.launch(profile, systemClock)
  const turned = Promise.withResolvers<void>()
  const on = ({ event }: { readonly event: string }) =>
    event === 'tightened' ? turned.resolve() : undefined
  const supervisor = supervise({ sandbox, profile, clock: systemClock, emitter, signal, on })
  const { io, says } = listening()
  const task = taskOf({ language: 'python', code: spins })
  const end = supervisor.run(task, io)
  await says(/ready/)
  await sleep(leadMs())
  const asked = performance.now()
  const fields = { severity: 'high', reason: 'bench' }
  supervisor.notice({ point: 'anomaly/found', zone: 'main', fields })
  await (high === 'advance' ? turned.promise : end)
  const took = performance.now() - asked
  supervisor.terminate({ actor: 'bench', reason: 'over' })
  await end
  await supervisor[Symbol.asyncDispose]()
  await sandbox[Symbol.asyncDispose]()
  return took
}

interface Given {
  readonly language: 'js' | 'python'
  readonly code: string
  readonly capabilities?: readonly string[]
}

function taskOf({ language, code, capabilities = [] }: Given) {
  const entry = language === 'js' ? 'body' : 'program'
  return {
    run: 'bench',
    language,
    entry,
    code,
    capabilities,
    files: [],
    inputText: 'null',
  } as const
}

function begin(sandbox: Sandbox, given: Given) {
  const { io, says } = listening()
  return { end: sandbox.run(taskOf(given), io), says }
}

function listening() {
  let said = ''
  let look = () => undefined as void
  const io: TaskIo & { answered(): void } = {
    stdout(chunk) {
      said += Buffer.from(chunk).toString()
      look()
    },
    stderr: (chunk) => void (said += Buffer.from(chunk).toString()),
    released() {},
    answered() {},
    call: () => Promise.resolve('null'),
  }
  async function says(pattern: RegExp): Promise<RegExpExecArray> {
    const { promise, resolve, reject } = Promise.withResolvers<RegExpExecArray>()
    const late = setTimeout(() => reject(new Error(`it only said "${said}"`)), SAID_MS_MAX)
    look = () => {
      const found = pattern.exec(said)
      if (found) resolve(found)
    }
    look()
    return promise.finally(() => clearTimeout(late))
  }
  return { io, says }
}

function usualOf(provider: Provider, granted: Partial<Controls> = {}): Profile {
  const usual = profileFor(provider, 'python', 'program')
  return { ...usual, controls: { ...usual.controls, ...granted } }
}

/** The sentinel is asked only about classes that some phase closes. */
function later(profile: Profile, to: Partial<Controls>): Profile {
  const { controls, schedule, limits } = profile
  const half = Math.floor(limits.timeout / 2)
  const last = { name: 'later', for: half, controls: { ...controls, ...to } }
  const first = { name: 'full', for: half, controls }
  return { ...profile, schedule: { ...schedule, phases: [first, last] } }
}

async function measure(contenders: Readonly<Record<string, () => Promise<number>>>) {
  const took = new Map(Object.keys(contenders).map((name) => [name, [] as number[]]))
  for (let round = -1; round < rounds; round++)
    for (const [name, once] of Object.entries(contenders)) {
      const ms = await once()
      if (round >= 0) took.get(name)!.push(ms)
    }
  return Object.fromEntries([...took].map(([name, samples]) => [name, figures(samples)]))
}

/** Started before this process raises its priority, which they would inherit; SIGSTOPped until needed. */
function startBurners(): readonly ChildProcess[] {
  return Array.from({ length: os.availableParallelism() }, () => {
    const child = spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' })
    process.once('exit', () => child.kill('SIGKILL'))
    child.unref()
    child.kill('SIGSTOP')
    return child
  })
}

function processesOf(warden: WardenClient, port: number): Provider {
  const jailKind = jailKinds.find((one) => one === flags.provider)
  if (!jailKind) throw new RangeError(`Cannot find the provider "${flags.provider}"`)
  const stock = createSparePools(systemClock, emitter)
  const authority = makeAuthority(() => Date.now())
  const dial = {
    resolver: () => Promise.resolve(['127.0.0.1']),
    exceptions: [`127.0.0.1:${port}`],
  }
  return createProcessProvider({
    jailKind,
    warden,
    emitter,
    warm: (kind) => stock.createPool(kind),
    least: 1,
    most: 2,
    openEgressPath: async (controls, run) =>
      openEgress({ controls, run, emitter, authority, credentials: [], dial }),
  })
}

const burners = startBurners()
raisePriority(niceOf.server)
const state = mkdtempSync(path.join(os.tmpdir(), 'mayfly-bench-'))
const echo = createServer((socket) => socket.on('error', () => undefined).pipe(socket))
await new Promise<void>((resolve) => void echo.listen(0, '127.0.0.1', () => resolve()))
const { port } = echo.address() as AddressInfo
const warden = await startWarden({ stateFolder: state })
try {
  const isolate = createIsolateProvider({ warden, emitter, spares: 2, wallsMax: 2 })
  const process = processesOf(warden, port)
  const found = await process.detect()
  if (!found.available) throw new Error(found.reason)
  const isWatched = process.tightens.includes('syscalls')
  const flips = Object.entries(programs(port))
    .filter(([, { to }]) => isWatched || !('syscalls' in to))
    .map(([name, contender]) => [`process: ${name}`, () => flip(process, contender)] as const)
  const all = {
    'isolate: capability': () => flipCapability(isolate),
    ...Object.fromEntries(flips),
    'process: kill': () => kill(process),
    'severe anomaly to the end': () => react(process, 'terminate'),
    ...(isWatched && { 'severe anomaly to the next phase': () => react(process, 'advance') }),
  }
  const named = Object.entries(all).filter(([name]) => name.includes(flags.only))
  const contenders = Object.fromEntries(named)
  const idle = await measure(contenders)
  for (const burner of burners) burner.kill('SIGCONT')
  const busy = flags.idle ? undefined : await measure(contenders)
  const cores = os.availableParallelism()
  const report = { cores, provider: process.name, rounds, milliseconds: { idle, busy } }
  console.log(JSON.stringify(report, undefined, flags.json ? 0 : 2))
  await process.close?.()
  await isolate.close?.()
} finally {
  await warden.close()
  echo.close()
  for (const place of [state, `${state}-warden`]) rmSync(place, { recursive: true, force: true })
}
