import { checked } from '../contract/checked.ts'
import type { Clock } from '../contract/clock.ts'
import { errorCodes, MayflyError, type ErrorCode } from '../contract/error.ts'
import { jobRequest, type Job } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import {
  execRequest,
  sessionLanguages,
  sessionRequest,
  type ExecAsked,
  type SessionAsked,
  type SessionLanguage,
} from '../contract/session.ts'
import { assertInputFits, makeJob } from '../contract/make-job.ts'
import {
  terminalRequest,
  terminalShell,
  terminalSignal,
  terminalSize,
  type TerminalAsked,
  type TerminalSignal,
  type TerminalSize,
  type TerminalTask,
} from '../contract/terminal.ts'

/** Owner of a job, and its entry point. */
export type SessionOwner = Pick<Job, 'tenant' | 'principal' | 'origin' | 'traceparent'>

/** Reads a request for a session. Throws MayflyError INVALID, and LANGUAGE_UNSUPPORTED for a language without sessions. */
export function readSession(value: unknown): SessionAsked & { readonly language: SessionLanguage } {
  const asked = checked(sessionRequest, value, 'session', placeOfOther)
  const language = sessionLanguages.find((known) => known === asked.language)
  if (language) return { ...asked, language }
  throw new MayflyError('LANGUAGE_UNSUPPORTED', `Cannot open a session of "${asked.language}"`, {
    hint: `Languages of sessions: ${sessionLanguages.join(', ')}`,
    details: { languages: sessionLanguages },
  })
}

/** Place of a field of executions that a session, or its exec, does not have. */
function placeOfOther(field: string): string | undefined {
  if (Object.hasOwn(execRequest.unwrap().shape, field))
    return 'belongs to an exec of the session (POST /v1/sandboxes/{id}/run, or box.run)'
  if (Object.hasOwn(sessionRequest.unwrap().shape, field))
    return 'belongs to the opening of the session (POST /v1/sandboxes, or mayfly.open)'
  if (Object.hasOwn(jobRequest.unwrap().shape, field))
    return 'belongs to an execution (POST /v1/executions, or mayfly.run), not to a session'
  return undefined
}

/** Reads a request for an exec. Throws MayflyError INVALID. */
export function readExec(value: unknown): ExecAsked {
  const asked = checked(execRequest, value, 'exec', placeOfOther)
  if ((asked.code === undefined) === (asked.command === undefined))
    throw invalid('exec', 'code', 'expected either code or command')
  if (asked.code?.isWellFormed() === false)
    throw invalid('exec', 'code', 'expected text without lone surrogates')
  return asked
}

/** Makes the job of a session's life: without code, and as long as a session may last. */
export function sessionJob(asked: SessionAsked, owner: SessionOwner, clock: Clock): Job {
  const { envs, timeout: _timeout, idle: _idle, env, limits, ...own } = asked
  const { output: _output, artifacts: _artifacts, ...given } = own
  const { timeout: _each, ...bounds } = limits
  const request = { ...given, env: { ...env, ...envs }, limits: bounds, entry: 'program', code: '' }
  const made = makeJob({ ...checked(jobRequest, request, 'session'), code: '' }, owner, clock)
  return { ...made, session: { kind: 'open' }, inputText: 'null' }
}

/** Defaults of the job fields that an exec request does not have. */
const jobDefaults = jobRequest.parse({})

/** Makes a checked exec request into a job of the same owner. A command is analysed as a shell script. */
export function execJob(
  { command, limits, ...asked }: ExecAsked,
  of: { readonly id: string; readonly asked: SessionAsked; readonly inputText?: string },
  owner: SessionOwner,
  clock: Clock,
): Job {
  const isCode = command === undefined
  const { language } = of.asked
  if (!isCode && (language === 'js' || language === 'ts'))
    throw invalid('exec', 'command', `a session in ${language} runs cells alone`)
  const request = {
    ...jobDefaults,
    output: of.asked.output,
    artifacts: of.asked.artifacts,
    ...asked,
    code: asked.code ?? (typeof command === 'string' ? command : (command ?? []).join(' ')),
    language: isCode ? language : 'sh',
    entry: isCode && language === 'python' ? 'auto' : 'program',
    limits: { ...(of.asked.limits.timeout && { timeout: of.asked.limits.timeout }), ...limits },
  } as const
  const session = { kind: 'exec', of: of.id, ...(command !== undefined && { command }) } as const
  const inputText = of.inputText ?? JSON.stringify(asked.input ?? null)
  assertInputFits(inputText.length)
  return { ...makeJob(request, owner, clock), session, inputText }
}

/** Reads a request for a terminal. Throws MayflyError INVALID. */
export function readTerminal(value: unknown): TerminalAsked {
  return checked(terminalRequest, value, 'terminal')
}

/** Reads the size of a terminal. Throws MayflyError INVALID. */
export function readSize(value: unknown): TerminalSize {
  return checked(terminalSize, value, 'size')
}

/** Reads the name of a signal to a terminal. Throws MayflyError INVALID. */
export function readSignal(value: unknown): TerminalSignal {
  return checked(terminalSignal, value, 'signal')
}

/** Makes a terminal request into an exec of its command, and the task for the wall. */
export function terminalJob(
  { env, command = terminalShell, ...asked }: TerminalAsked,
  of: { readonly id: string; readonly asked: SessionAsked },
  owner: SessionOwner,
  clock: Clock,
): { readonly job: Job; readonly task: TerminalTask } {
  const { output, artifacts } = jobDefaults
  const exec = { ...execRequest.parse({ command, env }), output, artifacts }
  return { job: execJob(exec, of, owner, clock), task: { ...asked, command, env } }
}

function invalid(noun: string, path: string, message: string): MayflyError {
  return new MayflyError('INVALID', `Cannot use the ${noun}: "${path || noun}": ${message}`, {
    details: [{ path, message }],
  })
}

/** Error of a session whose life ended before its first exec. */
export function endedBeforeExec(outcome: Outcome): MayflyError {
  const { code = 'UNAVAILABLE', message = 'The sandbox ended' } = outcome.error ?? {}
  const known: ErrorCode = Object.hasOwn(errorCodes, code) ? (code as ErrorCode) : 'UNAVAILABLE'
  return new MayflyError(known, message, { details: { outcome } })
}
