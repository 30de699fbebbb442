import { type Anomaly, nameCharactersMax, type ObservedFact } from '../contract/anomaly.ts'
import { MayflyError } from '../contract/error.ts'
import type { Task, TaskEnd } from '../contract/provider.ts'
import type { LifeHandle, LifeObserver, SupervisedRun, TaskListener } from '../contract/pipeline.ts'
import { cutShort } from '../contract/task-end.ts'
import { bytesEntropyOf } from './entropy.ts'
import { type Honeytoken, TokenScanner } from './honeytokens.ts'
import { withDecodedJson, guestTextOf } from './guest-text.ts'
import type { LifeWatcher } from './life-watcher.ts'
import { OutputReports, type OutputReportParts, watchActor } from './output-reports.ts'

export interface OutputScanParts extends OutputReportParts {
  readonly watching: LifeWatcher
  /** Called for each anomaly after the supervisor, with the new score. */
  found(run: string, anomaly: Anomaly, behaviorScore: number): void
  /** Honeytokens of a run. */
  tokens(run: string): readonly Honeytoken[]
}

/**
 * Observes a life: scans guest output and calls for honeytokens and blocks them, and reports anomalies to the life.
 */
export function observeGuest(parts: OutputScanParts): LifeObserver {
  const { watching } = parts
  let life: LifeHandle | undefined
  let run = ''
  let reports: OutputReports | undefined
  return {
    attach: (handle) => void (life = handle),
    begin(task, io) {
      run = task.run
      watching.onAnomaly(run, (anomaly, behaviorScore) => {
        const { zone, severity, name, reason } = anomaly
        const fields = { severity, name, reason, behaviorScore }
        life!.notice({ point: 'anomaly/found', zone, fields })
        parts.found(run, anomaly, behaviorScore)
      })
      reports = new OutputReports(parts, run)
      const planted = withPlanted(task, parts.tokens(run))
      return { task: planted, io: scannedIo(run, io, parts, reports) }
    },
    end: (lived) => withheld(lived, run, parts),
    close: () => reports?.close(),
  }
}

/** The working directory is the home folder; files and variables of the job take precedence. */
function withPlanted(task: Task, tokens: readonly Honeytoken[]): Task {
  if (tokens.length === 0) return task
  const own = new Set(task.files.map(({ path }) => path))
  const planted = tokens.flatMap(({ file }) => (file && !own.has(file.path) ? [file] : []))
  const files = [...task.files, ...planted.map((file) => ({ ...file, encoding: 'utf8' as const }))]
  const env = Object.fromEntries(tokens.flatMap(({ env, secret }) => (env ? [[env, secret]] : [])))
  return { ...task, files, env: { ...env, ...task.env } }
}

/** Withholds results and artifacts that contain a honeytoken. */
function withheld(lived: SupervisedRun, run: string, parts: OutputScanParts): SupervisedRun {
  const reason = reasonToWithhold(lived.end, run, parts)
  if (reason === undefined) return lived
  const line = { at: lived.executionTime, zone: 'main', event: 'terminated', reason } as const
  const end = cutShort({ status: 'terminated', reason }, lived.end)
  return { ...lived, end, timeline: [...lived.timeline, line] }
}

/** Reason why an end must not leave; undefined if it carries no honeytoken. */
export function reasonToWithhold(
  end: TaskEnd,
  run: string,
  parts: OutputScanParts,
): string | undefined {
  if (parts.tokens(run).length === 0) return undefined
  const inResult = findsToken(run, parts, 'output', guestTextOf(end))
  const inFiles = end.artifacts.filter(({ bytes }) => findsToken(run, parts, 'file', bytes))
  if (!inResult && inFiles.length === 0) return undefined
  return `A planted secret was seen in its ${inResult ? 'result' : 'files'}`
}

/** True if bytes that leave as a whole carry a honeytoken. */
export function findsToken(
  run: string,
  parts: OutputScanParts,
  where: LeakChannel,
  content: string | Uint8Array,
): boolean {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content
  return new StreamScanner(run, parts, where).findsToken(bytes)
}

function scannedIo(
  run: string,
  io: TaskListener,
  parts: OutputScanParts,
  reports: OutputReports,
): TaskListener {
  const scanner = () => new StreamScanner(run, parts, 'output', reports)
  const [out, err] = [scanner(), scanner()]
  const { call, answered } = io
  return {
    ...io,
    stdout: (chunk) => (out.passesOutput(chunk, 'stdout') ? io.stdout(chunk) : undefined),
    stderr: (chunk) => (err.passesOutput(chunk, 'stderr') ? io.stderr(chunk) : undefined),
    ...(answered && {
      answered(answer) {
        if (!findsToken(run, parts, 'output', guestTextOf(answer))) answered(answer)
      },
    }),
    ...(call && {
      call(name, argsText, zone = 'main') {
        const shown = name.slice(0, nameCharactersMax)
        emitObservation(run, parts, { kind: 'capability', name: shown, denied: false }, zone)
        if (!findsToken(run, parts, 'call', withDecodedJson(argsText)))
          return call(name, argsText, zone)
        const message = `Cannot call "${name}": it carries a planted secret`
        return Promise.reject(new MayflyError('FORBIDDEN', message))
      },
    }),
  }
}

/** Check of one outgoing stream; false for a chunk that completes a honeytoken. */
export function outboundCheck(
  run: string,
  parts: OutputScanParts,
  where: LeakChannel,
): ((piece: Uint8Array) => boolean) | undefined {
  if (parts.tokens(run).length === 0) return undefined
  const scanner = new StreamScanner(run, parts, where)
  return (piece) => !scanner.findsToken(piece)
}

type LeakChannel = Extract<ObservedFact, { kind: 'honeytoken' }>['where']

/** Scanner of one output stream. */
export class StreamScanner {
  readonly #run: string
  readonly #parts: OutputScanParts
  readonly #where: LeakChannel
  readonly #scanner: TokenScanner | undefined
  readonly #reports: OutputReports | undefined
  /** Chunks too short to estimate entropy. */
  #short: Uint8Array = new Uint8Array()

  constructor(run: string, parts: OutputScanParts, where: LeakChannel, reports?: OutputReports) {
    const planted = parts.tokens(run)
    this.#run = run
    this.#parts = parts
    this.#where = where
    this.#reports = reports
    this.#scanner = planted.length > 0 ? new TokenScanner(planted) : undefined
  }

  /** Reports a chunk of output; false if it completes a honeytoken. */
  passesOutput(piece: Uint8Array, stream: 'stdout' | 'stderr'): boolean {
    const block = this.#short.length === 0 ? piece : Buffer.concat([this.#short, piece])
    const entropy = bytesEntropyOf(block)
    this.#short = entropy === undefined ? block : new Uint8Array()
    const measured = entropy === undefined ? {} : { entropy }
    const seen = { kind: 'output', stream, bytes: piece.length, ...measured } as const
    this.#parts.watching.observe(this.#run, { zone: 'main', trust: 'host', seen })
    this.#reports?.note(piece.length, entropy)
    return !this.findsToken(piece)
  }

  /** True if the chunk completes a honeytoken. */
  findsToken(piece: Uint8Array): boolean {
    const found = this.#scanner?.scan(piece) ?? []
    for (const token of found)
      emitObservation(this.#run, this.#parts, { kind: 'honeytoken', token, where: this.#where })
    return found.length > 0
  }
}

/** Emits an observation before it reaches the detectors, so that conditions count it even if an anomaly ends the life. */
function emitObservation(
  run: string,
  { emitter, watching }: OutputScanParts,
  seen: Extract<ObservedFact, { kind: 'capability' | 'honeytoken' }>,
  zone = 'main',
): void {
  const { kind, ...fields } = seen
  emitter.emit(`seen/${kind}`, fields, { run, zone, actor: watchActor })
  watching.observe(run, { zone, trust: 'host', seen })
}
