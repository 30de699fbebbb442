/** A shell script: it is started with the job's own descriptors, and its end is the job's. */
import { spawn } from 'node:child_process'

const SHELL = '/bin/sh'
const SIGNALLED = 128

/** @param {import('./entries.js').Job} job @param {string} main */
export function runShell(job, main) {
  job.release()
  const child = spawn(SHELL, [main], { stdio: [0, 1, 2, 3] })
  child.once('error', (error) => job.fail(error))
  child.once('exit', (code, signal) => {
    if (signal) job.exit(SIGNALLED, signal)
    else job.exit(code ?? 0)
  })
}
