import { createWriteStream } from 'node:fs'
import { run } from 'node:test'
import counts from './counts-reporter.ts'
import reporter from './reporter.ts'

/**
 * Runs test files in the order given, as `node --test` does in that of their names: what takes longest has to begin
 * first, or one processor waits for it at the end. Started with the options of `run` and the file for the counts.
 */
const [options = '', countsFile = ''] = process.argv.slice(2)
const events = run(JSON.parse(options))
events.on('test:fail', () => (process.exitCode = 1))
events.compose(reporter).pipe(process.stdout)
events.compose(counts).pipe(createWriteStream(countsFile))
