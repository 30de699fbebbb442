import { fstatSync } from 'node:fs'
import { constants } from 'node:os'
import { dirname, resolve } from 'node:path'
import type { Command } from 'commander'
import type { Assembly } from '../assemble/assemble.ts'
import { MayflyError } from '../contract/error.ts'
import {
  entries,
  askable,
  languages,
  type Entry,
  type Job,
  type JobRequest,
  type Language,
} from '../contract/job.ts'
import { exitCodeOf, type Outcome } from '../contract/outcome.ts'
import type { Profile } from '../contract/profile.ts'
import type { OutputListener } from '../contract/pipeline.ts'
import { namedTiers, type TierName } from '../contract/tier.ts'
import { sanitise, sanitiseLine } from '../output/sanitise.ts'
import { megabytes } from './format-value.ts'
import type { ArtifactsFolder, UnsavedArtifact } from './artifacts-folder.ts'
import type { OpenPackages } from './packages.ts'
import type { PictureFile } from './picture-file.ts'
import { note, printJson, type Globals } from './print.ts'
import type { RanProgram } from './report.ts'
import { readBytes, readProgram } from './source.ts'
import { nameOf } from './source-name.ts'
import { shortOutcome } from './short-outcome.ts'
import { onReaderGone } from './reader-gone.ts'
import { stopSignal } from './stop-signal.ts'
import { parseJson } from '../lib/parse-json.ts'

interface RunFlags extends Globals {
  readonly language?: Language
  readonly entry?: Entry
  readonly tier?: TierName
  readonly floor?: TierName
  readonly shadow?: TierName
  readonly provider?: string
  readonly input?: string
  readonly batch?: string
  readonly file?: readonly string[]
  readonly fileSecrets?: boolean
  readonly packages?: readonly string[] | false
  readonly signature?: readonly string[]
  readonly schedule?: string
  readonly timeout?: string
  readonly memory?: string
  readonly cpu?: number
  readonly disk?: string
  readonly output?: string
  readonly artifactsMax?: string
  readonly processes?: number
  readonly instructions?: number
  readonly env?: readonly string[]
  readonly passExitCode?: boolean
  readonly stdin?: boolean
  readonly allow?: readonly string[]
  readonly capability?: readonly Capability[]
  readonly outputSchema?: string
  readonly artifacts?: string
  readonly idempotent?: boolean
  readonly capture?: boolean
  readonly trace?: boolean
  readonly explain?: boolean
  readonly watch?: boolean
  readonly picture?: string
}

type Capability = (typeof askable)[number]
/** Exit code of a successful job whose artifacts could not be saved. */
const UNSAVED = 9

export function register(program: Command): void {
  program
    .command('run')
    .description('run one job here, without a server')
    .argument('<file>', 'the program; - reads it from stdin')
    .argument('[args...]', 'behind --: arguments of the program')
    .option('--language <name>', `one of ${languages.join(' ')}`, oneOf('language', languages))
    .option('--entry <kind>', `one of ${publicEntries.join(' ')}`, oneOf('entry', publicEntries))
    .option('--tier <tier>', 'exactly this kind of wall', oneOf('tier', namedTiers))
    .option('--floor <tier>', 'at least this kind of wall', oneOf('floor', namedTiers))
    .option('--shadow <tier>', 'run it on that tier too, and compare', oneOf('shadow', namedTiers))
    .option('--provider <name>', 'exactly this provider')
    .option('--input <json>', 'JSON, or @FILE')
    .option('--batch <json>', 'a list of inputs, or @FILE: one call for each, in one sandbox')
    .option('--file <path...>', 'a file or folder the job brings; PATH or PATH=NAME INSIDE')
    .option(
      '--file-secrets',
      'bring .env, .git, keys and the like as well, where a folder has them',
    )
    .option(
      '--packages <folder...>',
      'a project, node_modules, virtual environment or folder of wheels, read-only',
    )
    .option('--no-packages', 'leave out the node_modules beside the program')
    .option(
      '--env <variable>',
      'NAME=VALUE for its environment; NAME passes on that of Mayfly',
      each,
    )
    .option('--stdin', 'wait for the end of standard input, however long that takes')
    .option('--signature <file...>', 'what "mayfly keys sign" made of it')
    .option('--schedule <name>', 'a schedule of the configuration')
    .option('--timeout <time>', 'such as 500ms or 5s')
    .option('--memory <size>', 'such as 64MB')
    .option('--cpu <cores>', 'such as 0.5', number)
    .option('--disk <size>', 'such as 64MB: files of the job and those it makes')
    .option('--output <size>', 'such as 1MB: the most of each of stdout and stderr')
    .option('--artifacts-max <size>', 'such as 16MB: the most of all artifacts together')
    .option('--processes <count>', 'the most processes and threads', number)
    .option('--instructions <count>', 'the most that a WebAssembly module may run', number)
    .option('--allow <host...>', 'hosts it may reach')
    .option('--capability <name...>', `of ${askable.join(' ')}`, eachOf('capability', askable))
    .option('--output-schema <file>', 'a JSON Schema that the result must match')
    .option('--artifacts <folder>', 'where to put the files it made')
    .option('--pass-exit-code', 'exit as the program did, where it ended by itself')
    .option('--idempotent', 'may be run again')
    .option('--capture', 'keep what it holds in memory at its end')
    .option('--trace', 'tell which functions of js or ts ran, in which zone')
    .option('--explain', 'say why this sandbox, field by field')
    .option('--watch', 'draw on stderr how it goes while it runs')
    .option('--picture <file>', 'where to put a picture of its life, as SVG; - is stdout')
    .addHelpText('after', examples)
    .action(async (file: string, args: readonly string[], _own, command: Command) => {
      const flags = command.optsWithGlobals<RunFlags>()
      const words = wordsOf(args, flags)
      await runFile(file, words.args, { ...flags, env: words.env })
    })
}

const publicEntries = entries.filter((entry) => entry !== 'function')
const examples = `
Examples:
  mayfly run hello.js --input '{"name":"Ada"}'
  echo 'return input * 2' | mayfly run - --input 21
  mayfly run page.js --file node_modules/marked/lib/marked.esm.js=marked.js --json
  mayfly run risky.js --tier isolate --timeout 300ms --memory 32MB --explain`

/**
 * Splits words: after `--` arguments; before it further variables, as in `--env A=1 B=2`. A second file is an error.
 * Throws MayflyError USAGE.
 */
function wordsOf(words: readonly string[], { env = [] }: RunFlags) {
  const dashes = process.argv.indexOf('--')
  const behind = dashes < 0 ? 0 : process.argv.length - dashes - 1
  const ahead = words.slice(0, Math.max(0, words.length - behind))
  const stray = ahead.find((word) => env.length === 0 || !/^[A-Za-z_]\w*=/.test(word))
  if (stray === undefined) return { args: words.slice(ahead.length), env: [...env, ...ahead] }
  throw new MayflyError('USAGE', `Cannot take "${stray}": a job has one file`, {
    hint: 'Arguments of the program come behind --, as in mayfly run FILE -- a b',
  })
}

async function runFile(file: string, args: readonly string[], flags: RunFlags): Promise<void> {
  const { openAssembly } = await import('./open-assembly.ts')
  using packages = await packagesFor(file, await requestOf(file, args, flags), flags)
  const request = await fed(packages.request, file, flags)
  await using folder = flags.artifacts === undefined ? undefined : await folderAt(flags.artifacts)
  await using picture = flags.picture === undefined ? undefined : await pictureAt(flags)
  const jobFolders = foldersOf(file, flags)
  const { assembly, close } = await openAssembly(flags, 'once', { jobFolders })
  if (flags.allow) await mayAllow(flags.allow, assembly, close)
  const cancel = new AbortController()
  void stopSignal().then(() => cancel.abort())
  onReaderGone(() => cancel.abort())
  try {
    const { newJob } = await import('../job.ts')
    const layers = packages.layers.map(({ layer }) => layer)
    const who = { tenant: 'default', principal: 'cli', origin: 'cli', packages: layers } as const
    let job = newJob(request, who, assembly.clock)
    let planned: Profile | undefined
    const keep = (profile: Profile) => void (planned = profile)
    const run = () => runWatched(job, assembly, flags, cancel.signal, keep)
    const outcome = await run().catch((thrown: unknown) => {
      if (!takesNoStdin(thrown)) throw thrown
      note(flags, `Standard input is not used: ${detailsOf(thrown)[0]!.message}`)
      const { stdin: _unused, ...unfed } = request
      job = newJob(unfed, who, assembly.clock)
      return run()
    })
    const unsaved = (await folder?.save(outcome.artifacts)) ?? []
    await picture?.save(outcome)
    endLine()
    if (flags.json) printJson(flags.short ? shortOutcome(outcome) : outcome)
    else if (!isOneDocument(flags)) await tell(outcome, ranOf(job, file), flags)
    if (planned && flags.explain && !isOneDocument(flags)) await tellReach(planned, assembly)
    tellUnsaved(unsaved, outcome, flags)
    if (file !== '-') await tellUnread(request, flags)
    process.exitCode = exitCodeFor(outcome, flags) || (unsaved.length > 0 ? UNSAVED : 0)
  } finally {
    await close()
  }
}

/** Folders that this job is read from or written to. */
function foldersOf(file: string, flags: RunFlags): readonly string[] {
  const source = file === '-' ? [] : [dirname(file)]
  const { file: files = [], packages, artifacts } = flags
  const brought = [
    ...files.map((one) => one.split('=')[0]!),
    ...(Array.isArray(packages) ? packages : []),
  ]
  const named = [...source, ...brought, ...(artifacts === undefined ? [] : [artifacts])]
  return named.map((path) => resolve(path))
}

async function packagesFor(
  file: string,
  request: JobRequest,
  flags: RunFlags,
): Promise<OpenPackages> {
  const { openPackages } = await import('./packages.ts')
  const say = (text: string) => note(flags, text)
  // Commander's default is true if neither flag was given.
  const asked = (flags.packages as unknown) === true ? undefined : flags.packages
  return await openPackages({ file, request, asked, note: say })
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

async function tellUnread({ stdin }: JobRequest, flags: RunFlags): Promise<void> {
  if (stdin !== undefined || flags.quiet) return
  const { hasUnread } = await import('./stdin.ts')
  if (!(await hasUnread())) return
  const why = flags.input !== undefined || flags.batch !== undefined
  note(
    flags,
    why
      ? 'Standard input was not used: --input is what the program reads there'
      : 'Standard input was not used: nothing in the source seems to read it (--stdin passes it on)',
  )
}

/** Checks hosts before the run; DNS names are checked at lookup. */
async function mayAllow(
  hosts: readonly string[],
  { config }: Assembly,
  close: () => Promise<void>,
): Promise<void> {
  const { checkAllowed } = await import('./check-allow-flag.ts')
  try {
    checkAllowed(hosts, config)
  } catch (thrown) {
    await close()
    throw thrown
  }
}

/** 128 + signal number, as in shells, for a killed program; Mayfly's own exit code for any other end. */
function exitCodeFor({ status, exitCode, signal }: Outcome, { passExitCode }: RunFlags): number {
  if (!passExitCode || (status !== 'ok' && status !== 'error')) return exitCodeOf[status]
  if (signal !== null) return 128 + (constants.signals[signal as NodeJS.Signals] ?? 0)
  return exitCode ?? exitCodeOf[status]
}

async function runWatched(
  job: Job,
  assembly: Assembly,
  flags: RunFlags,
  signal: AbortSignal,
  told: (profile: Profile) => void,
): Promise<Outcome> {
  const print = isOneDocument(flags) ? undefined : printer()
  if (!flags.watch || flags.quiet) return assembly.run(job, { signal, tap: print, planned: told })

  const { watch } = await import('./watch.ts')

  using watching = watch({ stream: process.stderr, clock: assembly.clock })
  const { on } = watching
  const planned = (profile: Profile) => {
    told(profile)
    watching.planned(profile)
  }
  const outcome = await assembly.run(job, { signal, tap: watching.tap(print), planned, on })
  watching.end(outcome)
  return outcome
}

function ranOf({ asked: { code, language } }: Job, file: string): RanProgram {
  return { file, code, language }
}

async function tell(outcome: Outcome, ran: RanProgram, flags: RunFlags): Promise<void> {
  const { report } = await import('./report.ts')
  report(outcome, ran, flags)
  if (!flags.explain) return
  const { explainText } = await import('./explain.ts')
  note({}, explainText(outcome))
}

/** Reports the reachable surface of each phase, for the actual wall. */
async function tellReach(planned: Profile, assembly: Assembly): Promise<void> {
  const { provider, tier, language } = planned
  if (tier !== 'isolate' && tier !== 'process') return
  const { reportOf, reportText } = await import('./policy-surface.ts')
  // A JavaScript realm runs in a worker on either tier, and workers have no sentinel.
  const wall = language === 'js' || language === 'ts' ? 'isolate' : tier
  const its = assembly.proved().find((one) => one.provider.name === provider)?.availability
  const hasSentinel = its?.available === true && its.layers.includes('sentinel')
  note({}, reportText(reportOf(planned, wall, wall === 'process' && hasSentinel)))
}

async function requestOf(
  file: string,
  args: readonly string[],
  flags: RunFlags,
): Promise<JobRequest> {
  const { code, language } = await readProgram(file, flags.language)
  const { entry, tier, floor, shadow, provider, schedule } = flags
  const { timeout, memory, cpu, disk, output, artifactsMax, processes, allow, capability } = flags
  const schema = flags.outputSchema
    ? await readJson(flags.outputSchema, '--output-schema')
    : undefined
  const files = (
    await Promise.all((flags.file ?? []).map((given) => jobFilesOf(given, flags)))
  ).flat()
  return {
    code,
    ...nameOf(file, files),
    ...(language && { language }),
    ...(entry && { entry }),
    ...(flags.input !== undefined && { input: await inputOf(flags.input, '--input') }),
    ...(flags.batch !== undefined && { calls: await callsOf(flags.batch) }),
    ...(flags.signature && (await signaturesOf(flags.signature))),
    files,
    args: [...args],
    ...(flags.env && flags.env.length > 0 && { env: environmentOf(flags.env) }),
    ...(tier && { tier }),
    ...(floor && { floor }),
    ...(shadow && { shadow }),
    ...(provider && { provider }),
    ...(schedule && { schedule }),
    limits: {
      ...(timeout && { timeout: amount(timeout) }),
      ...(memory && { memory: amount(memory) }),
      ...(cpu && { cpu }),
      ...(disk && { disk: amount(disk) }),
      ...(output && { output: amount(output) }),
      ...(artifactsMax && { artifacts: amount(artifactsMax) }),
      ...(processes && { processes }),
      ...(flags.instructions !== undefined && { instructions: flags.instructions }),
    },
    ...(allow && { network: { allow: [...allow] } }),
    ...(capability && { capabilities: [...capability] }),
    ...(schema !== undefined && { output: { schema: schema as Record<string, unknown> } }),
    artifacts: flags.artifacts || flags.json ? 'inline' : 'reference',
    capture: flags.capture ?? false,
    trace: flags.trace ?? false,
    idempotent: flags.idempotent ?? false,
  }
}

/** Parses `NAME=VALUE`, or `NAME` to pass on Mayfly's own; the last one wins. Throws MayflyError USAGE. */
function environmentOf(given: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    given.map((one) => {
      const cut = one.indexOf('=')
      if (cut >= 0) return [one.slice(0, cut), one.slice(cut + 1)]
      const value = process.env[one]
      if (value !== undefined) return [one, value]
      throw new MayflyError('USAGE', `Cannot pass on "${one}": it is not in the environment`, {
        hint: `Give it a value: --env ${one}=VALUE`,
      })
    }),
  )
}

/** A bare number is milliseconds or bytes. */
function amount(text: string): string | number {
  return /^\d+$/.test(text) ? Number(text) : text
}

async function inputOf(text: string, flag: string): Promise<unknown> {
  return text.startsWith('@') ? readJson(text.slice(1), flag) : jsonOf(text, flag)
}

async function callsOf(text: string): Promise<NonNullable<JobRequest['calls']>> {
  const inputs = await inputOf(text, '--batch')
  if (Array.isArray(inputs)) return inputs.map((input: unknown) => ({ input }))
  throw new MayflyError('USAGE', 'Cannot read --batch: expected a list of inputs', {
    hint: `Such as --batch '[1, 2, 3]', or --batch @inputs.json`,
  })
}

async function readJson(file: string, flag: string): Promise<unknown> {
  return jsonOf((await readBytes(file)).toString(), flag)
}

function jsonOf(text: string, flag: string): unknown {
  try {
    return parseJson(text)
  } catch (cause) {
    throw new MayflyError('USAGE', `Cannot read ${flag}: it is not JSON`, {
      hint: `Text needs its quotes: ${flag} '"like this"'`,
      cause,
    })
  }
}

async function signaturesOf(given: readonly string[]): Promise<Partial<JobRequest>> {
  const { readSignatures } = await import('./signature-file.ts')
  return readSignatures(given)
}

async function jobFilesOf(
  given: string,
  flags: RunFlags,
): Promise<NonNullable<JobRequest['files']>> {
  const { jobFiles } = await import('./job-files.ts')
  const heard = (text: string) => note(flags, text)
  return jobFiles(given, { withSecrets: flags.fileSecrets ?? false, note: heard })
}

/** Prints output live, sanitised on a TTY. */
function printer(): OutputListener {
  return async (stream: 'stdout' | 'stderr', text: string) => {
    const out = process[stream]
    if (text !== '') last = { stream, isEnded: text.endsWith('\n') }
    if (out.destroyed || out.write(out.isTTY ? sanitise(text) : text)) return
    await new Promise<void>((resolve) => {
      // A reader may go before it reads.
      for (const event of ['drain', 'close']) out.once(event, () => resolve())
    })
  }
}

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
function tellUnsaved(unsaved: readonly UnsavedArtifact[], outcome: Outcome, flags: RunFlags): void {
  for (const { path: place, because } of unsaved)
    process.stderr.write(`Not saved: ${sanitise(place)} (${sanitise(because)})\n`)
  const { artifactsLeftOut } = outcome
  for (const { path: place, because } of artifactsLeftOut.slice(0, namedMax))
    note(flags, sanitiseLine(`Left out: ${place}: ${because}`))
  const more = artifactsLeftOut.length - namedMax
  if (more > 0) note(flags, `Left out: ${more} more files`)
  if (artifactsLeftOut.some(({ because }) => /too (large|much)|larger/.test(because)))
    note(flags, `Artifacts may have ${bytesIn(outcome)} together; --artifacts-max raises that`)
}

function bytesIn({ profile }: Outcome): string {
  const row = profile.explain.find(({ field }) => field === 'limits.artifacts')
  return typeof row?.value === 'number' ? megabytes(row.value) : 'no more'
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

function oneOf<T extends string>(what: string, words: readonly T[]) {
  return (text: string): T => {
    if ((words as readonly string[]).includes(text)) return text as T
    throw new MayflyError(
      'USAGE',
      `Cannot use ${what} "${text}": expected one of ${words.join(', ')}`,
    )
  }
}

/** Same for an option with several values. */
function eachOf<T extends string>(what: string, words: readonly T[]) {
  const one = oneOf(what, words)
  return (text: string, before: readonly T[] = []): readonly T[] => [...before, one(text)]
}

function each(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text]
}

function number(text: string): number {
  const value = Number(text)
  if (text.trim() !== '' && Number.isFinite(value) && value > 0) return value
  throw new MayflyError('USAGE', `Cannot read "${text}": expected a number above zero`)
}
