import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Lure, Trap } from './bait.ts'
import type { Case } from './case.ts'
import { sourceOf } from './case.ts'
import { cpuMsOf, rssOf } from './proc.ts'

export const targets = ['node-vm', 'vm2', 'bare-isolated-vm'] as const
export type Target = (typeof targets)[number]

/** Limits of the targets; repeated in targets/harness.js. */
const limitMiB = 32
/** Default time limit of a target. Cases that must get far enough to escape are given more: see `bite`. */
const timeLimitMs = 300
/** An answer that comes this long after the limit was not ended by it, even on a busy machine. */
const graceMs = 1_200
const giveUpMs = 2_700
const rssKillBytes = 600 * 2 ** 20
const growthBytesMax = (limitMiB * 1.25 + 32) * 2 ** 20
const watchMs = 500
/** CPU time within `watchMs`; an idle server uses next to none. */
const burntMsMax = 200
const pongMs = 2_000

/**
 * Reason why a target did not contain a case; undefined if it did. `limitMs` is the time limit of the target:
 * on a busy machine a short one ends a case before it has escaped.
 */
export async function bite(
  target: Target,
  hostile: Case,
  trap: Trap,
  limitMs = timeLimitMs,
): Promise<string | undefined> {
  const host = new Host(target, trap, limitMs)
  try {
    return await judge(host, hostile, trap.lure(hostile))
  } finally {
    host.kill()
  }
}

async function judge(
  host: Host,
  hostile: Case,
  { bait, evidence }: Lure,
): Promise<string | undefined> {
  await host.next(10_000)
  host.idleBytes = rssOf(host.pid) ?? 0
  const first = await host.run({ code: sourceOf(hostile.code), input: bait })
  if (!hostile.second)
    return evidence(first.text) ?? first.broke ?? wrong(hostile, first) ?? host.afterwards()
  if (!first.answer) return first.broke
  const second = await host.run({ code: sourceOf(hostile.second.code), input: bait })
  // The first job's own answer is no leak: the second must not learn it.
  const answers = [first, second].map(({ answer }) => answer?.['result'])
  if (hostile.second.differs && answers[0] !== undefined && answers[0] === answers[1])
    return 'both runs answered the same'
  return evidence(second.text) ?? first.broke ?? second.broke ?? host.afterwards()
}

function wrong({ gives }: Case, { answer }: Ran): string | undefined {
  if (gives === undefined || answer?.['status'] !== 'ok') return undefined
  const gave = answer['result']
  return gave === JSON.stringify(gives) ? undefined : `it gave ${String(gave).slice(0, 60)}`
}

interface Ran {
  readonly answer?: Record<string, unknown>
  readonly text: string
  readonly broke?: string
}

/** A child process with one target in it, bounded in time and memory from outside. */
class Host {
  readonly #child
  readonly #lines: string[] = []
  #wake: () => void = () => undefined
  #peakBytes = 0
  #tooBig = false
  #poll: NodeJS.Timeout
  idleBytes = Infinity

  readonly #limitMs: number

  constructor(target: Target, trap: Trap, limitMs: number) {
    this.#limitMs = limitMs
    const program = fileURLToPath(new URL(`targets/${target}.js`, import.meta.url))
    this.#child = spawn(process.execPath, ['--no-warnings', program], {
      stdio: ['pipe', 'pipe', 'ignore'],
      env: {
        PATH: process.env['PATH'],
        HOSTILE_CANARY: trap.canary,
        HOSTILE_LIMIT_MS: String(limitMs),
      },
    })
    this.#child.stdin.on('error', () => undefined)
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      this.#lines.push(line)
      this.#wake()
    })
    this.#child.on('exit', () => this.#wake())
    this.#poll = setInterval(() => this.#measure(), 20)
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** Next unread line; undefined on timeout, or if the child died. */
  async next(ms: number): Promise<string | undefined> {
    const until = performance.now() + ms
    while (this.#lines.length === 0 && !this.#dead && performance.now() < until) {
      const woken = new Promise<void>((resolve) => (this.#wake = resolve))
      await Promise.race([woken, sleep(Math.max(1, until - performance.now()))])
    }
    return this.#lines.shift()
  }

  async run(job: { code: string; input: unknown }): Promise<Ran> {
    const began = performance.now()
    this.#child.stdin.write(`${oneLine({ id: 1, job })}\n`)
    const text = await this.next(this.#limitMs + giveUpMs)
    const took = performance.now() - began
    const broke = this.#broken(text, took)
    if (text === undefined) return { text: '', ...(broke && { broke }) }
    const answer = parsed(text)
    if (!answer) return { text, broke: broke ?? 'the host died in the middle of its answer' }
    return { text, answer, ...(broke && { broke }) }
  }

  /** Health of the server afterwards: no CPU burnt, alive, responsive, not grown. */
  async afterwards(): Promise<string | undefined> {
    await sleep(100)
    const before = cpuMsOf(this.pid)
    await sleep(watchMs)
    const burnt = cpuMsOf(this.pid) - before
    if (!this.#dead && burnt > burntMsMax) return `still burning cpu: ${burnt} of ${watchMs} ms`
    this.#child.stdin.write('ping\n')
    const pong = await this.next(pongMs)
    return this.#broken(pong, 0)
  }

  kill(): void {
    clearInterval(this.#poll)
    this.#child.kill('SIGKILL')
  }

  async exited(): Promise<void> {
    if (!this.#dead) await once(this.#child, 'exit')
  }

  get #dead(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  #broken(text: string | undefined, took: number): string | undefined {
    if (this.#tooBig || this.#peakBytes - this.idleBytes > growthBytesMax) {
      return `memory: ${Math.round((this.#peakBytes - this.idleBytes) / 2 ** 20)} MiB over idle`
    }
    if (this.#dead) return `the host died: ${this.#child.signalCode ?? this.#child.exitCode}`
    if (text === undefined) return 'the host gives no answer'
    return took > this.#limitMs + graceMs ? `late: ${Math.round(took)} ms` : undefined
  }

  #measure(): void {
    const bytes = rssOf(this.pid) ?? 0
    this.#peakBytes = Math.max(this.#peakBytes, bytes)
    if (bytes < rssKillBytes) return
    this.#tooBig = true
    this.#child.kill('SIGKILL')
  }
}

/** Undefined for a partial line: readline emits the output of a killed host. */
function parsed(text: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(text) as Record<string, unknown>
  } catch {
    return undefined
  }
}

/** JSON on one line for readline, which also splits at U+2028 and U+2029. */
function oneLine(value: unknown): string {
  return JSON.stringify(value).replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029')
}
