import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../contract/clock.ts'
import { unlimited } from '../../contract/controls.ts'
import { messageOf } from '../../contract/error.ts'
import type { Entry, Language } from '../../contract/job.ts'
import type { Profile } from '../../contract/profile.ts'
import type { Provider, Sandbox } from '../../contract/provider.ts'
import { strengthOf } from '../../contract/tier.ts'
import { ownProfile } from '../own-profile.ts'
import type { Bait, GuestEnd, GuestRun, WallTrial } from './wall-trial.ts'
import { moduleTrials } from './wasm-trials.ts'
import { inNode } from './node-attempts.ts'
import { programTrials } from './program-trials.ts'
import { inPython } from './python-attempts.ts'

/** Result of trying one wall. */
export interface WallTrialResult {
  readonly wall: string
  readonly held: boolean
  readonly how: string
  /** Mechanism that held, where it differs between machines: `cgroup`, `watch` … */
  readonly by?: string
}

/**
 * Tries each wall of a provider with hostile code; an exception counts as not held. The bait is in the first
 * writable folder of `folders`. Ends early after a result for which `isLast` is true: the later guests do more harm where
 * nothing holds them.
 */
export async function tryWalls(
  provider: Provider,
  folders: readonly string[] = [tmpdir()],
  isLast: (result: WallTrialResult) => boolean = () => false,
): Promise<readonly WallTrialResult[]> {
  const suites = provider.tier === 'mock' ? [] : suitesFor(provider)
  const found: WallTrialResult[] = []
  for (const suite of suites)
    for await (const result of trySuite(provider, suite, folders)) {
      found.push(result)
      if (isLast(result)) return found
    }
  return found
}

async function* trySuite(
  provider: Provider,
  suite: TrialSuite,
  folders: readonly string[],
): AsyncGenerator<WallTrialResult> {
  await using bait = await layOut(folders)
  let last: Awaited<ReturnType<typeof runGuest>> | undefined
  const run: GuestRun = async (code, limits) => {
    const guest = { ...suite, code, bait: bait.facts }
    return (last = await runGuest(provider, guest, { ...suite.limits, ...limits }))
  }
  for (const [wall, how, holds] of suite.trials.filter((one) => isPromised(provider, one))) {
    try {
      const held = await holds(run, bait)
      const by = last?.held?.[wall.slice(wall.lastIndexOf(' ') + 1)]
      const told = held ? how : `${how}; its last guest ended as ${nameOf(last)}`
      yield { wall, how: told, held, ...(by !== undefined && { by }) }
    } catch (error) {
      yield { wall, how: `${how}: ${messageOf(error)}`, held: false }
    }
  }
}

/** Status and error code of an end, without words of the guest. */
function nameOf(end: GuestEnd | undefined): string {
  return [end?.status ?? 'none', end?.error?.code ?? ''].join(' ').trim()
}

/** Quotas of the processor are a promise that some walls of programs do not make; their `missing` says so. */
function isPromised({ enforces }: Provider, [wall]: WallTrial): boolean {
  return !wall.endsWith(': cpu') || enforces.includes('cpu')
}

/** Trials of a provider in one language. */
interface TrialSuite {
  readonly language: Language
  readonly entry: Entry
  readonly trials: readonly WallTrial[]
  /** Default limits of a guest. */
  readonly limits?: Partial<Profile['limits']>
}

const MiB = 2 ** 20
/** Default limits of jobs, so that the tested wall is one that jobs get. */
export const ofPrograms = { disk: 64 * MiB, processes: 64, artifacts: MiB }

const TIMEOUT_MS = 250
const LIFE_MS = 5_000
const canaryText = 'a canary that no guest may see'

/** Trials of a realm of JavaScript. */
const realmTrials: readonly WallTrial[] = [
  [
    'network',
    'seven ways to connect to a listener on this machine',
    async (run, bait) => (await run(connecting)).status === 'ok' && bait.connections() === 0,
  ],
  [
    'files',
    'reading a file of this machine, writing beside it',
    async (run, bait) => {
      const end = await run(prying)
      return end.status === 'ok' && !bait.isSeen(end.text) && !bait.isMarked()
    },
  ],
  [
    'memory',
    'filling memory without end, with 32 MiB allowed',
    async (run) => {
      const end = await run('const list = []; for (;;) list.push(new Array(1000).fill(1))', {
        memory: 32 * MiB,
      })
      return end.status === 'limit' && end.error?.code === 'MEMORY'
    },
  ],
  [
    'cpu',
    `native work that no interrupt reaches, ended after ${TIMEOUT_MS} ms`,
    async (run) => {
      // A number too large is an error of the guest, which a machine that is late with the end would see.
      const code = `for (;;) try { let n = 3n; for (;;) n *= n } catch {}`
      const end = await run(code, { timeout: TIMEOUT_MS })
      return end.status === 'timeout' || end.error?.code === 'MEMORY'
    },
  ],
  [
    'processes',
    'process, require, eight built-in modules, by name and by import',
    async (run) => (await run(hunting)).resultText === '[]',
  ],
  [
    'time',
    `a loop, a loop of promises and a wait without end, ended after ${TIMEOUT_MS} ms`,
    async (run) => {
      const ends = []
      for (const code of endless) ends.push(await run(code, { timeout: TIMEOUT_MS }))
      return ends.every(({ status }) => status === 'timeout')
    },
  ],
  [
    'secrets',
    'looking for an environment, and for what the guest before had left',
    async (run) => {
      await run(`globalThis.left = input; Object.prototype.left = input`)
      const end = await run(`return [typeof left, typeof ({}).left, typeof process, typeof Deno]`)
      return end.resultText === '["undefined","undefined","undefined","undefined"]'
    },
  ],
  [
    'objects',
    'constructors and prototypes of everything that is handed in',
    async (run) => (await run(climbing)).resultText === '[]',
  ],
]

const nodeTrials = programTrials('node', inNode)
const pythonTrials = programTrials('python', inPython)
const known: readonly TrialSuite[] = [
  { language: 'js', entry: 'body', trials: realmTrials },
  { language: 'wasm', entry: 'function', trials: moduleTrials },
  { language: 'node', entry: 'module', trials: nodeTrials, limits: ofPrograms },
  { language: 'python', entry: 'function', trials: pythonTrials, limits: ofPrograms },
]

/** Suites by language; a provider of TypeScript is tried with JavaScript. */
function suitesFor({ languages }: Provider): readonly TrialSuite[] {
  return known.filter(({ language }) => languages.includes(language))
}

const endless = [
  'for (;;) {}',
  'const again = () => Promise.resolve().then(again); await again()',
  'await new Promise(() => {})',
]

const connecting = `
const url = 'http://127.0.0.1:' + input.port
const ways = [
  () => fetch(url), () => new WebSocket('ws://127.0.0.1:' + input.port), () => new EventSource(url),
  () => { const x = new XMLHttpRequest(); x.open('GET', url, false); x.send() },
  async () => (await import('node:net')).connect(input.port, '127.0.0.1'),
  () => require('node:net').connect(input.port, '127.0.0.1'), () => import(url),
]
for (const way of ways) { try { await way() } catch {} }`

const prying = `
const found = []
for (const load of [() => import('node:fs'), () => require('node:fs'), () => process.binding('fs')]) {
  try { const fs = await load(); found.push(String(fs.readFileSync(input.canary))); fs.writeFileSync(input.mark, '1') } catch {}
}
for (const from of [input.canary, 'file://' + input.canary]) {
  try { found.push(JSON.stringify(await import(from))) } catch (error) { found.push(error.message) }
}
return found`

const hunting = `
const found = []
const names = { process: () => process.pid, require: () => require('fs'), binding: () => process.binding('fs') }
for (const [name, run] of Object.entries(names)) { try { if (run()) found.push(name) } catch {} }
for (const name of ['fs', 'net', 'child_process', 'worker_threads', 'vm', 'ffi', 'os', 'module']) {
  try { if (await import('node:' + name)) found.push(name) } catch {}
}
return found`

const climbing = `
const found = [], seen = [], open = [console, input, call, setTimeout, structuredClone, TextEncoder, async () => {}, new Error()]
while (open.length > 0 && seen.length < 400) {
  const one = open.pop()
  if (one === null || (typeof one !== 'object' && typeof one !== 'function') || seen.includes(one)) continue
  seen.push(one)
  try { open.push(one.constructor, Object.getPrototypeOf(one), one.prototype) } catch {}
  try {
    const made = one('return process')
    made?.catch?.(() => {})
    if ((await made()).pid) found.push('a process')
  } catch {}
  try { if (typeof one.applySync === 'function') found.push('a bridge') } catch {}
}
return found`

/** Bait: a file and a listener that counts connections. */
async function layOut(folders: readonly string[]): Promise<Bait & AsyncDisposable> {
  const folder = makeFolder(folders)
  const [canary, mark] = [join(folder, 'canary'), join(folder, 'mark')]
  writeFileSync(canary, canaryText)
  let connections = 0
  const server = createServer((socket) => {
    connections++
    socket.destroy()
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  // A guest that never ends must not hold this process.
  server.unref()
  const { port } = server.address() as AddressInfo
  return {
    facts: { canary, mark, port, pid: process.pid, names: Object.keys(process.env) },
    connections: () => connections,
    isMarked: () => existsSync(mark),
    isSeen: (text: string) => text.includes(canaryText),
    async [Symbol.asyncDispose]() {
      await new Promise((resolve) => void server.close(resolve))
      rmSync(folder, { recursive: true })
    },
  }
}

/** Tries the next folder if this process has locked itself out of the warden's folder (Landlock). */
function makeFolder([first = tmpdir(), ...others]: readonly string[]): string {
  try {
    return mkdtempSync(join(first, 'mayfly-doctor-'))
  } catch (error) {
    if (others.length === 0) throw error
    return makeFolder(others)
  }
}

/** Runs one guest behind a new wall of this provider; `bait` is its input. */
export async function runGuest(
  provider: Provider,
  guest: Pick<TrialSuite, 'language' | 'entry'> & { readonly code: string; readonly bait: object },
  limits: Partial<Profile['limits']> = {},
): Promise<GuestEnd & { readonly held: Sandbox['held'] }> {
  const { language, entry, code, bait } = guest
  const profile = { ...profileFor(provider, limits), language, entry }
  await using sandbox = await provider.launch(profile, systemClock)
  const said: string[] = []
  const hear = (chunk: Uint8Array) => void said.push(Buffer.from(chunk).toString())
  let releasedAt = performance.now()
  const released = () => void (releasedAt = performance.now())
  const end = await sandbox.run(
    {
      run: 'doctor',
      language,
      entry,
      code,
      // A module takes numeric arguments only; these take none.
      inputText: language === 'wasm' ? 'null' : JSON.stringify(bait),
      files: [],
      capabilities: [],
    },
    { stdout: hear, stderr: hear, released },
  )
  const ranMs = performance.now() - releasedAt
  return { ...end, ranMs, text: said.join('') + end.resultText, held: sandbox.held }
}

function profileFor(provider: Provider, asked: Partial<Profile['limits']>): Profile {
  const { timeout = LIFE_MS, memory = 128 * MiB, cpu = 1, processes = unlimited } = asked
  const limits = { processes: 1, disk: 0, artifacts: 0, ...asked, timeout, memory, cpu }
  return ownProfile(provider, 'doctor', {
    language: 'js',
    entry: 'body',
    floor: strengthOf[provider.tier],
    image: 'doctor',
    tenant: 'doctor',
    controls: { cpu, processes },
    limits: { ...limits, output: 64 * 1024, result: 64 * 1024 },
  })
}
