import { createWriteStream } from 'node:fs'
import { run } from 'node:test'
import counts from './counts-reporter.ts'
import { noteCpuOf } from './cpu-of-files.ts'
import reporter from './reporter.ts'

/**
 * Runs test files in the given order (`node --test` sorts by name): the longest must start first. Arguments: options
 * of `run` and the counts file.
 */
const [options = '', countsFile = ''] = process.argv.slice(2)
const asked = JSON.parse(options) as NonNullable<Parameters<typeof run>[0]>
if (asked.concurrency === 1) noteCpuOf(asked.files ?? [])
const events = run(asked)
events.on('test:fail', () => (process.exitCode = 1))
events.compose(reporter).pipe(process.stdout)
events.compose(counts).pipe(createWriteStream(countsFile))
