import { isUtf8 } from 'node:buffer'
import { existsSync, readFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import { dirname, resolve } from 'node:path'
import { isatty } from 'node:tty'
import { fileURLToPath } from 'node:url'
import { runInFolder, type FolderRan, type FolderRun } from '../assemble/folder-command.ts'
import { systemClock } from '../contract/clock.ts'
import { unattendedVariables } from '../contract/default-variables.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import { whyUnreadable } from '../lib/why-unreadable.ts'
import { exitCodeOf } from '../contract/exit-codes.ts'
import type { FolderEnd, FolderRefusal } from '../contract/folder.ts'
import { reworded } from '../contract/remedy.ts'
import { parseDuration } from '../contract/units.ts'
import { existingPath } from '../folder-wall/paths.ts'
import { folderGrant, type MadeGrant } from '../folder-wall/grant.ts'
import { networkRefusalText, refusalText, unkeptText } from '../folder-wall/refusal-text.ts'
import { readSettings, type FolderRules } from '../folder-wall/settings.ts'
import type { OpenView, View } from '../warden/engines/folder/view-store.ts'
import { wayOutPort } from '../folder-wall/way-out.ts'
import { cacheFolders, temporaryCache } from '../lib/cache-folder.ts'
import { ownPackages } from '../lib/find-package.ts'
import { codeOfSignal } from '../lib/signal-name.ts'
import { signerFolder, wardenFolder } from '../lib/state-folder.ts'
import { sanitiseLine } from '../output/sanitise.ts'
import { openFolderProgram, startFolderWall } from '../warden/engines/folder/start.ts'
import { openSigner } from '../warden/sign.ts'
import { onReaderGone } from './broken-pipe.ts'
import type { ExecFlags } from './exec-flags.ts'
import { changesText, execConfig, folderHere } from './exec-config.ts'
import { becomeFolderOwner } from './folder-owner.ts'
import { refuseStateOfAnother } from './owner-rights.ts'
import { printJson } from './print.ts'

/** Exit code if no wall here can run the command; shells use 126 for "cannot execute". */
const NO_WALL = 126
const PROCESSES = 1024
const MEMORY_SHARE = 0.6
/** Runs longer than this wait for fsync of the record at their end. */
const SEALED_AFTER_MS = 1000
const REFUSALS_SHOWN = 20
/** Characters of an error of the file system, which names a path. */
const whyMax = 200
/** Signals that are not raised again in this process, because it would dump core. */
const DUMPING = [
  'SIGQUIT',
  'SIGILL',
  'SIGABRT',
  'SIGFPE',
  'SIGSEGV',
  'SIGBUS',
  'SIGSYS',
  'SIGTRAP',
  'SIGXCPU',
  'SIGXFSZ',
]
const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** Runs a command in this folder, and exits with its exit code or signal. */
export async function runExec(command: readonly string[], flags: ExecFlags): Promise<void> {
  becomeFolderOwner(process.argv.slice(2))
  const { config, files } = execConfig(flags)
  const folder = folderHere()
  const home = process.env['HOME'] ? existingPath(process.env['HOME']) : undefined
  const { state } = config
  refuseStateOfAnother(state)
  const rules = flags.settings === undefined ? undefined : settingsOf(flags.settings)
  const made = folderGrant(askedOf(flags, rules), {
    folder,
    home,
    environment: process.env,
    state: [state, wardenFolder(state), ...cacheFolders()],
    programs: [...ownPrograms(config), ...obeyed(files, flags)],
  })
  await checkHosts(flags, config)
  const reporter = new RefusalReporter(folder, flags)
  if (!flags.dryRun) {
    const ran = await runWall({ command, flags, made, rules, reporter, config })
    noteUnkept(ran, reporter, folder, made.mayWrite)
    return finish(ran, reporter, flags)
  }
  if (flags.write) throw noOtherPlaces()
  const { makeView } = await import('../warden/engines/folder/view-store.ts')
  const view = makeView(state, folder, command)
  const viewed = { ...made, grant: onlyFolderWritable(made.grant) }
  const ran = await runWall({ command, flags, made: viewed, rules, reporter, config, view })
  noteUnkept(ran, reporter, folder, () => false)
  await finish(ran, reporter, flags, view)
}

/** Says which files end with the command, and how to keep such. */
function noteUnkept(
  { end }: FolderRan,
  reporter: RefusalReporter,
  folder: string,
  mayWrite: MadeGrant['mayWrite'],
): void {
  const [first] = end?.unkept ?? []
  if (first === undefined) return
  const place = dirname(first)
  const isOpen = existsSync(place) && mayWrite(place)
  reporter.note(unkeptText(end!.unkept!, folder, isOpen ? place : undefined))
}

/** Code that later runs of Mayfly execute, and folders where it would find more. */
function ownPrograms({ providers }: FolderRun['config']): readonly string[] {
  const { folder, modules } = providers
  const own = [ROOT, dirname(process.execPath), process.argv[1] ?? ROOT, temporaryCache()]
  return [...own, ...ownPackages(), ...modules, ...(folder === undefined ? [] : [folder])]
}

/** Files of configuration and settings by any name, which later runs obey. */
function obeyed(files: readonly string[], { settings }: ExecFlags): readonly string[] {
  return [...files, ...(settings === undefined ? [] : [settings])].map((file) => resolve(file))
}

const noOtherPlaces = () =>
  new MayflyError(
    'USAGE',
    'Cannot combine --dry-run with --write: a view covers this folder only',
    {
      hint: 'Omit --write or --dry-run',
    },
  )

/** Makes all but the folder read-only, such as a git repository in another folder. */
function onlyFolderWritable(grant: MadeGrant['grant']): MadeGrant['grant'] {
  const binds = grant.binds.map((one) => ({
    ...one,
    isWritable: one.isWritable && one.path === grant.folder,
  }))
  return { ...grant, binds }
}

function askedOf(flags: ExecFlags, rules: FolderRules | undefined) {
  const { write = [], read = [], deny = [], env = [] } = flags
  return { write, read, deny, env, rules }
}

function settingsOf(file: string): FolderRules {
  try {
    return readSettings(readFileSync(file, 'utf8'), file)
  } catch (thrown) {
    if (thrown instanceof MayflyError) throw thrown
    throw new MayflyError(
      'USAGE',
      `Cannot read the settings "${file}": ${whyUnreadable(file, thrown).because}`,
    )
  }
}

async function checkHosts({ allow = [] }: ExecFlags, config: FolderRun['config']): Promise<void> {
  if (allow.length === 0) return
  const { checkAllowed } = await import('./check-allow-flag.ts')
  checkAllowed(allow, config)
}

interface WallRun {
  readonly command: readonly string[]
  readonly flags: ExecFlags
  readonly made: MadeGrant
  readonly rules: FolderRules | undefined
  readonly reporter: RefusalReporter
  readonly config: FolderRun['config']
  readonly view?: OpenView
}

async function runWall({
  command,
  flags,
  made,
  rules,
  reporter,
  config,
  view,
}: WallRun): Promise<FolderRan> {
  const { grant, notes } = made
  const program = await openFolderProgram()
  const missing = 'missing' in program ? `it needs its program: ${program.missing}` : undefined
  const terminals = flags.json ? [] : [0, 1, 2].filter((fd) => isatty(fd))
  for (const text of notes) reporter.note(text)
  return await runInFolder({
    config,
    clock: systemClock,
    signer: signerOf(config.state),
    grant,
    command,
    allow: [...(flags.allow ?? []), ...(rules?.allow ?? [])],
    deny: rules?.deny ?? [],
    withoutPrivateHosts: rules?.withoutPrivateHosts ?? false,
    timeoutMs: timeoutOf(flags),
    memoryBytes: Math.floor(
      Math.min(totalmem(), process.constrainedMemory() || Infinity) * MEMORY_SHARE,
    ),
    processes: PROCESSES,
    missing,
    refused: (refusal) => reporter.refused(refusal),
    signal: new AbortController().signal,
    start: ({ listening, variables, refused, ...limits }) =>
      startFolderWall({
        program: program as Exclude<typeof program, { missing: string }>,
        spec: {
          ...grant,
          ...limits,
          view: view && { upper: view.upper, work: view.work },
          uid: process.getuid!(),
          gid: process.getgid!(),
          command,
          terminals,
          egressPort: listening && wayOutPort,
        },
        variables: { ...(terminals.length === 0 && unattendedVariables(variables)), ...variables },
        captures: flags.json ?? false,
        started: () => undefined,
        refused,
        listening,
      }),
  })
}

/** Signs in this process, because pipeline and key belong to the same user, as in a single run. */
function signerOf(state: string): FolderRun['signer'] {
  let signer: ReturnType<typeof openSigner> | undefined
  return {
    checkpoint: async (digests, from) =>
      (signer ??= openSigner(signerFolder(state))).sign(digests, from, Date.now()),
  }
}

function timeoutOf({ timeout }: ExecFlags): number | undefined {
  if (timeout === undefined) return undefined
  const ms = parseDuration(/^\d+$/.test(timeout) ? Number(timeout) : timeout)
  if (ms !== undefined && ms >= 1) return ms
  throw new MayflyError(
    'USAGE',
    `Cannot read "--timeout ${timeout}": expected a time such as 30s or 10m`,
  )
}

/**
 * Reports refusals on stderr: the first at once, as a program may retry for long; further ones at the end, so that no line of the
 * command is split, or at once with --verbose. On a terminal all are at the end: the command may have it in raw mode.
 */
class RefusalReporter {
  readonly refusals: FolderRefusal[] = []
  readonly notes: string[] = []
  readonly #folder: string
  readonly #isQuiet: boolean
  readonly #isEager: boolean
  readonly #isFirstEager: boolean
  #reported = 0

  constructor(folder: string, { quiet = false, json = false, verbose = false }: ExecFlags) {
    this.#folder = folder
    this.#isQuiet = quiet || json
    this.#isEager = verbose
    this.#isFirstEager = !isatty(2)
  }

  refused(refusal: FolderRefusal): void {
    this.refusals.push(refusal)
    if (this.#isEager || (this.#isFirstEager && this.#reported === 0)) this.flush()
  }

  note(text: string): void {
    this.notes.push(text)
    this.print(text)
  }

  /** Prints the refusals not reported yet. */
  flush(): void {
    const unreported = this.refusals.slice(this.#reported)
    this.#reported = this.refusals.length
    for (const refusal of unreported.slice(0, REFUSALS_SHOWN))
      this.print(refusalText(refusal, this.#folder))
    const more = unreported.length - REFUSALS_SHOWN
    if (more > 0) this.print(`refused: ${more} more`)
  }

  print(text: string): void {
    if (!this.#isQuiet) process.stderr.write(`mayfly: ${sanitiseLine(text)}\n`)
  }
}

async function finish(
  { outcome, end, record }: FolderRan,
  reporter: RefusalReporter,
  flags: ExecFlags,
  view?: OpenView,
): Promise<void> {
  const { status, metrics } = outcome
  const error = outcome.error && reworded('exec', outcome.error)
  const told = error?.message ?? status
  const isHeld = status !== 'blocked' && status !== 'unavailable' && !end?.notStarted
  reporter.flush()
  for (const text of deniedHosts(outcome)) reporter.print(text)
  if (!isHeld)
    reporter.print(`cannot run the command: ${error?.message ?? end?.notStarted ?? status}`)
  else if (status !== 'ok' && status !== 'error')
    reporter.print(`ended: ${told.replace(/^The job/, 'the command')}`)
  const kept = view && keep(view, isHeld, end?.notStarted, reporter)
  if (flags.json)
    await printWhole({
      ...outcome,
      ...(error && { error }),
      ...(kept && { view: { id: kept.id, changes: kept.changes.length } }),
      ...outputOf(end),
      refused: reporter.refusals,
      ...(reporter.notes.length > 0 && { notes: reporter.notes }),
    })
  if (metrics.executionTime > SEALED_AFTER_MS) await record.close()
  leave(isHeld ? codeOf(outcome) : NO_WALL, isHeld ? outcome.signal : null)
}

/** Seals the view and lists its changes; a view of a command that never ran is deleted. */
function keep(
  view: OpenView,
  isHeld: boolean,
  why: string | undefined,
  reporter: RefusalReporter,
): View | undefined {
  if (!isHeld) {
    view.drop()
    if (why?.includes('overlay'))
      reporter.print(
        'cannot store a view in the state folder: its file system does not support it; name another folder with --state',
      )
    return undefined
  }
  const sealed = sealedOf(view, reporter)
  if (!sealed) return undefined
  reporter.print(
    `kept as ${sealed.id}: ${changesText(sealed.changes.length)}; "mayfly exec --diff" shows them, --commit applies them, --discard deletes them`,
  )
  return sealed
}

/** Undefined, with a message, if the changes cannot be listed: the command made names that no path here can have. */
function sealedOf(view: OpenView, reporter: RefusalReporter): View | undefined {
  try {
    return view.seal()
  } catch (thrown) {
    const why = sanitiseLine(messageOf(thrown)).slice(0, whyMax)
    reporter.print(
      `kept as ${view.id}, but its changes cannot be listed: ${why}; "mayfly exec --discard" deletes them`,
    )
    return undefined
  }
}

function deniedHosts({ metrics }: FolderRan['outcome']): readonly string[] {
  const denied = metrics.network.filter(({ verdict }) => verdict === 'denied')
  const texts = denied.map(({ host, port, because = '' }) =>
    networkRefusalText(host, port, because),
  )
  const unique = [...new Set(texts)]
  const more = unique.length - REFUSALS_SHOWN
  return [...unique.slice(0, REFUSALS_SHOWN), ...(more > 0 ? [`refused: ${more} more hosts`] : [])]
}

/** Captured output, in base64 where it is not UTF-8. */
function outputOf({ stdout, stderr, truncated }: Partial<FolderEnd> = {}) {
  const [out, err] = [stdout, stderr].map((bytes) => Buffer.from(bytes ?? []))
  const encoding = { stdout: encodingOf(out!), stderr: encodingOf(err!) }
  return {
    stdout: out!.toString(encoding.stdout),
    stderr: err!.toString(encoding.stderr),
    ...(encoding.stdout !== 'utf8' && { stdoutEncoding: encoding.stdout }),
    ...(encoding.stderr !== 'utf8' && { stderrEncoding: encoding.stderr }),
    ...(truncated && { truncated }),
  }
}

const encodingOf = (bytes: Buffer): 'utf8' | 'base64' => (isUtf8(bytes) ? 'utf8' : 'base64')

/**
 * Prints the document, and waits until the reader of a pipe has all of it: an exit drops bytes that it has not. A reader that
 * is gone ends the wait.
 */
async function printWhole(document: unknown): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  onReaderGone(resolve)
  printJson(document)
  process.stdout.write('', () => resolve())
  await promise
}

function codeOf({ status, exitCode }: FolderRan['outcome']): number {
  return status === 'ok' || status === 'error'
    ? (exitCode ?? exitCodeOf[status])
    : exitCodeOf[status]
}

/** Exits with the exit code or the signal of the command. */
function leave(code: number, signal: string | null): never {
  if (signal === null) process.exit(code)
  const name = signal as NodeJS.Signals
  if (!DUMPING.includes(signal)) {
    process.removeAllListeners(name)
    process.kill(process.pid, name)
  }
  process.exit(codeOfSignal(name))
}
