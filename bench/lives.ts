/**
 * Timing of schedules: lives of three phases and an end, while busy loops occupy all cores. Reports how late each
 * phase and the end were, and how late the last process of the program was gone. This process runs at the priority
 * of a server.
 *
 *     node bench/lives.ts [--lives 100] [--provider bubblewrap] [--idle] [--json]
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import type { Server } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { systemClock } from '../src/contract/clock.ts'
import { noNetwork } from '../src/contract/controls.ts'
import { networkOf } from '../src/contract/network.ts'
import type { Profile } from '../src/contract/profile.ts'
import type { Provider } from '../src/contract/provider.ts'
import { jailKinds } from '../src/contract/jail-kind.ts'
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

const PHASES_MS = [150, 150, 150]
const programs = {
  js: { entry: 'body', code: 'for (;;) {}' },
  python: { entry: 'function', code: 'def main(input):\n  while True: pass' },
} as const

const { values: flags } = parseArgs({
  options: {
    lives: { type: 'string', default: '100' },
    provider: { type: 'string', default: 'bubblewrap' },
    idle: { type: 'boolean' },
    json: { type: 'boolean' },
  },
})
const lives = Math.min(100_000, Math.max(5, Number(flags.lives) || 100))
const state = mkdtempSync(path.join(os.tmpdir(), 'mayfly-bench-'))
const emitter = { emit() {} }
const { signal } = new AbortController()
const burners = flags.idle
  ? []
  : Array.from({ length: os.availableParallelism() }, () =>
      spawn(process.execPath, ['-e', 'for (;;) {}'], { stdio: 'ignore' }),
    )
// Started before this process raises its own priority, so that the load keeps normal priority.
raisePriority(niceOf.server)

try {
  const warden = await startWarden({ stateFolder: state })
  try {
    const provider = providerOf(flags.provider, warden)
    await provider.detect()
    const report = await measure(provider)
    console.log(JSON.stringify(report, undefined, flags.json ? 0 : 2))
    await provider.close?.()
  } finally {
    await warden.close()
  }
} finally {
  for (const burner of burners) burner.kill('SIGKILL')
  for (const place of [state, `${state}-warden`]) rmSync(place, { recursive: true, force: true })
}

async function measure(provider: Provider) {
  const late: Record<string, number[]> = { 'no-network': [], 'half-cpu': [], end: [], gone: [] }
  for (let n = 0; n < lives; n++) {
    const one = await live(provider)
    for (const [name, ms] of Object.entries(one)) late[name]!.push(ms)
  }
  const told = Object.fromEntries(Object.entries(late).map(([name, ms]) => [name, figures(ms)]))
  return { provider: provider.name, lives, busyCores: burners.length, lateMs: told }
}

async function live(provider: Provider): Promise<Readonly<Record<string, number>>> {
  const language = provider.tier === 'isolate' ? 'js' : 'python'
  const profile = phased(profileFor(provider, language, programs[language].entry))
  const task = { run: 'bench', language, files: [], capabilities: [], inputText: 'null' } as const
  const sandbox = await provider.launch(profile, systemClock)
  let released = 0
  const begun = { released: () => void (released = performance.now()) }
  const supervisor = supervise({
    sandbox: onRelease(sandbox, begun.released),
    profile,
    clock: systemClock,
    emitter,
    signal,
  })
  const io = { stdout() {}, stderr() {}, answered() {} }
  const { timeline, executionTime } = await supervisor.run({ ...task, ...programs[language] }, io)
  await supervisor[Symbol.asyncDispose]()
  await sandbox[Symbol.asyncDispose]()
  const gone = performance.now() - released
  const at = (phase: string) =>
    timeline.find((entry) => entry.event === 'tightened' && entry.phase === phase)?.at ?? Infinity
  const [first = 0, second = 0, third = 0] = PHASES_MS
  return {
    'no-network': at('no-network') - first,
    'half-cpu': at('half-cpu') - first - second,
    end: executionTime - first - second - third,
    gone: gone - first - second - third,
  }
}

/** Sandbox wrapper that reports when user code was released. */
function onRelease<T extends { run: Function }>(sandbox: T, then: () => void): T {
  return new Proxy(sandbox, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      if (name !== 'run') return value.bind(target) as unknown
      return (task: unknown, io: { released(): void }) =>
        target.run(task, { ...io, released: () => (then(), io.released()) })
    },
  })
}

function phased(profile: Profile): Profile {
  const network = networkOf({ allow: ['api.example.com'] })
  const full = { ...profile.controls, network }
  const closed = { ...full, network: noNetwork }
  const half = profile.tier === 'isolate' ? closed : { ...closed, cpu: 0.5 }
  const [first = 0, second = 0, third = 0] = PHASES_MS
  return {
    ...profile,
    controls: full,
    schedule: {
      ...profile.schedule,
      phases: [
        { name: 'full', for: first, controls: full },
        { name: 'no-network', for: second, controls: closed },
        { name: 'half-cpu', for: third, controls: half },
      ],
    },
  }
}

function providerOf(name: string, warden: WardenClient): Provider {
  const openEgressPath = async () => {
    let taken: Server | undefined
    return {
      trust: undefined,
      attempts: [],
      listen: (listener: Server) => void (taken = listener),
      fetch: () => Promise.resolve('{}'),
      tighten() {},
      close: () => void taken?.close(),
    }
  }
  const jailKind = jailKinds.find((one) => one === name)
  if (!jailKind)
    return createIsolateProvider({ warden, emitter, spares: 2, wallsMax: 4, openEgressPath })
  const stock = createSparePools(systemClock, emitter)
  const warm: Parameters<typeof createProcessProvider>[0]['warm'] = (kind) => stock.createPool(kind)
  return createProcessProvider({
    jailKind,
    warden,
    emitter,
    warm,
    least: 2,
    most: 2,
    openEgressPath,
  })
}
