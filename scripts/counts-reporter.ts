import type { TestEvent } from 'node:test/reporters'

/** A node:test reporter that says how many tests passed, failed and were skipped, as one JSON object. */
export default async function* counts(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of source) {
    if (event.type !== 'test:summary' || event.data.file !== undefined) continue
    const { tests, passed, skipped, todo } = event.data.counts
    yield JSON.stringify({ passed, failed: tests - passed - skipped - todo, skipped })
  }
}
