import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '../contract/clock.ts'
import { MayflyError } from '../contract/error.ts'
import type { StoredCapture } from '../contract/evidence.ts'
import { parseDuration } from '../contract/units.ts'
import { openRecord } from '../evidence/record.ts'
import { isResumable, resumableSave } from '../evidence/resumable-save.ts'
import { sanitise, sanitiseLine } from '../output/sanitise.ts'
import type { WardenClient } from '../walls/client.ts'
import { resumeGuest, type GuestCommandEnd, type ResumedGuest } from '../walls/resumed-guest.ts'
import { loadCliConfig, wardenOf } from './open-assembly.ts'
import { note, printJson, type Globals } from './print.ts'
import { roleOf } from './role.ts'
import { stopSignal } from './stop-signal.ts'
import { openStoredCaptures, verifyParts, type StoredCaptures } from './stored-captures.ts'
import { failedExitCode } from './verb.ts'

/**
 * `mayfly evidence resume`: a machine of its own, resumed from a capture, for one analyst.
 *
 * Before: all parts of the run are compared with the digests in its record, and the memory of the template with its own. While the save
 * is sent they are compared again, and the machine starts after the last one. The bundle is only read.
 *
 * After: the machine is killed at the end of the commands, at Ctrl-C, at the end of its life, and with this process. Lines of the record
 * are written before the machine is started, after each command, and at its end.
 */
export interface ResumeFlags extends Globals {
  readonly exec: readonly string[]
  readonly for: string
  readonly capture?: string
  readonly thaw?: true
}

const LIFE_MS_MIN = 1_000
const LIFE_MS_MAX = 3_600_000
const COMMAND_MS_MAX = 300_000
const COMMANDS_MAX = 10_000
const RECORDED_CHARS_MAX = 1_024
const END_MS_MAX = 2_000
const CORES = 1

export async function resumeCapture(flags: ResumeFlags, id: string): Promise<void> {
  const lifeMs = lifeOf(flags)
  using stored = await openStoredCaptures(flags)
  const capture = await captureOf(stored, flags, id)
  await assertVerified(stored, flags, id)
  const save = await resumableSave(stored.machineOf(capture))
  const loaded = loadCliConfig({ ...flags, quiet: true })
  const signals = stopSignal().then((name) => `it received ${name}`)
  const warden = await wardenOf(roleOf(), loaded)
  const record = openAnalysis(loaded.config.state, capture, warden)
  let ended = 'its commands ended'
  try {
    const { mechanism, image } = save.save
    const isThawed = flags.thaw === true
    record('evidence/resumed', { capture: capture.name, mechanism, image, lifeMs, isThawed })
    await using guest = await resumeGuest({ ...save, warden, lifeMs, cores: CORES })
    if (isThawed) await guest.thaw()
    const stopped = Promise.race([guest.ended.then((how) => `its machine ended (${how})`), signals])
    const analysis = new Analysis(guest, { flags, capture, record, stopped })
    ended = (await analysis.run()) ?? ended
  } catch (error) {
    ended = error instanceof MayflyError ? error.code : 'INTERNAL'
    throw error
  } finally {
    record('evidence/resume-ended', { capture: capture.name, because: ended })
    await record.close()
    await warden.close()
  }
}

interface AnalysisParts {
  readonly flags: ResumeFlags
  readonly capture: StoredCapture
  readonly record: AnalysisRecord
  /** Resolves with the cause for which no further command is run. */
  readonly stopped: Promise<string>
}

/** Commands of an analyst, one after the other. */
class Analysis {
  readonly #guest: ResumedGuest
  readonly #parts: AnalysisParts
  readonly #ends: ReturnType<typeof commandJson>[] = []
  #stop: string | undefined

  constructor(guest: ResumedGuest, parts: AnalysisParts) {
    this.#guest = guest
    this.#parts = parts
    void parts.stopped.then((why) => (this.#stop = why))
  }

  /** Resolves with the cause if it ended before its commands did. */
  async run(): Promise<string | undefined> {
    const { flags, capture, stopped } = this.#parts
    this.#greet()
    const commands = flags.exec.length > 0 ? flags.exec : typed(stopped, flags)
    for await (const command of commands) {
      if (this.#stop === undefined) await this.#one(command)
      if (this.#stop !== undefined || this.#ends.length >= COMMANDS_MAX) break
    }
    if (this.#stop !== undefined) process.exitCode = failedExitCode
    if (flags.json)
      printJson({
        id: capture.run,
        capture: capture.name,
        wall: this.#guest.wall,
        trust: 'guest',
        commands: this.#ends,
        ...(this.#stop !== undefined && { ended: this.#stop }),
      })
    else if (this.#stop !== undefined) note(flags, `Ended: ${this.#stop}`)
    return this.#stop
  }

  #greet(): void {
    const { flags, capture } = this.#parts
    const job = flags.thaw ? 'go on' : 'are frozen (--thaw lets them go on)'
    note(flags, `Resumed ${capture.name} of ${capture.run}, without a network, for ${flags.for}`)
    note(flags, `Programs of the job ${job}. The guest is untrusted, and so is what it shows`)
    if (flags.exec.length === 0) note(flags, 'Commands of its shell, a line each; Ctrl-D ends it')
  }

  async #one(command: string): Promise<void> {
    const { flags, capture, record, stopped } = this.#parts
    const running = this.#guest.run(command, COMMAND_MS_MAX).catch(async (error: unknown) => {
      // Race: the channel of a machine that ends is closed before its end is reported.
      const why = await Promise.race([stopped, sleep(END_MS_MAX)])
      if (why === undefined) throw error
      return why
    })
    running.catch(() => undefined)
    const end = await Promise.race([running, stopped])
    const about = { capture: capture.name, command: command.slice(0, RECORDED_CHARS_MAX) }
    if (typeof end === 'string') {
      this.#stop = end
      return record('evidence/command', { ...about, exitCode: null })
    }
    const { exitCode, signal, stdout, stderr } = end
    const bytes = stdout.length + stderr.length
    record('evidence/command', { ...about, exitCode, signal, bytes })
    if (exitCode !== 0) process.exitCode = failedExitCode
    if (flags.json) this.#ends.push(commandJson(command, end))
    else show(flags, end)
  }
}

/** Lines of standard input, until its end or a stop. */
async function* typed(stopped: Promise<string>, flags: Globals): AsyncGenerator<string> {
  const isTerminal = process.stdin.isTTY && !flags.json
  const lines = createInterface({
    input: process.stdin,
    output: isTerminal ? process.stderr : undefined,
    terminal: isTerminal,
    prompt: 'resumed# ',
  })
  lines.on('SIGINT', () => lines.close())
  void stopped.then(() => lines.close())
  let isClosed = false
  lines.once('close', () => (isClosed = true))
  lines.prompt()
  for await (const line of lines) {
    if (line.trim() !== '') yield line
    if (!isClosed) lines.prompt()
  }
}

/** Bytes as they are to a file or a pipe; escaped on a terminal, whose state the guest could change. */
function show(
  flags: Globals,
  { exitCode, signal, stdout, stderr, isCut, isLate }: GuestCommandEnd,
) {
  process.stdout.write(process.stdout.isTTY ? sanitise(stdout.toString()) : stdout)
  process.stderr.write(sanitise(stderr.toString()))
  if (isCut) note(flags, 'The command was killed: it wrote more than 1 MB')
  else if (isLate) note(flags, `The command was killed after ${COMMAND_MS_MAX / 1_000} s`)
  else if (exitCode !== 0) note(flags, `The command ended with ${exitCode ?? `signal ${signal}`}`)
}

/** Outputs are text, or base64 where one of them is not UTF-8. */
function commandJson(command: string, { stdout, stderr, isCut, isLate, ...end }: GuestCommandEnd) {
  const texts = { stdout: stdout.toString(), stderr: stderr.toString() }
  const isText =
    Buffer.from(texts.stdout).equals(stdout) && Buffer.from(texts.stderr).equals(stderr)
  const base64 = { stdout: stdout.toString('base64'), stderr: stderr.toString('base64') }
  const killed = isCut ? 'output' : isLate ? 'time' : null
  const encoding = isText ? 'utf8' : 'base64'
  return { command, ...end, killed, encoding, ...(isText ? texts : base64) }
}

function lifeOf({ for: text }: ResumeFlags): number {
  const ms = parseDuration(text)
  if (ms !== undefined && ms >= LIFE_MS_MIN && ms <= LIFE_MS_MAX) return ms
  throw new MayflyError('USAGE', `Cannot resume for "${text}": expected 1s to 1h, such as 10m`)
}

/** The capture of this name, else the newest that has a save, else the newest. */
async function captureOf(stored: StoredCaptures, { capture: name }: ResumeFlags, id: string) {
  const captures = (await stored.of(id)).toReversed()
  const found =
    name === undefined
      ? (captures.find(isResumable) ?? captures[0])
      : captures.find((one) => one.name === name)
  if (found) return found
  throw new MayflyError(
    'NOT_FOUND',
    `Cannot find capture "${sanitiseLine(name ?? '')}" of "${id}"`,
    {
      hint: `"mayfly evidence show ${id}" lists the captures`,
    },
  )
}

/** Throws MayflyError STATE where a part, or the memory of a template, is not what was kept. */
async function assertVerified(stored: StoredCaptures, flags: Globals, id: string): Promise<void> {
  const bad = (await verifyParts(stored, flags, id)).find(({ ok }) => !ok)
  if (bad)
    throw new MayflyError('STATE', `Cannot resume "${id}": ${bad.name}: ${bad.why}`, {
      hint: `"mayfly evidence verify ${id}" names each part that is bad; a part that is whole can still be extracted`,
    })
}

interface AnalysisRecord {
  (
    point: 'evidence/resumed' | 'evidence/command' | 'evidence/resume-ended',
    fields: Readonly<Record<string, unknown>>,
  ): void
  close(): Promise<void>
}

/** Lines about the capture of a run, signed by the warden. */
function openAnalysis(
  stateFolder: string,
  { run, tenant }: StoredCapture,
  warden: Pick<WardenClient, 'sign'>,
): AnalysisRecord {
  const signer = {
    checkpoint: (digests: readonly string[], from: Parameters<WardenClient['sign']>[1]) =>
      warden.sign(digests, from),
  }
  const record = openRecord({ stateFolder, clock: systemClock, signer })
  const append = (point: Parameters<AnalysisRecord>[0], fields: object) => {
    const at = systemClock.date()
    const event = { format: 1, seq: 0, at, run, zone: 'main', point, actor: 'operator' } as const
    record.append({ ...event, trust: 'host', fields: { ...fields } }, tenant)
  }
  return Object.assign(append, { close: () => record.close() })
}
