import { fstatSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { MayflyError } from '../contract/error.ts'
import { exitCodeOf } from '../contract/exit-codes.ts'
import type { JobRequest } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import { outcomeFor } from '../contract/outcome-for.ts'
import { wordedFor } from '../contract/remedy.ts'
import type { OutputListener } from '../contract/pipeline.ts'
import type { PlannedRun } from '../gateway/local/client.ts'
import { anyEvent } from '../lib/any-event.ts'
import { sanitise, sanitiseLine } from '../output/sanitise.ts'
import type { ArtifactsFolder, UnsavedArtifact } from './artifacts-folder.ts'
import { attachedRunner } from './attachment.ts'
import { splitFileFlag } from './file-flag.ts'
import { shownSize } from './format-value.ts'
import { mayImport } from './package-imports.ts'
import { passedExitCode } from './passed-exit-code.ts'
import type { OpenPackages } from './packages.ts'
import type { PictureFile } from './picture-file.ts'
import { note, printJson } from './print.ts'
import { onReaderGone } from './broken-pipe.ts'
import type { RanProgram } from './report.ts'
import type { RunFlags } from './run-flags.ts'
import { requestOf } from './run-request.ts'
import type { Runner, RunnerCaller, RunnerOptions } from './runner.ts'
import { shortOutcome } from './short-outcome.ts'
import { stopSignal } from './stop-signal.ts'

/**
 * `mayfly run`: runs a job on a server that this process attached to, or with a pipeline of its own.
 * Loaded before that is decided, so large modules are imported dynamically.
 */
export async function runFile(
  file: string,
  args: readonly string[],
  flags: RunFlags,
): Promise<void> {
  using packages = await packagesFor(file, await requestOf(file, args, flags), flags)
  if (process.env['MAYFLY_ROLE']) (await import('./role.ts')).askForRights()
  const request = await fed(packages.request, file, flags)
  await using picture = flags.picture === undefined ? undefined : await pictureAt(flags)
  await using folder = flags.artifacts === undefined ? undefined : await folderAt(flags.artifacts)
  const layers = packages.layers.map(({ layer }) => layer)
  const options: RunnerOptions = { flags, jobFolders: foldersOf(file, flags) }
  await using runner: Runner = attachedRunner() ?? (await ownRunner(options))
  await runner.prepare(options)
  const cancel = new AbortController()
  void stopSignal().then(() => cancel.abort())
  onReaderGone(() => cancel.abort())
  let planned: PlannedRun | undefined
  const keep = flags.explain ? (found: PlannedRun) => void (planned = found) : undefined
  const run = (asked: JobRequest) =>
    runWatched((caller) => runner.run(asked, layers, caller), flags, cancel.signal, keep)
  const ended = await run(request).catch(async (thrown: unknown) => {
    if (!takesNoStdin(thrown)) throw await named(thrown, flags)
    note(flags, `Standard input is not used: ${detailsOf(thrown)[0]!.message}`)
    const { stdin: _unused, ...unfed } = request
    return run(unfed)
  })
  const outcome: Outcome = {
    ...outcomeFor('run', ended),
    server: runner.way,
  }
  const unsaved = (await folder?.save(outcome.artifacts)) ?? []
  await picture?.save(outcome)
  endLine()
  if (flags.json) printJson(flags.short ? shortOutcome(outcome) : outcome)
  else if (!isOneDocument(flags)) {
    const { code = '', language } = request
    await printOutcome(outcome, { file, code, language, isJob: true }, flags)
    if (flags.explain) await explainRun(runner, planned)
  }
  if (outcome.evidence.because !== undefined)
    (await import('./report.ts')).warnOfMissingCapture(outcome, flags)
  reportUnsaved(unsaved, outcome, flags)
  for (const warning of outcome.warnings ?? []) note(flags, `Warning: ${sanitiseLine(warning)}`)
  if (file !== '-') await tellUnread(request, flags)
  process.exitCode = exitCodeFor(outcome, flags) || (unsaved.length > 0 ? UNSAVED : 0)
}

/** Exit code of a successful job whose artifacts could not be saved. */
const UNSAVED = 9

async function ownRunner(options: RunnerOptions): Promise<Runner> {
  const { openOwnRunner } = await import('./own-runner.ts')
  return openOwnRunner(options)
}

/** Folders from which this job is read, or to which it is written. */
function foldersOf(file: string, flags: RunFlags): readonly string[] {
  const source = file === '-' ? [] : [dirname(file)]
  const { file: files = [], packages, artifacts } = flags
  const brought = [
    ...files.map((one) => splitFileFlag(one).from),
    ...(Array.isArray(packages) ? packages : []),
  ]
  const named = [...source, ...brought, ...(artifacts === undefined ? [] : [artifacts])]
  return named.map((path) => resolve(path))
}

const noPackages = { layers: [], [Symbol.dispose]: () => undefined }

async function packagesFor(
  file: string,
  request: JobRequest,
  flags: RunFlags,
): Promise<OpenPackages> {
  // Commander's default is true if neither flag was given.
  const asked = (flags.packages as unknown) === true ? undefined : flags.packages
  if (asked === false || (asked === undefined && !mayImport(request)))
    return { request, ...noPackages }
  const { openPackages } = await import('./packages.ts')
  return await openPackages({ file, request, asked, note: (text) => note(flags, text) })
}

/** Adds piped stdin, unless the program has another input. Throws MayflyError USAGE. */
async function fed(request: JobRequest, file: string, flags: RunFlags): Promise<JobRequest> {
  if (file === '-' || 'input' in request || request.calls) return request
  const { readStdin } = await import('./stdin.ts')
  const { code = '', language, files = [] } = request
  const stdin = await readStdin({
    language,
    sources: [code, ...files.map(({ content = '' }) => content)],
    isAsked: flags.stdin ?? false,
    note: (text) => note(flags, text),
  })
  return stdin === undefined ? request : { ...request, stdin }
}

/** A refusal by fields of the job as one of flags. */
async function named(thrown: unknown, flags: RunFlags): Promise<unknown> {
  if (!(thrown instanceof MayflyError) || thrown.code !== 'INVALID') return thrown
  const { namingFlag } = await import('./name-flag.ts')
  return namingFlag(thrown, flags)
}

/** Detects that analysis chose a language without stdin, e.g. an isolate. */
function takesNoStdin(thrown: unknown): boolean {
  return thrown instanceof MayflyError && detailsOf(thrown)[0]?.path === 'stdin'
}

function detailsOf(
  thrown: unknown,
): readonly { readonly path: string; readonly message: string }[] {
  const { details } = thrown as { readonly details?: unknown }
  return Array.isArray(details) ? details : []
}

async function tellUnread({ stdin, language }: JobRequest, flags: RunFlags): Promise<void> {
  if (stdin !== undefined || flags.quiet) return
  const { hasUnread } = await import('./stdin.ts')
  if (!(await hasUnread())) return
  const hasInput = language === 'wasm' || flags.input !== undefined || flags.batch !== undefined
  note(
    flags,
    hasInput
      ? 'Standard input was not used: the program reads --input there'
      : 'Standard input was not used: the source does not seem to read it (--stdin passes it on)',
  )
}

function exitCodeFor(outcome: Outcome, { passExitCode }: RunFlags): number {
  return passExitCode ? passedExitCode(outcome) : exitCodeOf[outcome.status]
}

async function runWatched(
  run: (caller: RunnerCaller) => Promise<Outcome>,
  flags: RunFlags,
  signal: AbortSignal,
  onPlanned: ((planned: PlannedRun) => void) | undefined,
): Promise<Outcome> {
  const print = isOneDocument(flags) ? undefined : printer()
  const caller: RunnerCaller = { signal, tap: print, planned: onPlanned }
  if (!flags.watch || flags.quiet) return run(caller)

  const [{ watch }, { systemClock }] = await Promise.all([
    import('./watch.ts'),
    import('../contract/clock.ts'),
  ])

  using watching = watch({ stream: process.stderr, clock: systemClock })
  const { on } = watching
  const planned = (found: PlannedRun) => {
    onPlanned?.(found)
    watching.planned(found.profile)
  }
  const outcome = await run({ signal, tap: watching.tap(print), planned, on })
  watching.end(outcome)
  return outcome
}

async function printOutcome(outcome: Outcome, ran: RanProgram, flags: RunFlags): Promise<void> {
  const { report } = await import('./report.ts')
  report(outcome, ran, flags)
  if (!flags.explain) return
  const { explainText } = await import('./explain.ts')
  note({}, explainText(outcome))
}

/** Reports the reachable surface of each phase, for the actual wall, and which process ran the job. */
async function explainRun({ way, about }: Runner, planned: PlannedRun | undefined): Promise<void> {
  if (planned) {
    const { tier, language } = planned.profile
    if (tier === 'isolate' || tier === 'process') {
      const { surfaceReportOf, reportText } = await import('./policy-surface.ts')
      // A JavaScript realm runs in a worker on either tier, and workers have no sentinel.
      const wall = language === 'js' || language === 'ts' ? 'isolate' : tier
      note(
        {},
        reportText(
          surfaceReportOf(planned.profile, wall, wall === 'process' && planned.hasSentinel),
        ),
      )
    }
  }
  note({}, way === 'attached' ? `Server: ${about}` : `Server: none, ${about}`)
}

/** Prints output live: its text, sanitised, on a TTY, and its bytes elsewhere. */
function printer(): OutputListener {
  return async (stream: 'stdout' | 'stderr', text: string, bytes?: Uint8Array) => {
    const out = process[stream]
    if (text !== '') last = { stream, isEnded: text.endsWith('\n') }
    if (out.destroyed || out.write(out.isTTY ? sanitise(text) : (bytes ?? text))) return
    await (waits[stream] ??= anyEvent(out, ['drain', 'close']).finally(() => delete waits[stream]))
  }
}

/** Pending 'drain' of each stream, shared by all chunks that wait for it (back-pressure). */
const waits: { stdout?: Promise<void>; stderr?: Promise<void> } = {}

/** Stream printed last. */
let last: { readonly stream: 'stdout' | 'stderr'; readonly isEnded: boolean } | undefined

/** Ends an unfinished line before printing to stderr, if both streams are the same terminal or pipe. */
function endLine(): void {
  if (!last || last.isEnded) return
  if (last.stream === 'stderr' || areOne()) process.stderr.write('\n')
  last = undefined
}

function areOne(): boolean {
  const [out, err] = [fstatSync(1), fstatSync(2)]
  return out.ino === err.ino && out.dev === err.dev
}

async function folderAt(folder: string): Promise<ArtifactsFolder> {
  const { openArtifactsFolder } = await import('./artifacts-folder.ts')
  return openArtifactsFolder(folder)
}

/** Maximum of files named individually. */
const namedMax = 10

/** Prints to stderr, also with `--json`. */
function reportUnsaved(
  unsaved: readonly UnsavedArtifact[],
  outcome: Outcome,
  flags: RunFlags,
): void {
  for (const { path: place, because } of unsaved)
    process.stderr.write(`Not saved: ${sanitiseLine(place)} (${sanitiseLine(because)})\n`)
  const { artifacts, artifactsLeftOut } = outcome
  if (flags.artifacts === undefined && !flags.json && artifacts.length > 0)
    note(flags, `Not saved: ${namesOf(artifacts)} (--artifacts FOLDER writes the files of a job)`)
  for (const { path: place, because } of artifactsLeftOut.slice(0, namedMax))
    note(flags, sanitiseLine(`Left out: ${place}: ${because}`))
  const more = artifactsLeftOut.length - namedMax
  if (more > 0) note(flags, `Left out: ${more} more files`)
  adviseOnLeftOut(outcome, flags)
}

/** Tells what brings the files that were left out: a higher limit of all together does not help a single one that is too large. */
function adviseOnLeftOut({ artifactsLeftOut, profile }: Outcome, flags: RunFlags): void {
  const isAny = (pattern: RegExp) => artifactsLeftOut.some(({ because }) => pattern.test(because))
  if (isAny(/a single artifact at most/))
    note(flags, 'No flag raises the limit of a single artifact: write it in parts, or compress it')
  if (!isAny(/too (large|much)|larger/)) return
  const row = profile.explain.find(({ field }) => field === 'limits.artifacts')
  if (typeof row?.value !== 'number') return
  const isOwn = ['asked', 'default', 'limits.artifacts'].includes(row.because)
  const remedy = isOwn
    ? `${wordedFor('run', { field: 'limits.artifacts', value: row.value * 2 })} raises it`
    : `the operator's "${row.because}" holds it there`
  note(flags, `The limit of all artifacts together is ${shownSize(row.value)}; ${remedy}`)
}

function namesOf(files: readonly { readonly path: string }[]): string {
  const named = files.slice(0, namedMax).map(({ path }) => sanitiseLine(path))
  const more = files.length - named.length
  return named.join(', ') + (more > 0 ? ` and ${more} more` : '')
}

async function pictureAt({ picture = '', json }: RunFlags): Promise<PictureFile> {
  if (picture === '-' && json)
    throw new MayflyError('USAGE', 'Cannot print both the outcome and its picture on stdout', {
      hint: 'Name a file for the picture',
    })
  const { openPicture } = await import('./picture-file.ts')
  return openPicture(picture)
}

/** True if stdout must contain a single document. */
function isOneDocument({ json, picture }: RunFlags): boolean {
  return json === true || picture === '-'
}
