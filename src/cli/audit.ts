import { once } from 'node:events'
import { existsSync, fstatSync, statSync, writeFileSync } from 'node:fs'
import type { Command } from 'commander'
import { MayflyError, messageOf } from '../contract/error.ts'
import { attempt } from '../lib/attempt.ts'
import type { StoredLine } from '../evidence/chain.ts'
import { findBadLine } from '../evidence/check-lines.ts'
import { exportRows } from '../evidence/export.ts'
import { bodyOf, recordLineOf } from '../evidence/log-page.ts'
import { openLog, type LogReader } from '../evidence/log-reader.ts'
import { verifyFile } from '../evidence/verify.ts'
import { auditFile, signerFolder } from '../lib/state-folder.ts'
import { assertPlainStore } from '../lib/store-file.ts'
import { sanitise, sanitiseLine } from '../output/sanitise.ts'
import { lastSigned } from '../warden/sign.ts'
import { wholeNumber } from './option-values.ts'
import { note, printJson, table, type Globals } from './print.ts'
import {
  outputOfOwner,
  ownerTask,
  runAsOwner,
  stateFolderOf,
  strangerOwning,
} from './state-owner.ts'
import { shownTime } from './shown-time.ts'
import { failedExitCode, verb } from './verb.ts'
import { writeWhole } from './write-parts.ts'

/** `mayfly audit list|verify|export`: reads the audit log without a server, and creates nothing. */
export function register(program: Command): void {
  const audit = program.command('audit').alias('record').description('the record of jobs')
  audit
    .command('list')
    .description('list the newest lines, oldest first')
    .option('--limit <n>', 'maximum of lines', wholeNumber(limitMax), 50)
    .option('--run <id>', 'lines of one execution only')
    .action(verb(list))
  audit
    .command('verify')
    .description('check that no line was edited, removed, moved or cut off; exits 0 or 1')
    .argument('[file]', 'an exported log; default: the log of the state folder')
    .option('--key <base64>', 'public key that must have signed the log')
    .option('--signed', 'fail if lines follow the last one that is signed')
    .action(verb(verify))
  audit
    .command('export')
    .description(
      'write JSON lines with checkpoints and public key, for "audit verify FILE" elsewhere',
    )
    .argument('[file]', 'output file; default: stdout')
    .action(verb(exportLog))
}

interface Flags extends Globals {
  readonly limit?: number
  readonly run?: string
  readonly key?: string
  readonly signed?: boolean
}

const limitMax = 100_000

async function list(flags: Flags): Promise<void> {
  const state = stateFolderOf(flags)
  const owner = strangerOwning(state)
  // Read before the log, which only grows.
  const signed = ownerTask()?.signed ?? lastSigned(signerFolder(state))
  if (owner) return runAsOwner(owner, { state, signed })
  const path = recordIn(state)
  using log = read(path, () => openLog(path))
  const lines = read(path, () => log.last(flags.limit ?? 50, flags.run))
  reportBadLine(log, lines, signed)
  if (flags.json) return printJson(lines.map(recordLineOf))
  if (lines.length > 0) await print(`${table([columns, ...lines.map(cellsOf)])}\n`)
}

/** Reports a line that does not verify, with exit code 1; such lines are listed too. */
function reportBadLine(log: LogReader, lines: readonly StoredLine[], signed: Signed): void {
  const bad = findBadLine(log, lines, signed)
  if (!bad) return
  process.exitCode = failedExitCode
  process.stderr.write(`${sanitiseLine(`bad: line ${bad.seq}: ${bad.why}`)}\n`)
}

/** Throws MayflyError NOT_FOUND, and USAGE for a pipe, a device or a folder. */
function assertExport(file: string): void {
  const facts = attempt(() => statSync(file))
  if (!facts)
    throw new MayflyError('NOT_FOUND', `Cannot find "${file}": expected a file of "audit export"`)
  if (!facts.isFile())
    throw new MayflyError('USAGE', `Cannot verify "${file}": it is not a regular file`, {
      hint: 'Write the export of a pipe to a file first',
    })
}

async function verify(flags: Flags, file: string | undefined): Promise<void> {
  if (file !== undefined) {
    assertExport(file)
    return tellAudit(flags, file, undefined)
  }
  const state = stateFolderOf(flags)
  const signed = signedOf(flags, state)
  const owner = strangerOwning(state)
  if (owner) return runAsOwner(owner, { state, signed })
  await tellAudit(flags, recordIn(state, signed !== undefined), signed)
}

async function tellAudit(flags: Flags, path: string, signed: Signed): Promise<void> {
  const audit = verifyFile(path, {
    key: flags.key ?? signed?.key,
    signed,
    endsSigned: flags.signed,
  })
  if (!audit.ok) process.exitCode = failedExitCode
  if (flags.json) return printJson(audit)
  const { lines, checkpoints, unsigned, firstBad } = audit
  const counts = `${lines} lines, ${checkpoints} checkpoints, ${unsigned} lines after the last one`
  const text = firstBad ? `bad: line ${firstBad.seq}: ${firstBad.why}` : `ok: ${counts}`
  await print(`${sanitiseLine(text)}\n`)
  if (audit.ok && unsigned > 0)
    await print(
      `unsigned: lines ${lines - unsigned + 1} to ${lines}, which is normal for a second after a line, and after a kill until the next start signs them; --signed fails on them\n`,
    )
}

/** Reads the signer's state first, because the log only grows. */
function signedOf(flags: Flags, state: string): Signed {
  const task = ownerTask()
  if (task) return task.signed
  const signed = lastSigned(signerFolder(state))
  if (!signed)
    note(
      flags,
      "The signer's last signed head is not readable here: truncation at the end would not be detected.",
    )
  return signed
}

type Signed = ReturnType<typeof lastSigned>

async function exportLog(flags: Flags, file: string | undefined): Promise<void> {
  const state = stateFolderOf(flags)
  const owner = strangerOwning(state)
  const task = { state }
  if (owner && file === undefined) return runAsOwner(owner, task)
  if (owner && file !== undefined) {
    const words = ['audit', 'export']
    return writeWhole(file, async (out) => void outputOfOwner(owner, { task, words, stdout: out }))
  }
  const path = recordIn(state)
  if (file === undefined)
    for (const row of exportRows(path)) await print(process.stdout.isTTY ? sanitise(row) : row)
  else
    await writeWhole(file, async (out) => {
      for (const row of exportRows(path)) writeFileSync(out, row)
    })
}

/** Writes a text whole: a full disk may take a part of it without an error. Throws MayflyError STATE. */
async function print(text: string): Promise<void> {
  const { stdout } = process
  if (!fstatSync(stdout.fd).isFile())
    return void (stdout.write(text) || (await once(stdout, 'drain')))
  try {
    writeFileSync(stdout.fd, text)
  } catch (cause) {
    throw new MayflyError('STATE', `Cannot write to stdout: ${messageOf(cause)}`, { cause })
  }
}

/**
 * Path of the audit log of a state folder. Throws MayflyError STATE if it is a symbolic link, and NOT_FOUND if it is missing and not
 * expected: if something was signed, a missing log is an audit failure, not a usage error.
 */
function recordIn(state: string, isExpected = false): string {
  const path = auditFile(state)
  read(path, () => assertPlainStore(path))
  if (isExpected || existsSync(path)) return path
  throw new MayflyError('NOT_FOUND', `Cannot find a record at "${path}"`, {
    hint: 'No job has run with this state folder; name another one with "MAYFLY_STATE".',
  })
}

function read<T>(path: string, work: () => T): T {
  try {
    return work()
  } catch (thrown) {
    if (thrown instanceof MayflyError) throw thrown
    throw new MayflyError('STATE', `Cannot read the record "${path}": ${messageOf(thrown)}`, {
      hint: 'Run "mayfly audit verify" to find the first broken line.',
      cause: thrown,
    })
  }
}

const columns = ['line', 'time', 'kind', 'run', 'tenant', 'status', 'what']

/** Row such as `12  2026-01-01T00:00:00.000Z  ended  exec_…  default  ok  2 ms`. */
function cellsOf(line: StoredLine): readonly string[] {
  const ids = [line.run ?? '-', line.tenant ?? '-', line.status ?? '-']
  return [String(line.seq), shownTime(line.at), line.kind, ...ids, detailOf(line)]
}

/** Short detail of a body; a missing field is a dash. */
function detailOf({ kind, bodyText }: StoredLine): string {
  const body = bodyOf(bodyText)
  if (kind === 'admitted') return `${at(body, 'plan', 'tier')}, ${riskText(body)}`
  if (kind === 'ended') return `${tenths(at(body, 'metrics', 'executionTime'))} ms`
  if (kind === 'event') return `${at(body, 'point')} ${reasonOf(body)}`
  return kind === 'closed' ? at(body, 'because') : ''
}

function riskText(body: unknown): string {
  const isJudged = at(body, 'security', 'judged') !== 'false'
  return isJudged ? `risk ${at(body, 'security', 'risk')}` : 'not judged'
}

/** Severity and reason of an event that has a reason, such as an anomaly; else all of its fields. */
function reasonOf(body: unknown): string {
  const [severity, reason] = [at(body, 'fields', 'severity'), at(body, 'fields', 'reason')]
  if (reason === '-') return at(body, 'fields')
  return severity === '-' ? reason : `${severity}: ${reason}`
}

function tenths(text: string): string {
  return text === '-' ? text : String(Math.round(Number(text) * 10) / 10)
}

function at(value: unknown, ...path: readonly string[]): string {
  const found = path.reduce((one, name) => (one as Record<string, unknown> | null)?.[name], value)
  return typeof found === 'string' ? found : (JSON.stringify(found) ?? '-')
}
