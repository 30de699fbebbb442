import { randomBytes, randomUUID } from 'node:crypto'
import { thrown } from './failure.js'

/**
 * What a realm may ask of its host: a closed list, text or numbers in and out, everything bounded.
 *
 * @param {import('./job.js').Job} job
 * @param {string} op
 */
export function answer(job, op, a, b) {
  if (!Object.hasOwn(answers, op)) return undefined
  return answers[op](job, a, b)
}

const RANDOM_BYTES_MAX = 65_536

const answers = {
  __proto__: null,
  task: (job) => JSON.stringify(facts(job.task)),
  input: (job) => job.task.inputText,
  code: (job) => job.task.code,
  clock: (job) => job.elapsed(),
  arm: (job, ms) => void (job.armed = ms),
  stdout: (job, text) => job.stdout.add(String(text)),
  stderr: (job, text) => job.stderr.add(String(text)),
  ok: (job, encoding, text) => job.succeed(encoding, text),
  error: (job, text) => job.refuse(thrown(JSON.parse(text))),
  random: (_job, count) => randomBytes(Math.min(count, RANDOM_BYTES_MAX)).toString('latin1'),
  uuid: () => randomUUID(),
}

const CHECKS = { body: 'async', handler: 'sync' }

function facts({ entry, code, timeoutMs, resultBytesMax }) {
  const check = code.includes('}') ? CHECKS[entry] : undefined
  return { entry, check, timeoutMs, resultUnitsMax: resultBytesMax }
}
