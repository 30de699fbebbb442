import type { Effect } from '../contract/effect.ts'
import { MayflyError } from '../contract/error.ts'
import type { Job, JobAsked } from '../contract/job.ts'

const MB = 2 ** 20
/** Fields fixed at registration. */
const fixedFields = ['language', 'signature', 'publicKey'] as const

/**
 * Builds the job of an effect call: code, language and signature of the effect, and the stricter of each limit.
 * Throws MayflyError INVALID if the call brings its own language or signature.
 */
export function effectJob(effect: Effect, asked: JobAsked): Job['asked'] {
  for (const path of fixedFields)
    if (asked[path] !== undefined && asked[path] !== effect[path]) throw alreadyFixed(path)
  const { code, language, signature, publicKey } = effect
  const { timeout = Infinity, memory = Infinity } = asked.limits
  return {
    ...asked,
    code,
    language,
    limits: {
      ...asked.limits,
      timeout: Math.min(timeout, effect.timeout),
      memory: Math.min(memory, effect.memoryLimit * MB),
    },
    ...(signature !== undefined && { signature }),
    ...(publicKey !== undefined && { publicKey }),
  }
}

function alreadyFixed(path: string): MayflyError {
  const message = 'expected none: the effect was registered with its own'
  return new MayflyError('INVALID', `Cannot accept the job: "${path}": ${message}`, {
    details: [{ path, message }],
  })
}
