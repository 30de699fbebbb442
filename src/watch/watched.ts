import { type Anomaly, nameCharactersMax, type ObservedFact } from '../contract/anomaly.ts'
import { MayflyError } from '../contract/error.ts'
import type { Task } from '../contract/provider.ts'
import type { TaskListener, SupervisedRun, Supervisor } from '../contract/pipeline.ts'
import { cutShort } from '../contract/task-end.ts'
import { entropyOf } from './entropy.ts'
import { type Honeytoken, TokenScanner } from './honeytokens.ts'
import { saidIn, saidOf } from './told.ts'
import type { Watching } from './watching.ts'

export interface WatchedParts {
  readonly watching: Watching
  /** Hears each anomaly, and the score with it, once the supervisor was told. */
  found(run: string, anomaly: Anomaly, behaviorScore: number): void
  /** The secrets that were planted for this run. */
  tokens(run: string): readonly Honeytoken[]
}

/**
 * A supervisor whose life is watched: what the guest says is looked at as it passes, and each anomaly is told to the
 * supervisor, whose schedule says what to do about it. What would carry a planted secret out does not pass.
 */
export function watched(supervisor: Supervisor, parts: WatchedParts): Supervisor {
  const { watching } = parts
  return {
    async run(task: Task, io: TaskListener) {
      watching.hear(task.run, (anomaly, behaviorScore) => {
        const { zone, severity, name, reason } = anomaly
        const fields = { severity, name, reason, behaviorScore }
        supervisor.notice({ point: 'anomaly/found', zone, fields })
        parts.found(task.run, anomaly, behaviorScore)
      })
      const planted = withPlanted(task, parts.tokens(task.run))
      const lived = await supervisor.run(planted, overheard(task.run, io, parts))
      return withheld(lived, task.run, parts)
    },
    tighten: (to, by) => supervisor.tighten(to, by),
    terminate: (by) => supervisor.terminate(by),
    zone: (zone, kind, about) => supervisor.zone(zone, kind, about),
    gone: (zone) => supervisor.gone(zone),
    notice: (event) => supervisor.notice(event),
    get isOver() {
      return supervisor.isOver
    },
    [Symbol.asyncDispose]: () => supervisor[Symbol.asyncDispose](),
  }
}

/** Files lie in the working directory, which is the home folder; what is the job's own stays as it is. */
function withPlanted(task: Task, tokens: readonly Honeytoken[]): Task {
  if (tokens.length === 0) return task
  const own = new Set(task.files.map(({ path }) => path))
  const planted = tokens.flatMap(({ file }) => (file && !own.has(file.path) ? [file] : []))
  const files = [...task.files, ...planted.map((file) => ({ ...file, encoding: 'utf8' as const }))]
  const env = Object.fromEntries(tokens.flatMap(({ env, secret }) => (env ? [[env, secret]] : [])))
  return { ...task, files, env: { ...env, ...task.env } }
}

/** What it answers in the end, and the files it leaves, carry no planted secret out either. */
function withheld(lived: SupervisedRun, run: string, parts: WatchedParts): SupervisedRun {
  if (parts.tokens(run).length === 0) return lived
  const { artifacts } = lived.end
  const isSaid = new Ear(run, parts, 'output').hears(Buffer.from(saidOf(lived.end)))
  const inFiles = artifacts.filter(({ bytes }) => new Ear(run, parts, 'file').hears(bytes))
  if (!isSaid && inFiles.length === 0) return lived
  const reason = `A planted secret was seen in its ${isSaid ? 'result' : 'files'}`
  const line = { at: lived.executionTime, zone: 'main', event: 'terminated', reason } as const
  const end = cutShort({ status: 'terminated', reason }, lived.end)
  return { ...lived, end, timeline: [...lived.timeline, line] }
}

function overheard(run: string, io: TaskListener, parts: WatchedParts): TaskListener {
  const [out, err] = [new Ear(run, parts, 'output'), new Ear(run, parts, 'output')]
  const { call, answered } = io
  return {
    ...io,
    stdout: (chunk) => (out.takes(chunk) ? io.stdout(chunk) : undefined),
    stderr: (chunk) => (err.takes(chunk) ? io.stderr(chunk) : undefined),
    ...(answered && {
      answered(answer) {
        const hasSecret = new Ear(run, parts, 'output').hears(Buffer.from(saidOf(answer)))
        if (!hasSecret) answered(answer)
      },
    }),
    ...(call && {
      call(name, argsText, zone = 'main') {
        const seen = {
          kind: 'capability',
          name: name.slice(0, nameCharactersMax),
          denied: false,
        } as const
        parts.watching.see(run, { zone, trust: 'host', seen })
        const hasSecret = new Ear(run, parts, 'call').hears(Buffer.from(saidIn(argsText)))
        if (!hasSecret) return call(name, argsText, zone)
        return Promise.reject(
          new MayflyError('FORBIDDEN', `Cannot call "${name}": it carries a planted secret`),
        )
      },
    }),
  }
}

/** Hears one stream that leaves by another way: false for a piece that makes a planted secret whole. */
export function hearing(
  run: string,
  parts: WatchedParts,
  where: Where,
): ((piece: Uint8Array) => boolean) | undefined {
  if (parts.tokens(run).length === 0) return undefined
  const ear = new Ear(run, parts, where)
  return (piece) => !ear.hears(piece)
}

type Where = Extract<ObservedFact, { kind: 'honeytoken' }>['where']

/** One way out of a guest, listened to. */
class Ear {
  readonly #run: string
  readonly #watching: Watching
  readonly #where: Where
  readonly #scanner: TokenScanner | undefined
  /** What came in pieces that are too short to tell noise from words. */
  #short: Uint8Array = new Uint8Array()

  constructor(run: string, { watching, tokens }: WatchedParts, where: Where) {
    const planted = tokens(run)
    this.#run = run
    this.#watching = watching
    this.#where = where
    this.#scanner = planted.length > 0 ? new TokenScanner(planted) : undefined
  }

  /** Tells of a piece of output; false for one that makes a planted secret whole. */
  takes(piece: Uint8Array): boolean {
    const block = this.#short.length === 0 ? piece : Buffer.concat([this.#short, piece])
    const entropy = entropyOf(block)
    this.#short = entropy === undefined ? block : new Uint8Array()
    this.#tell({ kind: 'output', bytes: piece.length, ...(entropy !== undefined && { entropy }) })
    return !this.hears(piece)
  }

  /** Whether a planted secret is in it. */
  hears(piece: Uint8Array): boolean {
    const found = this.#scanner?.scan(piece) ?? []
    for (const token of found) this.#tell({ kind: 'honeytoken', token, where: this.#where })
    return found.length > 0
  }

  #tell(seen: ObservedFact): void {
    this.#watching.see(this.#run, { zone: 'main', trust: 'host', seen })
  }
}
