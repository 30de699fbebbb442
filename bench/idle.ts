/**
 * Memory and wakes of an idle server: proportional set size (Pss of /proc/PID/smaps_rollup) of every process that `npm start`
 * leaves behind, npm and its shell left out. A server is idle when it has proved its walls, and neither emitted an event nor
 * used more than a twentieth of a core for some seconds.
 *
 * Wakes are voluntary context switches of all threads (/proc/PID/task/TID/status), a second, over as many seconds: a
 * count, so that other work on the machine does not change it.
 *
 * File pages of Node are shared with every other Node of the machine, so PSS is lower on a busy one. The last row is what
 * the server would take alone: anonymous memory, and each file mapping once, at its most resident.
 *
 *     node bench/idle.ts [--tree FOLDER] [--seconds 15] [--json]
 *
 * With `--tree` another checkout is measured the same way, before and after this one.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { childrenOf } from '../src/os/proc.ts'

const OWN_TREE = fileURLToPath(new URL('..', import.meta.url))
const LOOK_MS = 500
const START_MS_MAX = 300_000
/** USER_HZ of process times in /proc. */
const TICK_MS = 10
const BUSY_SHARE = 0.05
const NAME_CHARS = 44

const { values: flags } = parseArgs({
  options: {
    tree: { type: 'string' },
    seconds: { type: 'string', default: '15' },
    json: { type: 'boolean' },
  },
})
const quietMs = Math.min(600, Math.max(2, Number(flags.seconds) || 15)) * 1000

interface ProcessMemory {
  readonly name: string
  readonly pssKiB: number
  readonly anonKiB: number
  readonly threads: number
  readonly wakesPerSecond: number
}

const trees = flags.tree ? [flags.tree, OWN_TREE, flags.tree, OWN_TREE] : [OWN_TREE]
const rows = []
for (const tree of trees) rows.push({ tree, ...(await idleOf(path.resolve(tree))) })
if (flags.json) console.log(JSON.stringify({ quietMs, rows }))
else for (const row of rows) print(row)

interface TreeMemory {
  readonly processes: readonly ProcessMemory[]
  readonly pssKiB: number
  readonly anonKiB: number
  readonly wakesPerSecond: number
  /** In files mapped by any of them, each page once. */
  readonly fileKiB: number
}

async function idleOf(tree: string): Promise<TreeMemory> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'mayfly-bench-'))
  // As root the server gets a uid of its own, which has to reach its state.
  chmodSync(folder, 0o711)
  const state = path.join(folder, 'state')
  const command = [path.join(tree, 'bin/mayfly.js'), 'serve', '--port', '0', '--json']
  const server = spawn(process.execPath, [...command, '--verbose', '--state', state], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  try {
    const events = eventsOf(server)
    await once(createInterface(server.stdout), 'line')
    await whenIdle(server.pid!, events)
    const pids = treeOf(server.pid!).filter(hasMemory)
    return memoryOfTree(pids, await wakesOf(pids))
  } finally {
    server.kill('SIGTERM')
    if (server.exitCode === null && server.signalCode === null) await once(server, 'exit')
    for (const one of [folder, `${state}-warden`]) rmSync(one, { recursive: true, force: true })
  }
}

interface Events {
  lastAt: number
  hasProved: boolean
}

function eventsOf(server: ChildProcess): Events {
  const events: Events = { lastAt: performance.now(), hasProved: false }
  createInterface(server.stderr!).on('line', (line) => {
    events.lastAt = performance.now()
    if (/tier\/(proved|unavailable)/.test(line) && /bubblewrap|embedded/.test(line))
      events.hasProved = true
  })
  return events
}

async function whenIdle(pid: number, events: Events): Promise<void> {
  const until = performance.now() + START_MS_MAX
  let usedMs = 0
  let idleSince = performance.now()
  while (performance.now() < until) {
    await sleep(LOOK_MS)
    const now = treeOf(pid).reduce((sum, one) => sum + cpuMsOf(one), 0)
    if (now - usedMs > LOOK_MS * BUSY_SHARE + TICK_MS) idleSince = performance.now()
    usedMs = now
    const since = Math.max(idleSince, events.lastAt)
    if (events.hasProved && performance.now() - since > quietMs) return
  }
  throw new Error(`the server was not idle within ${START_MS_MAX} ms`)
}

function treeOf(pid: number): readonly number[] {
  return [pid, ...childrenOf(pid).flatMap(treeOf)]
}

/** False for a zombie, and for a process that is gone. */
function hasMemory(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/smaps_rollup`).length > 0
  } catch {
    return false
  }
}

function cpuMsOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS
  } catch {
    return 0
  }
}

/** Wakes a second of each. */
async function wakesOf(pids: readonly number[]): Promise<ReadonlyMap<number, number>> {
  const before = pids.map(switchesOf)
  const began = performance.now()
  await sleep(quietMs)
  const seconds = (performance.now() - began) / 1000
  return new Map(pids.map((pid, at) => [pid, (switchesOf(pid) - before[at]!) / seconds]))
}

/** Voluntary context switches of its threads so far. */
function switchesOf(pid: number): number {
  return readdirSync(`/proc/${pid}/task`).reduce((sum, thread) => {
    const status = readFileSync(`/proc/${pid}/task/${thread}/status`, 'latin1')
    return sum + Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1] ?? 0)
  }, 0)
}

function memoryOfTree(pids: readonly number[], wakes: ReadonlyMap<number, number>): TreeMemory {
  const processes = pids.map((pid) => ({ ...memoryOf(pid), wakesPerSecond: wakes.get(pid) ?? 0 }))
  const sum = (field: 'pssKiB' | 'anonKiB' | 'wakesPerSecond') =>
    processes.reduce((all, one) => all + one[field], 0)
  const files = new Map<string, number>()
  for (const [file, kib] of pids.flatMap(fileMappings))
    files.set(file, Math.max(files.get(file) ?? 0, kib))
  const fileKiB = [...files.values()].reduce((all, kib) => all + kib, 0)
  const [pssKiB, anonKiB] = [sum('pssKiB'), sum('anonKiB')]
  return { processes, pssKiB, anonKiB, wakesPerSecond: sum('wakesPerSecond'), fileKiB }
}

/** Mappings of files by device, inode and offset, with their resident KiB that were not copied on a write. */
function fileMappings(pid: number): readonly (readonly [string, number])[] {
  const mappings = readFileSync(`/proc/${pid}/smaps`, 'latin1').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
  return mappings.flatMap((text) => {
    const [, , offset, device, inode] = text.split('\n', 1)[0]!.split(/\s+/)
    const file = `${device} ${inode} ${offset}`
    return inode === '0' ? [] : [[file, kibIn(text, 'Rss') - kibIn(text, 'Anonymous')] as const]
  })
}

function kibIn(text: string, field: string): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0)
}

function memoryOf(pid: number): Omit<ProcessMemory, 'wakesPerSecond'> {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1')
  const status = readFileSync(`/proc/${pid}/status`, 'latin1')
  const threads = Number(/^Threads:\s+(\d+)/m.exec(status)?.[1] ?? 0)
  const [pssKiB, anonKiB] = [kibIn(rollup, 'Pss'), kibIn(rollup, 'Pss_Anon')]
  return { name: nameOf(pid), pssKiB, anonKiB, threads }
}

/** Base names of the words of its command line that are no flags. */
function nameOf(pid: number): string {
  const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  const named = words.filter((word) => /^[\w./-]+$/.test(word) && !word.startsWith('-'))
  const names = named.map((word) => path.basename(word))
  return names.slice(0, 3).join(' ').slice(0, NAME_CHARS)
}

function print({ tree, processes, ...all }: TreeMemory & { tree: string }) {
  const mib = (kib: number) => (kib / 1024).toFixed(1).padStart(7)
  const wakes = (one: { wakesPerSecond: number }) => one.wakesPerSecond.toFixed(1).padStart(6)
  console.log(`${tree}: MiB of PSS, of it anonymous; wakes a second; threads`)
  for (const one of processes) {
    const threads = String(one.threads).padStart(3)
    console.log(`${mib(one.pssKiB)} ${mib(one.anonKiB)} ${wakes(one)} ${threads}  ${one.name}`)
  }
  console.log(`${mib(all.pssKiB)} ${mib(all.anonKiB)} ${wakes(all)}      together`)
  console.log(`${mib(all.anonKiB + all.fileKiB)}                     together, alone on a machine`)
}
