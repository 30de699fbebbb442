import { MayflyError } from '../../contract/error.ts'
import { sha256 } from '../../lib/hash.ts'
import type { History } from '../../history/history.ts'
import type { LiveJobs } from './live-jobs.ts'

const KEY = /^[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?$/

export interface Promised {
  readonly tenant: string
  /** Whose key it is; the same words of another owner are another key. */
  readonly principal: string
  readonly key: string
  /** Of the body; the same key with another body is a mistake. */
  readonly digest: string
  readonly id: string
}

export type Claimed =
  | {
      readonly kind: 'new'
      /** Lets the key go: nothing ran under it. */ readonly release: () => void
    }
  | { readonly kind: 'done'; readonly id: string; readonly text: string }

/**
 * Takes an idempotency key for a job, or finds what the job that has it came to. Synchronous, so that of two requests
 * at once exactly one is new. Throws MayflyError INVALID for another body or a key that is none, CONFLICT while the
 * first is under way or where its outcome is not kept any more.
 */
export function claim(history: History, live: LiveJobs, asked: Promised): Claimed {
  const { tenant, principal, key, digest, id } = asked
  if (!KEY.test(key)) {
    throw new MayflyError(
      'INVALID',
      'Cannot use this Idempotency-Key: expected 1 to 255 visible ASCII characters',
    )
  }
  const owner = `key_${sha256(`${principal}\0${key}`)}`
  const before = history.recall(tenant, owner)
  if (!before) {
    history.promise(tenant, owner, { id, digest })
    return { kind: 'new', release: () => history.release(tenant, owner) }
  }
  if (before.digest !== digest) {
    throw new MayflyError('INVALID', 'Cannot take another job under this Idempotency-Key', {
      details: { id: before.id },
    })
  }
  if (live.find(tenant, before.id)) {
    throw new MayflyError(
      'CONFLICT',
      'Cannot answer yet: the job under this Idempotency-Key is under way',
      {
        details: { id: before.id },
        retryAfterMs: 1000,
      },
    )
  }
  const text = history.outcome(tenant, before.id)
  if (text !== undefined) return { kind: 'done', id: before.id, text }
  throw new MayflyError(
    'CONFLICT',
    'Cannot repeat the answer under this Idempotency-Key: it is not kept any more',
    {
      details: { id: before.id },
    },
  )
}
