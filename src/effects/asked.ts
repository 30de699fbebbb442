import type { Effect } from '../contract/effect.ts'
import { MayflyError } from '../contract/error.ts'
import type { Job, JobAsked } from '../contract/job.ts'

const MB = 2 ** 20
/** What was settled when the effect was registered. */
const settled = ['language', 'signature', 'publicKey'] as const

/**
 * What a call of an effect asks for: its code, language and signature, and of each limit the stricter. Throws
 * MayflyError INVALID for a call that brings another language or a signature of its own.
 */
export function askedOf(effect: Effect, asked: JobAsked): Job['asked'] {
  for (const path of settled)
    if (asked[path] !== undefined && asked[path] !== effect[path]) throw settledAlready(path)
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

function settledAlready(path: string): MayflyError {
  const message = 'expected none: the effect was registered with its own'
  return new MayflyError('INVALID', `Cannot take the job: "${path}": ${message}`, {
    details: [{ path, message }],
  })
}
