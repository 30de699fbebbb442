import { relative } from 'node:path'
import { inspect } from 'node:util'
import type { TestEvent } from 'node:test/reporters'
import { cpuSecondsOf } from './cpu-of-files.ts'

/** Threshold for the list of slow files. */
const slowMs = 10_000
/** User of the tests, where two users' run side by side. */
const half = process.env['MAYFLY_HALF'] ? ` (${process.env['MAYFLY_HALF']})` : ''

/** A run of hours says how far it is. */
const isLong = process.env['MAYFLY_LONG'] !== undefined

/** node:test reporter for people: failures and skips with reasons, test output, slow files. */
export default async function* reporter(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const slow: { readonly file: string; readonly took: number }[] = []
  for await (const event of source) {
    yield textOf(event) ?? ''
    if (event.type !== 'test:summary' || event.data.file === undefined) continue
    const { file, duration_ms: took } = event.data
    if (isLong) yield slowly({ file, took })
    else if (took > slowMs) slow.push({ file, took })
  }
  yield slow
    .sort((a, b) => b.took - a.took)
    .map(slowly)
    .join('')
}

function slowly({ file, took }: { readonly file: string; readonly took: number }): string {
  const cpu = cpuSecondsOf(file)
  const ofCpu = cpu === undefined ? '' : `, of CPU ${cpu.toFixed(1)} s,`
  return `${isLong ? 'ended' : 'slow'}: ${(took / 1000).toFixed(1)} s${ofCpu} ${relative(process.cwd(), file)}${half}\n`
}

function textOf(event: TestEvent): string | undefined {
  switch (event.type) {
    case 'test:pass':
      return event.data.skip === undefined ? undefined : skipped(event.data)
    case 'test:fail':
      return isOnlyByParts(event.data) ? undefined : failed(event.data)
    case 'test:stdout':
    case 'test:stderr':
      return event.data.message
    case 'test:coverage':
      return coverage(event.data)
    default:
      return undefined
  }
}

type DataOf<Type> = Extract<TestEvent, { type: Type }>['data']

function skipped(test: DataOf<'test:pass'>): string {
  return `skipped: ${test.name}${typeof test.skip === 'string' ? ` (${test.skip})` : ''}\n`
}

interface Thrown extends Error {
  readonly cause?: unknown
  readonly failureType?: string
  /** Exit of a whole test file. */
  readonly exitCode?: number | null
  readonly signal?: string | null
}

/** Skips a suite that failed only through its tests. */
function isOnlyByParts({ details }: DataOf<'test:fail'>): boolean {
  return (details.error as Thrown).failureType === 'subtestsFailed'
}

function failed(test: DataOf<'test:fail'>): string {
  const where = test.file ? `${relative(process.cwd(), test.file)}:${test.line ?? 1}` : ''
  const error: Thrown = test.details.error
  const { cause, exitCode, signal } = error
  const ended = exitCode === undefined ? [] : [`it ended with ${exitCode ?? signal}`]
  const why = [...reason(cause ?? error), ...ended]
  return `\nFAILED${half}: ${test.name}\n  ${where}\n  ${why.join('\n  ')}\n\n`
}

function reason(thrown: unknown): readonly string[] {
  const text = thrown instanceof Error ? (thrown.stack ?? thrown.message) : inspect(thrown)
  const lines = text.split('\n').filter((line) => !/^\s+at .*node:internal/.test(line))
  const cause = thrown instanceof Error ? thrown.cause : undefined
  return cause === undefined ? lines : [...lines, `because: ${inspect(cause).split('\n')[0]}`]
}

function coverage({ summary }: DataOf<'test:coverage'>): string {
  const { workingDirectory, files, totals } = summary
  const rows = files.map((file) =>
    row(file.coveredLinePercent, relative(workingDirectory, file.path)),
  )
  return [...rows, row(totals.coveredLinePercent, 'all lines')].join('')
}

function row(percent: number, name: string): string {
  return `${percent.toFixed(1).padStart(6)} %  ${name}\n`
}
