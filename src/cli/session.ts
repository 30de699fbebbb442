import { Option, type Command } from 'commander'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { MayflyError } from '../contract/error.ts'
import { whyUnreadable } from '../lib/why-unreadable.ts'
import { exitCodeOf, notRunExitCode, usageExitCode } from '../contract/exit-codes.ts'
import type { Outcome } from '../contract/outcome.ts'
import { outcomeFor } from '../contract/outcome-for.ts'
import { lostWithIt, type SessionListing } from '../contract/exec.ts'
import type { ForkedRow } from '../contract/fork.ts'
import type { SessionRow } from '../contract/session.ts'
import { parseJson } from '../lib/parse-json.ts'
import { present } from '../lib/present.ts'
import { sanitise, sanitiseBlock, sanitiseLine } from '../output/sanitise.ts'
import { rawEventsOf } from '../sdk/server-events.js'
import {
  answeredJson,
  answeredBytes,
  callServer,
  JobRefused,
  problemIn,
  requestServer,
  type ServerFlags,
  sandboxPath,
} from './call-server.ts'
import { namingFlag } from './name-flag.ts'
import { passedExitCode } from './passed-exit-code.ts'
import { note, printError, printJson, printText, table } from './print.ts'
import { report } from './report.ts'
import { readProgram } from './source.ts'
import { attachTerminal } from './terminal.ts'
import { verb } from './verb.ts'

/** The server ends an exec; this bounds a server that does not. */
const EXEC_MS_MAX = 86_400_000

/** Children start one after another, and an emulated machine takes a second or more. */
const FORK_MS_MAX = 180_000
const root = '/v1/sandboxes'

/** `mayfly sandbox create|exec|put|get|files|fork|renew`: sessions of a running server. */
export function registerSessions(sandbox: Command, reached: (command: Command) => Command): void {
  reached(sandbox.command('create').description('open a session, and print its id'))
    .option('--language <name>', 'python, node, js, ts, sh or bash', 'python')
    .option('--timeout <time>', 'lifetime, such as 30m; "renew" extends it')
    .option('--idle <time>', 'close the session after this time without an exec')
    .option('--label <name=value...>', 'label, to select the session by')
    .option('--tier <tier>', 'exactly this tier')
    .option('--floor <tier>', 'at least this tier')
    .option('--provider <name>', 'exactly this provider')
    .option('--memory <size>', 'memory limit, such as 256MB')
    .option('--cpu <cores>', 'CPU limit in cores, such as 0.5')
    .option('--cpu-time <time>', 'limit of processor time of the whole session, such as 10m')
    .option('--disk <size>', 'limit of written files, such as 100MB')
    .option('--processes <n>', 'limit of processes and threads')
    .option('--allow <host...>', 'hosts that the session may reach')
    .option('--env <name=value...>', 'environment variables')
    .action(verb(create))
  reached(
    sandbox.command('exec').description('run code in a session: a file, "-", or -- a command'),
  )
    .argument('<id>', 'id, as printed by "create"')
    .argument('[file-or-command...]', 'a file or "-"; after "--" a program and its arguments')
    .option('-t, --tty', 'attach this terminal to a shell, or a command after --, in the session')
    .option('--input <json>', 'input of the exec, as JSON')
    .option('--stdin', 'pass on standard input, read to its end')
    .option('--timeout <time>', 'interrupt the exec after this time, such as 30s')
    .option('--cpu-time <time>', 'limit of processor time, such as 2s')
    .option('--output <size>', 'limit of each output stream, such as 10MB')
    .addOption(new Option('--pass-exit-code').hideHelp())
    .addHelpText('after', exitCodes)
    .action(exec)
  reached(sandbox.command('put').description('copy a file into a session'))
    .argument('<id>')
    .argument('<file>')
    .argument('[path]', 'path below the working folder; default: the file name')
    .action(verb(put))
  reached(sandbox.command('get').description('copy a file out of a session, to a file or stdout'))
    .argument('<id>')
    .argument('<path>')
    .argument('[file]')
    .action(verb(get))
  reached(sandbox.command('files').description('list the files of a session'))
    .argument('<id>')
    .action(verb(files))
  reached(
    sandbox.command('fork').description('make sessions of one that goes on, in a virtual machine'),
  )
    .argument('<id>')
    .option('--children <n>', 'sessions to make of it, 1 to 8', '1')
    .option('--timeout <time>', 'lifetime of each child, such as 30m')
    .option('--idle <time>', 'close a child after this time without an exec')
    .option('--label <name=value...>', 'labels of the children, in place of those of the session')
    .option('--memory <size>', 'memory limit of each child; never more than the session has')
    .option('--allow <host...>', 'hosts that a child may reach, of those that the session may')
    .action(verb(fork))
  reached(sandbox.command('renew').description('extend the lifetime of a session'))
    .argument('<id>')
    .requiredOption('--timeout <time>', 'time until the end, from now on, such as 30m')
    .action(verb(renew))
}

/** Flags of a session, whether it is opened or forked. */
interface SessionFlags extends ServerFlags {
  readonly timeout?: string
  readonly idle?: string
  readonly label?: readonly string[]
  readonly memory?: string
  readonly cpu?: string
  readonly cpuTime?: string
  readonly disk?: string
  readonly processes?: string
  readonly allow?: readonly string[]
}

interface CreateFlags extends SessionFlags {
  readonly language: string
  readonly tier?: string
  readonly floor?: string
  readonly provider?: string
  readonly env?: readonly string[]
}

/** Exits as `mayfly run` does if no session was opened. */
async function create(flags: CreateFlags): Promise<void> {
  try {
    await open(flags)
  } catch (thrown) {
    if (!(thrown instanceof JobRefused)) throw namingFlag(thrown, flags)
    printError(thrown, flags.json ?? false)
    process.exitCode = exitCodeOf[thrown.jobStatus]
  }
}

async function open(flags: CreateFlags): Promise<void> {
  const { language, timeout, idle, tier, floor, provider } = flags
  const row = await callServer<SessionRow>(flags, 'POST', root, {
    ...present({ language, timeout, idle, tier, floor, provider }),
    ...(flags.env && { env: pairsOf(flags.env, '--env') }),
    ...boundsOf(flags),
  })
  if (flags.json) return printJson(row)
  printText(row.id)
  note(flags, `${row.language} behind ${row.provider} (${row.tier}), until ${row.expiresAt}`)
}

interface ExecFlags extends ServerFlags {
  readonly tty?: boolean
  readonly input?: string
  readonly stdin?: boolean
  readonly timeout?: string
  readonly cpuTime?: string
  readonly output?: string
}

const exitCodes = `
Exits with the code of the command or cell, 128 + N where signal N ended it and 127 where there is no such program; else as "mayfly run" does:
4 for a time limit, 5 for another one. 125: it did not run, as where the session is busy or has ended.`
/** Exits as the command or cell did. */
async function exec(
  id: string,
  words: readonly string[],
  _own: unknown,
  command: Command,
): Promise<void> {
  const flags = command.optsWithGlobals<ExecFlags>()
  try {
    const isCommand = wordsAfterDashes(process.argv)
    const isCodePiped = !isCommand && words[0] === '-'
    if (flags.stdin && (flags.tty || isCodePiped)) throw readTwice()
    if (flags.tty) {
      if (words.length > 0 && !isCommand) throw namedFile()
      process.exitCode = await attachTerminal(flags, id, words)
      return
    }
    const body = isCommand ? { command: words } : await cellOf(words)
    const given = {
      ...body,
      ...(flags.stdin && (await stdinOf(flags))),
      ...(flags.input !== undefined && { input: parseJson(flags.input) }),
      limits: present({
        timeout: flags.timeout,
        cpuTime: flags.cpuTime,
        output: flags.output,
      }),
    }
    const ended = await streamed(flags, id, given)
    const outcome = outcomeFor('sandbox', ended)
    if (flags.json) printJson(outcome)
    else report(outcome, { file: words[0] ?? 'cell', code: 'code' in body ? body.code : '' }, flags)
    tellSession(outcome, flags)
    if (!flags.stdin && !isCodePiped && !flags.quiet) await tellUnpassed(flags)
    process.exitCode = passedExitCode(outcome)
  } catch (thrown) {
    printError(namingFlag(thrown, flags), flags.json ?? false)
    if (process.exitCode !== usageExitCode) process.exitCode = notRunExitCode
  }
}

/** Tells what the session lost by an exec. */
function tellSession({ session }: Outcome, flags: ExecFlags): void {
  if (session?.ended)
    note(flags, `The session has ended. ${lostWithIt}: "mayfly sandbox create" opens another one`)
  else if (session?.state === 'lost')
    note(flags, 'The interpreter was started anew: its variables and imports are lost')
}

async function stdinOf(flags: ExecFlags) {
  const { readStdin } = await import('./stdin.ts')
  const told = (text: string) => note(flags, text)
  const stdin = await readStdin({ language: undefined, sources: [], isAsked: true, note: told })
  return stdin && { stdin }
}

async function tellUnpassed(flags: ExecFlags): Promise<void> {
  const { isFileWaiting } = await import('./stdin.ts')
  if (isFileWaiting()) note(flags, 'Standard input was not passed on: --stdin passes it on')
}

function readTwice(): MayflyError {
  return new MayflyError(
    'USAGE',
    'Cannot pass on standard input: the code or the terminal is read from it',
  )
}

function namedFile(): MayflyError {
  return new MayflyError('USAGE', 'Cannot run a file on a terminal: give a command after "--"')
}

/** Words after `--` are a command; commander drops the dashes. */
const wordsAfterDashes = (argv: readonly string[]): boolean => argv.includes('--')

async function cellOf(words: readonly string[]): Promise<{ readonly code: string }> {
  const [file, ...rest] = words
  if (file === undefined || rest.length > 0)
    throw new MayflyError(
      'USAGE',
      'Cannot run the exec: give one file, "-", or a command after "--"',
    )
  const { code } = await readProgram(file, 'python')
  return { code }
}

/** Prints output as it arrives, except with --json; resolves to the outcome. */
async function streamed(flags: ExecFlags, id: string, given: unknown): Promise<Outcome> {
  const response = await requestServer(flags, 'POST', sandboxPath(id, '/run'), {
    type: 'application/json',
    body: JSON.stringify(given),
    accept: 'text/event-stream',
    answerMs: EXEC_MS_MAX,
  })
  if (!response.headers.get('content-type')?.startsWith('text/event-stream'))
    return (await answeredJson(response)) as Outcome
  for await (const { event, data } of response.body ? rawEventsOf(response.body) : []) {
    if (event === 'outcome') return parseJson(data) as Outcome
    if (event === 'problem') throw problemIn(parseJson(data), response.status)
    if (!flags.json && (event === 'stdout' || event === 'stderr')) {
      const { text = '' } = parseJson(data) as { readonly text?: string }
      process[event].write(process[event].isTTY ? sanitiseBlock(text) : text)
    }
  }
  throw new MayflyError('PROTOCOL', 'Cannot read the outcome: the stream ended before it')
}

async function put(flags: ServerFlags, id: string, file: string, to?: string): Promise<void> {
  const at = to ?? path.basename(file)
  const body = await readFile(file).catch(notUsable('read', file))
  const answer = await requestServer(
    flags,
    'PUT',
    sandboxPath(id, `/files?path=${encodeURIComponent(at)}`),
    {
      type: 'application/octet-stream',
      body,
    },
  )
  const { size } = (await answeredJson(answer)) as { readonly size: number }
  if (flags.json) printJson({ path: at, size })
  else note(flags, sanitiseLine(`${at}: ${size} bytes`))
}

async function get(flags: ServerFlags, id: string, from: string, file?: string): Promise<void> {
  const answer = await requestServer(
    flags,
    'GET',
    sandboxPath(id, `/files?path=${encodeURIComponent(from)}`),
  )
  const bytes = await answeredBytes(answer)
  // Bytes of a guest could change the state of a terminal.
  const shown = () => (process.stdout.isTTY ? sanitise(Buffer.from(bytes).toString()) : bytes)
  if (file === undefined) process.stdout.write(shown())
  else await writeFile(file, bytes).catch(notUsable('write', file))
}

/** Error for a file of this machine. */
function notUsable(verb: 'read' | 'write', file: string): (cause: unknown) => never {
  return (cause) => {
    const { because, ...hint } = whyUnreadable(file, cause)
    throw new MayflyError('USAGE', `Cannot ${verb} "${file}": ${because}`, { ...hint, cause })
  }
}

async function files(flags: ServerFlags, id: string): Promise<void> {
  const listing = await callServer<SessionListing>(flags, 'GET', sandboxPath(id, '/files'))
  if (flags.json) return printJson(listing)
  if (listing.entries.length === 0) return note(flags, 'No files')
  const rows = listing.entries.map((one) => [one.type, String(one.size), sanitiseLine(one.path)])
  printText(table([['type', 'bytes', 'path'], ...rows]))
}

interface ForkFlags extends SessionFlags {
  readonly children: string
}

/** Prints the ids of the children, a line each. */
async function fork(flags: ForkFlags, id: string): Promise<void> {
  const { children, timeout, idle } = flags
  const asked = {
    children: Number(children),
    ...present({ timeout, idle }),
    ...boundsOf(flags),
  }
  const response = await requestServer(flags, 'POST', sandboxPath(id, '/fork'), {
    type: 'application/json',
    body: JSON.stringify(asked),
    answerMs: FORK_MS_MAX,
  })
  const forked = (await answeredJson(response)) as ForkedRow
  if (flags.json) return printJson(forked)
  for (const one of forked.children) printText(one.id)
  note(flags, `Each child has ${forked.shared.join('; ')}`)
  note(flags, `It does not have ${forked.lost.join('; ')}`)
}

/** Labels, limits and network of a session. Throws MayflyError USAGE. */
function boundsOf({ label, memory, cpu, cpuTime, disk, processes, allow }: SessionFlags) {
  const counts = {
    ...(cpu !== undefined && { cpu: Number(cpu) }),
    ...(processes !== undefined && { processes: Number(processes) }),
  }
  return {
    ...(label && { labels: pairsOf(label, '--label') }),
    limits: { ...present({ memory, disk, cpuTime }), ...counts },
    ...(allow && { network: { allow } }),
  }
}

async function renew(flags: ServerFlags & { readonly timeout: string }, id: string): Promise<void> {
  const { timeout } = flags
  const row = await callServer<SessionRow>(flags, 'POST', sandboxPath(id, '/timeout'), { timeout })
  if (flags.json) printJson(row)
  else note(flags, `${id} ends at ${row.expiresAt}`)
}

/** `NAME=VALUE` of a flag. Throws MayflyError USAGE. */
export function pairsOf(given: readonly string[], flag: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    given.map((text) => {
      const at = text.indexOf('=')
      if (at > 0) return [text.slice(0, at), text.slice(at + 1)]
      throw new MayflyError('USAGE', `Cannot use "${text}" for ${flag}: expected NAME=VALUE`)
    }),
  )
}
