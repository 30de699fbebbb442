import { relative } from 'node:path'
import { inspect } from 'node:util'
import type { TestEvent } from 'node:test/reporters'

/** A node:test reporter for people: what failed and why, what was skipped and why, and what tests print. */
export default async function* reporter(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of source) yield textOf(event) ?? ''
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

interface Placed {
  readonly name: string
  readonly file?: string | undefined
  readonly line?: number | undefined
}

function skipped(test: Placed & { skip?: string | boolean | undefined }): string {
  return `skipped: ${test.name}${typeof test.skip === 'string' ? ` (${test.skip})` : ''}\n`
}

interface Failed extends Placed {
  readonly details: { readonly error: Error & { cause?: unknown; failureType?: string } }
}

/** A suite fails because a test in it did; the test says it. */
function isOnlyByParts({ details }: Failed): boolean {
  return details.error.failureType === 'subtestsFailed'
}

function failed(test: Failed): string {
  const where = test.file ? `${relative(process.cwd(), test.file)}:${test.line ?? 1}` : ''
  const why = reason(test.details.error.cause ?? test.details.error)
  return `\nFAILED: ${test.name}\n  ${where}\n  ${why.join('\n  ')}\n\n`
}

function reason(thrown: unknown): readonly string[] {
  const text = thrown instanceof Error ? (thrown.stack ?? thrown.message) : inspect(thrown)
  return text.split('\n').filter((line) => !/^\s+at .*node:internal/.test(line))
}

interface Covered {
  readonly summary: {
    readonly workingDirectory: string
    readonly files: readonly { readonly path: string; readonly coveredLinePercent: number }[]
    readonly totals: { readonly coveredLinePercent: number }
  }
}

function coverage({ summary: { workingDirectory, files, totals } }: Covered): string {
  const rows = files.map((file) =>
    row(file.coveredLinePercent, relative(workingDirectory, file.path)),
  )
  return [...rows, row(totals.coveredLinePercent, 'all lines')].join('')
}

function row(percent: number, name: string): string {
  return `${percent.toFixed(1).padStart(6)} %  ${name}\n`
}
