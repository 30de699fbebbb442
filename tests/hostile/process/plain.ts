import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import {
  chownSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  statfsSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { isDeepStrictEqual } from 'node:util'
import { bounds, timeoutMs } from './bounds.ts'
import { extensionOf, programOf, type ProcessBait, type ProcessCase } from './case.ts'
import { makePen, type Pen } from './pen.ts'
import { nobody, survivorOf, sweep, type ProcessTrap } from './trap.ts'

/**
 * The same corpus in a plain child process in typical use: user `nobody`, own folder, clean environment, killed
 * on timeout, files read afterwards.
 */

const outputBytesMax = 8 * 2 ** 20
const collectMs = 3_000
/** Additional wait for open streams after the exit. */
const closeMs = 1_000
const settleMs = 150
const watchMs = 300
const burntMsMax = 100
const filesMax = 1_000
const collector = fileURLToPath(new URL('../targets/plain-collector.js', import.meta.url))
const interpreters = { node: process.execPath, python: '/usr/bin/python3', sh: '/bin/sh' } as const

/** Reason why a plain child did not contain a case; undefined if it did. */
export async function bitePlain(
  hostile: ProcessCase,
  trap: ProcessTrap,
): Promise<string | undefined> {
  await using snare = trap.lay()
  const pen = makePen()
  if (!pen) throw new Error('Cannot run hostile programs without control groups')
  const folder = mkdtempSync(path.join(tmpdir(), 'hostile-plain-'))
  try {
    return await judge({ hostile, bait: snare.bait, folder, pen }, snare.evidence)
  } finally {
    await pen[Symbol.asyncDispose]()
    sweep(snare.bait)
    // Deeper than PATH_MAX, which fs.rm does not handle.
    execFileSync('rm', ['-rf', folder])
  }
}

interface Run {
  readonly hostile: ProcessCase
  readonly bait: ProcessBait
  readonly folder: string
  readonly pen: Pen
}

type Evidence = (cameBack: string) => string | undefined

async function judge(run: Run, evidence: Evidence): Promise<string | undefined> {
  const { hostile, bait, pen } = run
  layOut(run)
  const freeBefore = freeBytes()
  const first = await runOnce(run, hostile.code)
  const written = freeBefore - freeBytes()
  const collected = await collect(run)
  const broke = overBound(hostile, pen, first, written) ?? first.broke ?? collected.broke
  const text = first.text + collected.text
  if (!hostile.second)
    return evidence(text) ?? broke ?? survivorOf(bait) ?? wrong(run) ?? (await afterwards(pen))
  const second = await runOnce(run, hostile.second, { ...bait, secret: '' })
  const knows = second.text.includes(bait.secret) ? 'the second job knows the first' : undefined
  return knows ?? evidence(second.text) ?? second.broke
}

function layOut({ hostile, folder }: Run): void {
  for (const name of ['', 'out', 'job']) mkdirSync(path.join(folder, name), { recursive: true })
  for (const { path: name, content } of hostile.files ?? []) {
    const file = path.join(folder, name)
    // A plain child has no check of names; files outside its folder are not written here.
    if (!file.startsWith(`${folder}/`)) continue
    try {
      mkdirSync(path.dirname(file), { recursive: true })
      writeFileSync(file, content)
    } catch {
      // Refused by the file system; a typical user ignores that.
    }
  }
  for (const name of ['', 'out', 'job']) chownSync(path.join(folder, name), nobody, nobody)
  writeFileSync(path.join(folder, 'result'), '')
  chownSync(path.join(folder, 'result'), nobody, nobody)
}

interface Ran {
  readonly text: string
  readonly ms: number
  readonly processes: number
  readonly cpuMs: number
  readonly broke?: string
}

/** The stub enters the groups, then execs the program: no guest code runs outside them. */
const stub = `for door in $DOORS; do echo $$ >"$door"; done; unset DOORS
exec /usr/bin/prlimit --core=0 --fsize=300000000 /usr/bin/setpriv --reuid ${nobody} --regid ${nobody} --clear-groups -- "$@"`

async function runOnce(run: Run, body: string, bait = run.bait): Promise<Ran> {
  const { hostile, folder, pen } = run
  const program = path.join(folder, `main.${extensionOf[hostile.language]}`)
  writeFileSync(program, programOf(hostile.language, body, bait))
  const resultFile = path.join(folder, 'result')
  const result = openSync(resultFile, 'r+')
  const child = spawn('/bin/sh', ['-c', stub, 'sh', interpreters[hostile.language], program], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe', result],
    env: {
      DOORS: pen.doors.join(' '),
      PATH: '/usr/bin:/bin',
      HOME: folder,
      MAYFLY_OUT: path.join(folder, 'out'),
      MAYFLY_RESULT: resultFile,
    },
  })
  closeSync(result)
  return await follow(child, hostile, pen)
}

async function follow(child: ChildProcess, hostile: ProcessCase, pen: Pen): Promise<Ran> {
  const chunks: Buffer[] = []
  let bytes = 0
  let processes = 0
  const began = performance.now()
  const cpuBefore = pen.cpuMs()
  const poll = setInterval(() => (processes = Math.max(processes, pen.processes())), 5)
  const take = (chunk: Buffer): void => {
    bytes += chunk.length
    if (bytes < outputBytesMax) chunks.push(chunk)
    else child.kill('SIGKILL')
  }
  child.stdout?.on('data', take)
  child.stderr?.on('data', take)
  const over = new Promise<void>((done) => void child.once('exit', () => done()))
  const closed = new Promise<void>((done) => void child.once('close', () => done()))
  const inTime = await within(over, timeoutMs)
  const ms = performance.now() - began
  const cpuMs = pen.cpuMs() - cpuBefore
  child.kill('SIGKILL')
  const isClosed = await within(closed, closeMs)
  clearInterval(poll)
  child.stdout?.destroy()
  child.stderr?.destroy()
  // A child with a thread traced by us never exits: do not wait for it.
  child.unref()
  const broke =
    (bytes >= outputBytesMax ? 'more output than anybody wants' : undefined) ??
    (isClosed ? undefined : 'its streams stay open after its end') ??
    (hostile.quick && !inTime ? 'it does not end' : undefined)
  const text = Buffer.concat(chunks).toString('latin1')
  return { text, ms, processes, cpuMs, ...(broke && { broke }) }
}

async function collect({ folder }: Run): Promise<{ text: string; broke?: string }> {
  const program = ['--max-old-space-size=200', collector, `${folder}/out`, `${folder}/result`]
  const child = spawn(process.execPath, program, { stdio: ['ignore', 'pipe', 'ignore'] })
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
  const closed = new Promise<void>((done) => void child.once('close', () => done()))
  const inTime = await within(closed, collectMs)
  child.kill('SIGKILL')
  await closed
  if (!inTime) return { text, broke: 'collecting its files never ends' }
  if (child.exitCode !== 0) return { text, broke: 'collecting its files ends badly' }
  const files = text.split('\n').length
  return { text, ...(files > filesMax && { broke: `${files} files came back` }) }
}

function overBound({ over }: ProcessCase, pen: Pen, ran: Ran, written: number): string | undefined {
  if (over === 'memory' && pen.peakBytes() > bounds.memoryBytes)
    return `memory: ${pen.peakBytes() >> 20} MiB`
  if (over === 'processes' && ran.processes > bounds.processes) return `${ran.processes} processes`
  if (over === 'disk' && written > bounds.diskBytes) return `disk: ${written >> 20} MiB`
  if (over === 'cpu' && ran.cpuMs > ran.ms * bounds.cpu) return `cpu: ${ran.cpuMs} ms`
  return undefined
}

function wrong({ hostile, folder }: Run): string | undefined {
  if (hostile.gives === undefined) return undefined
  const gave = readFileSync(path.join(folder, 'result'), 'utf8')
  return isDeepStrictEqual(JSON.parse(gave), hostile.gives)
    ? undefined
    : `it gave ${gave.slice(0, 60)}`
}

/** Detects processes that survive its end. */
async function afterwards(pen: Pen): Promise<string | undefined> {
  await sleep(settleMs)
  const before = pen.cpuMs()
  if (pen.pids().length === 0) return undefined
  await sleep(watchMs)
  const burnt = pen.cpuMs() - before
  if (burnt > burntMsMax) return `still burning cpu: ${Math.round(burnt)} of ${watchMs} ms`
  return pen.pids().length > 0 ? 'a process of it lives on' : undefined
}

function freeBytes(): number {
  return [tmpdir(), '/dev/shm']
    .map((folder) => statfsSync(folder))
    .reduce((sum, { bsize, bavail }) => sum + bsize * bavail, 0)
}

async function within(promise: Promise<void>, ms: number): Promise<boolean> {
  const timer = new AbortController()
  const late = sleep(ms, false, { signal: timer.signal }).catch(() => false)
  const inTime = await Promise.race([promise.then(() => true), late])
  timer.abort()
  return inTime
}
