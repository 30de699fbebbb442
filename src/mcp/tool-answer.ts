import { isHintOfCaller, MayflyError, messageOf } from '../contract/error.ts'
import { lostWithIt } from '../contract/exec.ts'
import type { Outcome } from '../contract/outcome.ts'
import { outcomeFor } from '../contract/outcome-for.ts'
import { rewordedText } from '../contract/remedy.ts'
import { sanitise, sanitiseLine } from '../output/sanitise.ts'

/** Maximum characters of one result, text and data each; stated in the descriptions of the tools. */
export const answerCharactersMax = 20_000
const shares = { result: 7000, stdout: 6000, stderr: 3000, error: 1000 } as const
/** Share of the beginning in a truncated text; most of the rest is the end, which usually has the error. */
const HEAD_SHARE = 0.3
const MARK_CHARACTERS_MAX = 150
const ARTIFACTS_MAX = 50
const PATH_CHARACTERS_MAX = 200
/** Maximum characters of all paths of artifacts, escaped. */
const PATHS_CHARACTERS_MAX = 1500

/** Answer of a tool: text for the model, and data of its output schema. */
export interface ToolAnswer {
  readonly text: string
  readonly data: Readonly<Record<string, unknown>>
  readonly isError?: boolean
  /** Question to a person, instead of a result; the call continues with the reply to `state`. */
  readonly question?: string
  readonly state?: string
  /** Images for the model, in addition to the text. */
  readonly images?: readonly ToolImage[]
  /** Run whose kept files the client gets links to. */
  readonly run?: string
}

export interface ToolImage {
  readonly mimeType: string
  readonly base64: string
}

/**
 * Formats the outcome of a program for a model.
 *
 * Problem: output is untrusted text. It may contain escape sequences, imitate Markdown of the host, contain instructions for the
 * model (prompt injection), or fill its context.
 *
 * Mechanism: control characters are escaped, each text is in a fence longer than any fence in it, and truncated texts state how much
 * is missing. Not handled: a model may still follow instructions in the text, which is only labelled as data.
 */
export function answerOutcome(ended: Outcome): ToolAnswer {
  const entry = ended.session ? 'run_session' : 'run_code'
  const outcome = outcomeFor(entry, ended)
  const { status, error, stdout, stderr, exitCode, signal, metrics, tier } = outcome
  const result = resultTextOf(outcome)
  const head = [
    `status: ${status}`,
    exitCode !== null && exitCode !== 0 && `exit code ${exitCode}`,
    signal !== null && `signal ${signal}`,
    `${Math.round(metrics.executionTime)} ms`,
    tier !== undefined && `in a sandbox of tier ${tier}`,
  ]
  const { session } = outcome
  const of = session && `session: ${session.id}${session.ended ? ' (ended)' : ''}`
  const parts = [
    head.filter((one) => one !== false).join(', '),
    of,
    session?.ended && `The session has ended. ${lostWithIt}: call without "session" for a new one`,
    session?.state === 'lost' &&
      !session.ended &&
      'The interpreter was restarted: variables and imports are lost',
    error && fenced('error', errorText(error, stderr), shares.error),
    hintOf(outcome),
    result !== undefined && fenced(`result (${outcome.encoding})`, result, shares.result),
    stdout !== '' && fenced('stdout', stdout, shares.stdout),
    stderr !== '' && fenced('stderr', stderr, shares.stderr),
    filesLine(outcome),
    ...(outcome.warnings ?? []).map((one) => `warning: ${one}`),
  ]
  const text = parts.filter((one) => typeof one === 'string' && one !== '').join('\n\n')
  return { text, data: dataOf(outcome, result), ...(status !== 'ok' && { isError: true }) }
}

/** Remedy of a job that did not run, by Mayfly. */
function hintOf({ status, error }: Outcome): string {
  const { hint } = (error?.details ?? {}) as { readonly hint?: unknown }
  const isOurs = status === 'blocked' || status === 'unavailable'
  return isOurs && typeof hint === 'string' ? safeCut(hint, shares.error) : ''
}

/** Formats the error of a call that reached no sandbox, with the hint, so that the model can correct it. */
export function answerError(thrown: unknown, tool = 'run_code'): ToolAnswer {
  const known = thrown instanceof MayflyError && thrown.code !== 'INTERNAL' ? thrown : undefined
  const code = known?.code ?? 'INTERNAL'
  const entry = tool === 'run_session' ? tool : 'run_code'
  const own = (words: string) => rewordedText(entry, words, known?.remedies)
  const message = known ? own(messageOf(known)) : 'Cannot answer: an internal error occurred'
  const hint = known && isHintOfCaller(known) ? `\n${own(known.hint ?? '')}` : ''
  const wait =
    known?.retryAfterMs === undefined ? '' : `\nTry again in ${known.retryAfterMs / 1000} s`
  const text = safeCut(`${code}: ${message}${hint}${wait}`, shares.error)
  return { text, data: {}, isError: true }
}

/** Puts a text in a fence that it cannot close, below a label. */
export function fenced(label: string, text: string, most: number): string {
  const safe = safeCut(text, most)
  const longest = Math.max(2, ...[...safe.matchAll(/`+/g)].map(([run]) => run.length))
  const fence = '`'.repeat(longest + 1)
  return `${label}:\n${fence}\n${safe}${safe.endsWith('\n') ? '' : '\n'}${fence}`
}

/** Escapes and truncates a text, before and after escaping, because escapes lengthen it. */
export function safeCut(text: string, most: number): string {
  const safe = sanitise(cutMiddle(text, most))
  return safe.length <= most + MARK_CHARACTERS_MAX ? safe : cutMiddle(safe, most)
}

/** Truncates the middle of a long text. */
function cutMiddle(text: string, most: number): string {
  if (text.length <= most) return text
  const head = Math.floor(most * HEAD_SHARE)
  const left = text.length - most
  const mark = `\n[… ${left} characters omitted: write to a file, and read parts of it …]\n`
  return `${whole(text.slice(0, head))}${mark}${whole(text.slice(text.length - (most - head)))}`
}

/** Removes half surrogate pairs at both ends. */
function whole(text: string): string {
  return text.replace(/^[\udc00-\udfff]|[\ud800-\udbff]$/g, '')
}

function resultTextOf({ result, encoding }: Outcome): string | undefined {
  if (result === null || result === undefined) return undefined
  return encoding === 'text' && typeof result === 'string'
    ? result
    : JSON.stringify(result, undefined, 1)
}

/** Formats an error with its stack, unless the program printed the stack. */
function errorText(
  { code, name, message, stack = '' }: NonNullable<Outcome['error']>,
  stderr: string,
): string {
  const head = name === undefined ? `${code}: ${message}` : `${code}: ${name}: ${message}`
  return stack === '' || stderr.includes(stack.trim()) ? head : `${head}\n${stack}`
}

function filesLine(outcome: Outcome): string {
  const { artifacts, artifactsLeftOut } = outcome
  const shown = artifactsShown(outcome).map(({ path, size }) => `${path} (${size} bytes)`)
  const more = artifacts.length + artifactsLeftOut.length - shown.length
  if (shown.length === 0 && more === 0) return ''
  return `files: ${[...shown, ...(more > 0 ? [`${more} more`] : [])].join(', ')}`
}

/** First artifacts, with escaped paths, which are longer. */
function artifactsShown({ artifacts }: Outcome) {
  let characters = 0
  return artifacts
    .slice(0, ARTIFACTS_MAX)
    .map(({ path, size, sha256 }) => ({
      path: sanitiseLine(path.slice(0, PATH_CHARACTERS_MAX)),
      size,
      sha256,
    }))
    .filter(({ path }) => (characters += path.length) <= PATHS_CHARACTERS_MAX)
}

function dataOf(outcome: Outcome, result: string | undefined): ToolAnswer['data'] {
  const { error, stdout, stderr } = outcome
  const isLarge = (result?.length ?? 0) > shares.result
  const left = (text: string, most: number): number => Math.max(0, text.length - most)
  return {
    id: outcome.id,
    status: outcome.status,
    ...(!isLarge && { result: outcome.result ?? null }),
    encoding: outcome.encoding,
    ...(error && {
      error: {
        code: error.code,
        ...(error.name !== undefined && { name: error.name }),
        message: safeCut(error.message, shares.error),
      },
    }),
    stdout: safeCut(stdout, shares.stdout),
    stderr: safeCut(stderr, shares.stderr),
    truncated: outcome.truncated,
    exitCode: outcome.exitCode,
    signal: outcome.signal,
    artifacts: artifactsShown(outcome),
    ...(outcome.tier !== undefined && { tier: outcome.tier }),
    ...(outcome.provider !== undefined && { provider: outcome.provider }),
    ...(outcome.session && { session: sessionOf(outcome.session) }),
    leftOut: {
      result: isLarge,
      stdout: left(stdout, shares.stdout),
      stderr: left(stderr, shares.stderr),
    },
  }
}

function sessionOf({ id, state, ended }: NonNullable<Outcome['session']>) {
  return { id, state, ended }
}
