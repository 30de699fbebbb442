/**
 * Overhead of a sentinel for the programs it watches, and its latency for closing a class of calls. The same
 * programs run with the default classes (`usual`), with every class (`all`) and without a sentinel (`alone`),
 * interleaved in one run; flips on an idle machine and with every core busy.
 *
 *     node bench/sentinel.ts [--rounds 40] [--json]
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { callClasses, type CallClass } from '../src/contract/calls.ts'
import { encodeFrame } from '../src/lib/frames.ts'
import { figures, timed } from '../src/lib/measure.ts'
import { startWarden } from '../src/sdk/start-warden.ts'
import { usualCalls } from '../src/walls/program-spares.ts'
import type { WardenClient } from '../src/walls/client.ts'

/** Longest wait for a word of the guest. */
const saidMsMax = 600_000
const MIB = 2 ** 20
const RUN = 1
const STORM = 100
const CALLS = 2000
const { values: flags } = parseArgs({
  options: { rounds: { type: 'string', default: '40' }, json: { type: 'boolean' } },
})
const rounds = Math.min(1_000, Math.max(10, Number(flags.rounds) || 40))

/** Guest that executes orders from a file, with its own clock. */
const guest = `
import os, socket, sys, time
def spawned(*argv):
    os.waitpid(os.posix_spawn(argv[0], argv, {'PATH': '/usr/bin'}), 0)
def storm():
    for _ in range(${STORM}):
        pid = os.fork()
        if pid == 0: os._exit(0)
        os.waitpid(pid, 0)
def opens():
    for _ in range(${CALLS}): os.close(os.open('/work/kept', os.O_RDONLY))
def sockets():
    for _ in range(${CALLS}): socket.socket().close()
open('/work/kept', 'w').close()
work = {
  'node': lambda: spawned('/opt/mayfly/bin/node', '-e', '0'),
  'python': lambda: spawned('/usr/bin/python3', '-c', '0'),
  'storm': storm, 'opens': opens, 'sockets': sockets,
}
print('ready', flush=True)
seen = 0
while True:
    try: asked = open('/work/asked').read().split()
    except OSError: asked = []
    if len(asked) != 2 or int(asked[0]) <= seen:
        time.sleep(0.001)
        continue
    seen = int(asked[0])
    began = time.perf_counter()
    work[asked[1]]()
    print('took', seen, (time.perf_counter() - began) * 1000, flush=True)
`

interface Contender {
  readonly name: 'usual' | 'all' | 'alone'
  readonly warden: WardenClient
  readonly calls: readonly CallClass[]
}

/** Wall with a program that polls a file for orders. */
async function open({ warden, calls }: Contender) {
  const settings = { spares: 0, spareMiB: 8, disk: 16 * MIB, calls }
  const { wall, socket, streams } = await warden.start('python', settings)
  await warden.claim(wall.id, { tenant: '', memory: 512 * MIB, deadline: 600_000 })
  let said = ''
  streams!.stdout.on('data', (chunk: Buffer) => void (said += chunk.toString()))
  streams!.stderr.resume()
  socket.on('error', () => undefined).resume()
  let asked = 0
  const place = `/proc/${wall.pid}/root/work`
  return {
    wall,
    run(code: string) {
      const job = { protocol: 1, language: 'python', entry: 'program', code, inputText: 'null' }
      const bounds = { timeoutMs: 600_000, outputBytesMax: MIB, resultBytesMax: MIB }
      const rest = { files: [], capabilities: [], env: {}, artifactBytesMax: MIB, processes: 64 }
      socket.write(
        encodeFrame(RUN, `${JSON.stringify({ ...job, ...bounds, ...rest, network: false })}\n`),
      )
    },
    async until(word: string): Promise<string> {
      const end = performance.now() + saidMsMax
      while (!said.includes(word) && performance.now() < end) await sleep(1)
      return said.slice(said.indexOf(word)).split('\n')[0]!
    },
    /** Milliseconds by the guest's clock. */
    async time(what: string): Promise<number> {
      const number = ++asked
      writeFileSync(`${place}/asked`, `${number} ${what}`, { mode: 0o644 })
      return Number((await this.until(`took ${number} `)).split(' ')[2])
    },
    async close() {
      await warden.kill(wall.id)
      for (const one of [socket, streams!.stdout, streams!.stderr]) one.destroy()
    },
  }
}

async function costs(beside: readonly Contender[]) {
  const walls = await Promise.all(
    beside.map(async (contender) => [contender.name, await open(contender)] as const),
  )
  for (const [, wall] of walls) {
    wall.run(guest)
    await wall.until('ready')
  }
  const report: Record<string, unknown> = {}
  for (const what of ['node', 'python', 'storm', 'opens', 'sockets']) {
    const samples = new Map(walls.map(([name]) => [name, [] as number[]]))
    for (let round = -2; round < rounds; round++)
      for (const [name, wall] of walls) {
        const took = await wall.time(what)
        if (round >= 0) samples.get(name)!.push(took)
      }
    report[what] = compared(samples)
  }
  for (const [, wall] of walls) await wall.close()
  return report
}

/** Medians and relative cost against no sentinel; also minima, which load distorts least. */
function compared(samples: ReadonlyMap<string, readonly number[]>) {
  const alone = figures(samples.get('alone')!)
  const percent = (a: number, b: number) => Math.round((a / b - 1) * 1000) / 10
  const rows = [...samples].map(([name, took]) => {
    const { p50, min } = figures(took)
    const costs = { percent: percent(p50, alone.p50), leastPercent: percent(min, alone.min) }
    return [name, { p50, min, ...(name !== 'alone' && costs) }] as const
  })
  return Object.fromEntries(rows)
}

/** Starts without a parked spare. */
async function starts(beside: readonly Contender[]) {
  const samples = new Map(beside.map(({ name }) => [name, [] as number[]]))
  for (let round = -2; round < rounds; round++)
    for (const { name, warden, calls } of beside) {
      const settings = { spares: 0, spareMiB: 8, calls }
      const { wall, socket, streams } = await warden.start('python', settings)
      if (round >= 0) samples.get(name)!.push(wall.took)
      await warden.kill(wall.id)
      for (const one of [socket, streams!.stdout, streams!.stderr]) one.destroy()
    }
  return compared(samples)
}

/** Round trip: server, warden, sentinel and back, each in a fresh wall. */
async function flips(contender: Contender) {
  const { warden } = contender
  const took: number[] = []
  for (let round = 0; round < rounds; round += callClasses.length) {
    const one = await open(contender)
    one.run(guest)
    await one.until('ready')
    let allow = [...callClasses]
    for (const name of callClasses) {
      allow = allow.filter((other) => other !== name)
      const now = allow
      took.push(await timed(() => warden.calls(one.wall.id, [{ afterMs: 0, allow: now }])))
    }
    await one.close()
  }
  return figures(took)
}

async function withBusyCores<T>(work: () => Promise<T>): Promise<T> {
  const busy = Array.from({ length: os.availableParallelism() }, () =>
    spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }),
  )
  try {
    return await work()
  } finally {
    for (const child of busy) child.kill('SIGKILL')
  }
}

const state = mkdtempSync(path.join(os.tmpdir(), 'mayfly-bench-'))
const watching = await startWarden({ stateFolder: path.join(state, 'a') })
const alone = await startWarden({ stateFolder: path.join(state, 'b'), sentinel: false })
const contenders: readonly [Contender, Contender, Contender] = [
  { name: 'usual', warden: watching, calls: usualCalls },
  { name: 'all', warden: watching, calls: callClasses },
  { name: 'alone', warden: alone, calls: [] },
]
try {
  const [, all] = contenders
  const report = {
    cores: os.availableParallelism(),
    starts: await starts(contenders),
    milliseconds: await costs(contenders),
    counts: { opens: CALLS, sockets: CALLS, storm: STORM },
    flips: { idle: await flips(all), busy: await withBusyCores(() => flips(all)) },
  }
  console.log(flags.json ? JSON.stringify(report) : JSON.stringify(report, undefined, 2))
} finally {
  for (const warden of [watching, alone]) await warden.close()
  rmSync(state, { recursive: true, force: true })
}
