import { randomUUID } from 'node:crypto'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { MayflyError } from '../../../src/contract/error.ts'
import type { Outcome } from '../../../src/contract/outcome.ts'
import type { RunRequest } from '../../../src/contract/session.ts'
import { openLog } from '../../../src/evidence/log-reader.ts'
import type { Mayfly } from '../../../src/index.ts'
import type { Box } from '../../../src/sdk/box.ts'
import { isRunning } from '../../conformance/remains.ts'
import { escapedWord } from '../case.ts'
import { nameOf } from '../proc.ts'
import { first, honest, type HostileCell, type SessionCase, type SessionWall } from './case.ts'

export interface SessionField {
  readonly mayfly: Mayfly
  readonly state: string
  readonly wall: SessionWall
}

/** Generous deadline, because nothing is measured and a busy machine is slow. */
const HONEST = { timeout: '20s' }
const HOSTILE_TIMEOUT = '3s'
/** Tolerance: an exec is charged in ticks of the kernel's clock, from two readings. */
const CPU_SLACK_MS = 60
/** Ten seconds: a busy machine is slow to reap. */
const GONE_TRIES_MAX = 1000
const REFUSED_TRIES_MAX = 10
const TRIAL_TRIES_MAX = 5
/** Words of a start that took too long. */
const LATE = /did not release user code in time|was not ready after \d+ ms/
/** Words of an end by the host, where the wall did not end an interrupted exec, or answer an order, in time. */
const LATE_END = /: its time was over$|it could not be frozen: the wall is late/

/** Execs as observed by their caller. */
interface SeenExec {
  readonly outcome: Outcome
  readonly tookMs: number
}

/**
 * Reasons why the outcomes, charges or record of a program's session were not each exec's own; none if they were. On a busy
 * machine the host ends a session whose wall is late: it is tried again, and such an end each time is a reason.
 */
export async function notHeld(field: SessionField, hostile: SessionCase): Promise<string[]> {
  for (let tries = 1; ; tries++) {
    const trial = new SessionTrial(field, hostile, await opened(field, hostile))
    try {
      await trial.run()
    } finally {
      await trial.close()
    }
    const isLate = trial.found.length > 0 && trial.found.every((why) => LATE_END.test(why))
    if (!isLate || tries === TRIAL_TRIES_MAX) return trial.found
  }
}

/** Opens a session before any code of the program: another one, where a busy machine did not start its wall in time. */
async function opened({ mayfly, wall }: SessionField, hostile: SessionCase): Promise<Box> {
  const open = () =>
    mayfly.open({
      language: hostile.language,
      provider: wall,
      limits: { timeout: HOSTILE_TIMEOUT, ...hostile.limits },
      ...(hostile.schedule && { schedule: hostile.schedule }),
    })
  return await retried(open, ({ message }) => LATE.test(message))
}

/** Tries again after a refusal of a busy machine, before which nothing of the program ran. */
async function retried<T>(
  act: () => Promise<T>,
  isBusy: (refusal: MayflyError) => boolean,
): Promise<T> {
  for (let tries = 1; ; tries++)
    try {
      return await act()
    } catch (thrown) {
      const mayRetry = thrown instanceof MayflyError && isBusy(thrown)
      if (!mayRetry || tries === REFUSED_TRIES_MAX) throw thrown
    }
}

class SessionTrial {
  readonly found: string[] = []
  readonly #field: SessionField
  readonly #hostile: SessionCase
  readonly #box: Box
  readonly #mark = randomUUID()
  readonly #execs: SeenExec[] = []
  #namespace: string | undefined
  #first: string | undefined
  #isLost = false

  constructor(field: SessionField, hostile: SessionCase, box: Box) {
    this.#field = field
    this.#hostile = hostile
    this.#box = box
  }

  async run(): Promise<void> {
    const { language, cells, spares } = this.#hostile
    const namespace = await this.#exec({ command: 'readlink /proc/self/ns/pid', limits: HONEST })
    this.#namespace = namespace?.stdout.trim()
    if (this.#namespace) this.#first = firstOf(this.#inside())
    await this.#exec({ code: first[language](this.#mark), limits: HONEST })
    this.#isLost = false
    for (const cell of cells) await this.#act(cell)
    if (spares !== 'session') {
      await this.#command()
      await this.#cell()
      await this.#command()
      await this.#cell()
    } else if (await this.#mayEnd()) await this.#command()
  }

  /** Ends the session, and returns its leftovers. */
  async close(): Promise<void> {
    const life = await this.#box.close()
    this.#recorded(life)
    this.#charged(life)
    if (this.#field.wall === 'gvisor' || !this.#namespace) return
    for (let tries = 0; tries < GONE_TRIES_MAX && this.#survivors().length > 0; tries++)
      await sleep(10)
    const left = this.#survivors()
    if (left.length > 0) this.found.push(`${left.map(nameOf).join(', ')} live on`)
  }

  async #act(cell: HostileCell): Promise<void> {
    if (typeof cell === 'string') await this.#exec({ code: cell })
    else if ('code' in cell)
      await this.#exec({ code: cell.code, limits: { timeout: cell.timeout } })
    else if ('command' in cell) await this.#exec({ command: cell.command })
    else await cell.owner(this.#box)
  }

  /** Runs an honest cell, which must have its own output and result, or report that the interpreter was lost. */
  async #cell(): Promise<void> {
    const { language, spares, prints, endsLater } = this.#hostile
    const token = randomUUID()
    const outcome = await this.#exec({
      code: this.#hostile.honest ?? honest[language],
      ...(language === 'python' || language === 'node'
        ? { input: token }
        : { env: { OWN: token } }),
      limits: spares === 'manager' ? { timeout: '1s' } : HONEST,
    })
    if (!outcome || spares !== 'interpreter') return
    const { status, error, session } = outcome
    if (endsLater && error?.code === 'EXIT' && session?.state === 'lost') return
    if (status !== 'ok') return this.#tell('an honest cell', outcome)
    const mark = this.#isLost ? null : this.#mark
    if (!isDeepStrictEqual(outcome.result, [mark, 42])) {
      const told = JSON.stringify(outcome.result)
      this.found.push(`an honest cell gave ${told}, state ${this.#isLost ? 'lost' : 'kept'}`)
    }
    this.#printed(`own ${token}\n`, outcome, prints)
  }

  /** A command beside the interpreter, which no cell can poison. */
  async #command(): Promise<void> {
    const token = randomUUID()
    const command = ['/bin/echo', 'own', token]
    const outcome = await this.#exec({ command, limits: HONEST })
    if (!outcome) return
    // Reported as the end of its session.
    if (this.#hostile.spares === 'session' && outcome.session?.ended) return
    if (outcome.status !== 'ok' || outcome.exitCode !== 0)
      return this.#tell('an honest command', outcome)
    this.#printed(`own ${token}\n`, outcome, this.#hostile.prints)
  }

  #printed(own: string, { stdout, stderr }: Outcome, prints = false): void {
    const isOwn = prints ? stdout.includes(own.slice(0, -1)) : stdout === own && stderr === ''
    if (!isOwn)
      this.found.push(
        `printed ${JSON.stringify([stdout.slice(0, 200), stderr.slice(0, 400)])}, not its own`,
      )
  }

  #tell(what: string, { status, error, stderr }: Outcome): void {
    this.found.push(`${what} ended ${status}: ${JSON.stringify(error)} ${stderr.slice(0, 400)}`)
  }

  /** True while the session accepts execs; otherwise its end has a reason. */
  async #mayEnd(): Promise<boolean> {
    const last = this.#execs.at(-1)?.outcome
    if (!last?.session?.ended) {
      try {
        await this.#box.files.list()
        return true
      } catch (thrown) {
        if (!(thrown instanceof MayflyError)) throw thrown
        if (thrown.code !== 'SESSION_ENDED') return true
      }
    }
    const life = await this.#box.close()
    if (life.status === 'ok') this.found.push('its session was ended as ok')
    return false
  }

  async #exec(asked: RunRequest): Promise<Outcome | undefined> {
    const run = async (): Promise<SeenExec> => {
      const began = performance.now()
      const outcome = await this.#box.run(asked)
      return { outcome, tookMs: performance.now() - began }
    }
    try {
      const seen = await retried(run, ({ code }) => code === 'OVERLOADED')
      const { outcome } = seen
      this.#execs.push(seen)
      this.#escaped(outcome)
      const { session } = outcome
      if (!session || session.id !== this.#box.id) this.found.push('it names another session')
      this.#isLost ||= session?.state === 'lost'
      return outcome
    } catch (thrown) {
      const isOver = thrown instanceof MayflyError && thrown.code === 'SESSION_ENDED'
      if (!isOver) throw thrown
      if (this.#hostile.spares !== 'session')
        this.found.push(`its session ended: ${thrown.message}`)
      return undefined
    }
  }

  /** Evidence of the program itself, which sees what the host does not. */
  #escaped({ stdout, stderr, result }: Outcome): void {
    const text = [stdout, stderr, JSON.stringify(result)].join('\n')
    const said = new RegExp(`${escapedWord}[^"\\\\\n]*`).exec(text)
    if (said) this.found.push(said[0].slice(0, 80))
  }

  /** Two lines of the record for each exec and for the life, under ids that occur once. */
  #recorded(life: Outcome): void {
    using log = openLog(join(this.#field.state, 'audit.db'))
    const outcomes = [...this.#execs.map(({ outcome }) => outcome), life]
    if (new Set(outcomes.map(({ id }) => id)).size !== outcomes.length)
      this.found.push('two execs have one id')
    for (const { id, status, evidence } of outcomes) {
      const lines = log.last(10, id).filter(({ kind }) => kind === 'admitted' || kind === 'ended')
      const [begin, end] = lines
      const isWhole = lines.length === 2 && begin?.kind === 'admitted' && end?.kind === 'ended'
      if (!isWhole) this.found.push(`"${id}" has ${lines.length} lines`)
      else if (end.seq !== evidence.audit || end.hash !== evidence.hash || end.status !== status)
        this.found.push(`the record says ${end.status} at ${end.seq} of "${id}"`)
    }
  }

  /** Times of an exec are within those that its caller saw, and all together within those of the life. */
  #charged(life: Outcome): void {
    const cores = availableParallelism()
    for (const { outcome, tookMs } of this.#execs) {
      const { executionTime, cpuTime } = outcome.metrics
      if (!(executionTime >= 0 && executionTime <= tookMs))
        this.found.push(`an exec of ${tookMs} ms claims ${executionTime} ms`)
      if (!(cpuTime >= 0 && cpuTime <= tookMs * cores + CPU_SLACK_MS))
        this.found.push(`an exec of ${tookMs} ms is charged ${cpuTime} ms`)
    }
    const all = this.#execs.reduce((sum, { outcome }) => sum + outcome.metrics.cpuTime, 0)
    if (all > life.metrics.cpuTime + CPU_SLACK_MS * this.#execs.length)
      this.found.push(`its execs are charged ${all} ms, its life ${life.metrics.cpuTime} ms`)
  }

  /** Processes of its namespace, by the host's /proc. The kernel gives the number of a namespace that is gone to a later wall. */
  #survivors(): readonly number[] {
    const inside = this.#inside()
    const first = firstOf(inside)
    return first === undefined || first === this.#first ? inside : []
  }

  #inside(): readonly number[] {
    const isInside = (pid: number) => {
      try {
        return readlinkSync(`/proc/${pid}/ns/pid`) === this.#namespace && isRunning(pid)
      } catch {
        return false
      }
    }
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter(isInside)
  }
}

/** Process 1 of a namespace, with its start time; undefined if it is not among them. */
function firstOf(pids: readonly number[]): string | undefined {
  for (const pid of pids)
    try {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8')
      if (!/^NSpid:.*\t1$/m.test(status)) continue
      const startTime = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ')[19]
      return `${pid} ${startTime}`
    } catch {
      // Race: the process has ended.
    }
  return undefined
}
