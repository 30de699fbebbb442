import type { TestEvent } from 'node:test/reporters'
import type { Counted, Counts } from './counts.ts'

type Summary = Extract<TestEvent, { type: 'test:summary' }>['data']

/** node:test reporter that prints passed, failed and skipped counts as one JSON object. */
export default async function* counts(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const failed: Record<string, Counts> = {}
  for await (const event of source) {
    if (event.type !== 'test:summary') continue
    const { file } = event.data
    const counted = countsOf(event.data)
    if (file === undefined) yield JSON.stringify({ ...counted, files: failed } satisfies Counted)
    else if (counted.failed > 0) failed[file] = counted
  }
}

function countsOf({ counts: { tests, passed, skipped, todo } }: Summary): Counts {
  return { passed, failed: tests - passed - skipped - todo, skipped }
}
