import type { Anomaly, Seen } from '../contract/anomaly.ts'
import type { Clock, Timer } from '../contract/clock.ts'
import { MayflyError } from '../contract/error.ts'
import type { Sandbox, Task } from '../contract/provider.ts'
import type { Listener, Supervisor } from '../contract/rooms.ts'
import { entropyOf } from './entropy.ts'
import { type Honeytoken, TokenScanner } from './honeytokens.ts'
import type { Watching } from './watching.ts'

export interface WatchedParts {
  readonly watching: Watching
  /** Hears each anomaly, once the supervisor was told. */
  found(run: string, anomaly: Anomaly): void
  /** The secrets that were planted for this run. */
  tokens(run: string): readonly Honeytoken[]
  readonly clock: Clock
  /** The wall, where its processor time can be asked for while it runs. */
  readonly sandbox?: Pick<Sandbox, 'cpuTime'> | undefined
}

/** Between two looks at the processor time. */
export const sampleMs = 100

/**
 * A supervisor whose life is watched: what the guest says is looked at as it passes, and each anomaly is told to the
 * supervisor, whose schedule says what to do about it. What would carry a planted secret out does not pass.
 */
export function watched(supervisor: Supervisor, parts: WatchedParts): Supervisor {
  const { watching } = parts
  return {
    async run(task: Task, io: Listener) {
      watching.hear(task.run, (anomaly) => {
        const { zone, severity, name, reason } = anomaly
        supervisor.notice({ point: 'anomaly/found', zone, fields: { severity, name, reason } })
        parts.found(task.run, anomaly)
      })
      const files = withPlanted(task.files, parts.tokens(task.run))
      const sampler = new Sampler(task.run, parts)
      try {
        const lived = await supervisor.run({ ...task, files }, overheard(task.run, io, parts))
        new Ear(task.run, parts, 'output').hears(Buffer.from(lived.end.resultText))
        return lived
      } finally {
        sampler.stop()
      }
    },
    tighten: (to, by) => supervisor.tighten(to, by),
    terminate: (by) => supervisor.terminate(by),
    zone: (zone, kind) => supervisor.zone(zone, kind),
    gone: (zone) => supervisor.gone(zone),
    notice: (event) => supervisor.notice(event),
    [Symbol.asyncDispose]: () => supervisor[Symbol.asyncDispose](),
  }
}

/** Files lie in the working directory, which is the home folder; one of the job's own stays as it is. */
function withPlanted(files: Task['files'], tokens: readonly Honeytoken[]): Task['files'] {
  const own = new Set(files.map(({ path }) => path))
  const planted = tokens.flatMap(({ file }) => (file && !own.has(file.path) ? [file] : []))
  return [...files, ...planted.map((file) => ({ ...file, encoding: 'utf8' as const }))]
}

function overheard(run: string, io: Listener, parts: WatchedParts): Listener {
  const [out, err] = [new Ear(run, parts, 'output'), new Ear(run, parts, 'output')]
  const { call } = io
  return {
    ...io,
    stdout: (chunk) => (out.takes(chunk) ? io.stdout(chunk) : undefined),
    stderr: (chunk) => (err.takes(chunk) ? io.stderr(chunk) : undefined),
    ...(call && {
      call(name, argsText) {
        const hasSecret = new Ear(run, parts, 'call').hears(Buffer.from(argsText))
        if (!hasSecret) return call(name, argsText)
        return Promise.reject(
          new MayflyError('FORBIDDEN', `Cannot call "${name}": it carries a planted secret`),
        )
      },
    }),
  }
}

/** Asks a wall for its processor time as long as it lives; where it cannot tell, asks nothing. */
class Sampler {
  readonly #run: string
  readonly #parts: WatchedParts
  #timer: Timer | undefined

  constructor(run: string, parts: WatchedParts) {
    this.#run = run
    this.#parts = parts
    if (parts.sandbox?.cpuTime) this.#wait()
  }

  stop(): void {
    this.#timer?.cancel()
  }

  #wait(): void {
    this.#timer = this.#parts.clock.after(sampleMs, () => {
      const used = this.#parts.sandbox?.cpuTime?.()
      if (used !== undefined) this.#tell(used)
      this.#wait()
    })
    this.#timer.unref?.()
  }

  #tell(used: number): void {
    const seen = { kind: 'cpu', used } as const
    this.#parts.watching.see(this.#run, { zone: 'main', trust: 'host', seen })
  }
}

/** One way out of a guest, listened to. */
class Ear {
  readonly #run: string
  readonly #watching: Watching
  readonly #where: 'output' | 'call'
  readonly #scanner: TokenScanner | undefined

  constructor(run: string, { watching, tokens }: WatchedParts, where: 'output' | 'call') {
    const planted = tokens(run)
    this.#run = run
    this.#watching = watching
    this.#where = where
    this.#scanner = planted.length > 0 ? new TokenScanner(planted) : undefined
  }

  /** Tells of a piece of output; false for one that makes a planted secret whole. */
  takes(piece: Uint8Array): boolean {
    const entropy = entropyOf(piece)
    this.#tell({ kind: 'output', bytes: piece.length, ...(entropy !== undefined && { entropy }) })
    return !this.hears(piece)
  }

  /** Whether a planted secret is in it. */
  hears(piece: Uint8Array): boolean {
    const found = this.#scanner?.scan(piece) ?? []
    for (const token of found) this.#tell({ kind: 'honeytoken', token, where: this.#where })
    return found.length > 0
  }

  #tell(seen: Seen): void {
    this.#watching.see(this.#run, { zone: 'main', trust: 'host', seen })
  }
}
