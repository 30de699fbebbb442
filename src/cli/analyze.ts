import { accessSync, constants, readdirSync, statSync } from 'node:fs'
import path from 'node:path'
import type { Command } from 'commander'
import { MayflyError } from '../contract/error.ts'
import { sourceName, type Job } from '../contract/job.ts'
import { languageOfName, unknownLanguage } from '../contract/language-words.ts'
import { languageOfShebang } from '../contract/shebang.ts'
import type { Analysis } from '../contract/verdict.ts'
import { attempt } from '../lib/attempt.ts'
import { asOwner } from '../lib/owner-files.ts'
import { note, paint, printJson, printText, type Globals } from './print.ts'
import { readBytes, sourceTextOf } from './source.ts'
import { unreadable } from './unreadable.ts'
import {
  legendOf,
  blockScore,
  entryOf,
  readable,
  sarif,
  syntaxErrorOf,
  unjudgedReason,
  type AnalysedFile,
} from './verdict-report.ts'
import { version } from './version.ts'

interface AnalyzeFlags extends Globals {
  readonly sarif?: boolean
  readonly failOn?: number
}

export function register(program: Command): void {
  program
    .command('analyze')
    .description('analyse code without running it, and print verdicts')
    .argument('<path...>', 'files or folders')
    .option('--sarif', 'print a SARIF 2.1.0 log on stdout')
    .option(
      '--fail-on <score>',
      'exit 3 if a threat score is at least this, or a file was not judged',
      score,
    )
    .addHelpText(
      'after',
      `
Code with a threat score of ${blockScore} or more cannot be registered as an effect. A job is judged by its risk, which selects the
sandbox and blocks only where [escalation] of the configuration says so. JavaScript and TypeScript are read; a file of any other
language is "not judged".`,
    )
    .action(async (given: readonly string[], _own, command: Command) => {
      const flags = command.optsWithGlobals<AnalyzeFlags>()
      if (flags.json && flags.sarif) {
        throw new MayflyError('USAGE', 'Cannot print both JSON and SARIF: choose --json or --sarif')
      }
      await analyzePaths(given, flags)
    })
}

const failedExitCode = 3
/** Limits: files of one command, and concurrent analyses. */
const filesMax = 10_000
const atOnce = 4
/** Characters of files that are read ahead of the first analysis. */
const aheadMax = 2 ** 28

type ReadFile = Job | { readonly because: string }

async function analyzePaths(given: readonly string[], flags: AnalyzeFlags): Promise<void> {
  const files = filesOf(given)
  const { loadCliConfig, wardenOf } = await import('./open-assembly.ts')
  const { roleOf } = await import('./role.ts')
  const loaded = loadCliConfig(flags)
  const role = roleOf()
  const ahead = await readAhead(files)
  const { openAnalysis } = await import('../assemble/analysis.ts')
  const { createAnalyst } = await import('../threat/analyse.ts')

  await using analysis = openAnalysis({ warden: await wardenOf(role, loaded) })
  const analyse = createAnalyst({
    ask: (tenant, text) => analysis.ask(tenant, text),
    emitter: { emit: () => undefined },
  })
  await print(await analyseAll(files, ahead, analyse), flags)
}

/** Files of root's, while this process may read them; one that may ask for that looks whether it can read all. */
async function readAhead(files: readonly string[]): Promise<ReadonlyMap<string, ReadFile>> {
  const { hasRoot } = await import('./role.ts')
  const read = new Map<string, ReadFile>()
  if (!hasRoot())
    for (const file of files) attempt(() => asOwner(file, (at) => accessSync(at, constants.R_OK)))
  let length = 0
  for (const file of hasRoot() ? files : []) {
    if (length > aheadMax) break
    const job = await jobOf(file)
    read.set(file, job)
    length += 'because' in job ? 0 : job.asked.code.length
  }
  return read
}

async function analyseAll(
  files: readonly string[],
  ahead: ReadonlyMap<string, ReadFile>,
  analyse: (job: Job) => Promise<Analysis>,
): Promise<AnalysedFile[]> {
  const all: AnalysedFile[] = []
  for (let from = 0; from < files.length; from += atOnce) {
    const some = files.slice(from, from + atOnce)
    all.push(
      ...(await Promise.all(
        some.map(async (file): Promise<AnalysedFile> => {
          const job = ahead.get(file) ?? (await jobOf(file))
          return 'because' in job ? { file, ...job } : { file, analysis: await analyse(job) }
        }),
      )),
    )
  }
  return all
}

async function print(all: readonly AnalysedFile[], flags: AnalyzeFlags): Promise<void> {
  const { sanitiseLine } = await import('../output/sanitise.ts')
  for (const one of all) {
    const error = syntaxErrorOf(one)
    if (error) note(flags, sanitiseLine(error))
  }
  if (flags.json) printJson(all.map(entryOf))
  else if (flags.sarif) printJson(sarif(all, await version()))
  else {
    const legend = legendOf(all).map((line) => paint('dim', line, process.stdout))
    printText([readable(all), ...legend].join('\n'))
  }
  const { failOn } = flags
  if (failOn === undefined) return
  const unjudged = all.filter((one) => unjudgedReason(one) !== undefined)
  for (const one of unjudged)
    note(flags, sanitiseLine(`Not judged: ${one.file}: ${unjudgedReason(one)}`))
  const isReached = all.some(({ analysis }) => (analysis?.verdict.threatScore ?? 0) >= failOn)
  if (isReached || unjudged.length > 0) process.exitCode = failedExitCode
}

/** Takes every source below a folder, of whatever language, except `node_modules` and dotfiles. */
function filesOf(given: readonly string[]): string[] {
  const files = given.flatMap(filesBelow)
  if (files.length > filesMax) {
    throw new MayflyError('USAGE', `Cannot analyse ${files.length} files: the limit is ${filesMax}`)
  }
  return files
}

function filesBelow(given: string): string[] {
  try {
    if (!asOwner(given, (at) => statSync(at)).isDirectory()) return [given]
    return sourcesIn(given)
  } catch (cause) {
    throw unreadable(given, cause)
  }
}

function sourcesIn(folder: string): string[] {
  const entries = asOwner(folder, (at) => readdirSync(at, { withFileTypes: true }))
  const found: string[] = []
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.name.startsWith('.') || entry.name === 'node_modules') continue
    const child = path.join(folder, entry.name)
    if (entry.isDirectory()) found.push(...sourcesIn(child))
    else if (entry.isFile() && isSourceName(entry.name)) found.push(child)
    if (found.length > filesMax) return found
  }
  return found
}

/** Files that a person would call code: a text or an image of a folder is not reported as unread. */
function isSourceName(name: string): boolean {
  const named = languageOfName(name)
  return named.kind === 'unknown' ? named.name !== undefined : named.kind !== 'bare'
}

/** The job of a file; or why its language cannot be told. */
async function jobOf(file: string): Promise<ReadFile> {
  const [{ newJob }, { systemClock }] = await Promise.all([
    import('../job.ts'),
    import('../contract/clock.ts'),
  ])
  const bytes = await readBytes(file)
  const named = languageOfName(file)
  if (named.kind === 'unknown' && languageOfShebang(bytes.toString('latin1', 0, 512)) === undefined)
    return { because: unknownLanguage(file, named, notAsked).why }
  const language = named.kind === 'known' ? named.language : undefined
  const code = language === 'wasm' ? bytes.toString('base64') : sourceTextOf(bytes, file)
  const who = { tenant: 'default', principal: 'cli', origin: 'cli' } as const
  const { success, data: name } = sourceName.safeParse(path.basename(file))
  return newJob({ code, ...(success && { name }), ...(language && { language }) }, who, systemClock)
}

/** A file that is only analysed is not run either. */
const notAsked = { by: 'its suffix', run: () => '' }

function score(text: string): number {
  const value = Number(text)
  if (text.trim() !== '' && value >= 0 && value <= 100) return value
  throw new MayflyError(
    'USAGE',
    `Cannot read "${text}" as --fail-on: expected a score from 0 to 100`,
  )
}
