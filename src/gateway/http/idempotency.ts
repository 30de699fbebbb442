/**
 * Idempotency-Key, after the IETF draft of the httpapi group: the same key and body run once and get the same outcome.
 *
 * Mechanism: the hash of principal and key is stored with the digest of the body before the job starts. Lookup and
 * insert are synchronous, so of two concurrent requests to one server exactly one is new.
 *
 * Relies on: the history in the state folder. After a crash of the server, a retry gets the outcome "interrupted",
 * not a second run. Not handled (race): two servers on one state folder may both accept a key that arrives at both concurrently.
 */

import { MayflyError } from '../../contract/error.ts'
import { sha256 } from '../../lib/hash.ts'
import type { History } from '../../history/history.ts'
import type { LiveJobs } from './live-jobs.ts'

const KEY = /^[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?$/

export interface IdempotencyClaim {
  readonly tenant: string
  /** Owner of the key: equal keys of different principals do not collide. */
  readonly principal: string
  readonly key: string
  /** Digest of the body; the same key with another body is an error. */
  readonly digest: string
  readonly id: string
  /** State of a request that is no job: 'done' for an open session, which has no outcome yet. */
  readonly stateOf?: (id: string) => 'running' | 'done' | undefined
}

export type KeyClaim =
  | {
      readonly kind: 'new'
      /** Releases the key: nothing ran under it. */ readonly release: () => void
      /** Stores the answer under the key, for a request that has no outcome. */
      readonly keep: (answer: string) => void
    }
  | {
      readonly kind: 'done'
      readonly id: string
      /** Outcome or stored answer, as JSON; empty for an open session. */ readonly text: string
    }

/**
 * Claims an idempotency key for a job, or finds the outcome of the job that holds it. Throws MayflyError INVALID for
 * another body or a malformed key, CONFLICT while the first job runs or after its outcome expired.
 */
export function claimIdempotencyKey(
  history: History,
  live: LiveJobs,
  asked: IdempotencyClaim,
): KeyClaim {
  const { tenant, principal, key, digest, id } = asked
  if (!KEY.test(key)) {
    throw new MayflyError(
      'INVALID',
      'Cannot use this Idempotency-Key: expected 1 to 255 visible ASCII characters',
    )
  }
  const owner = `key_${sha256(`${principal}\0${key}`)}`
  const before = history.findKey(tenant, owner)
  if (!before) {
    history.claimKey(tenant, owner, { id, digest })
    return {
      kind: 'new',
      release: () => history.releaseKey(tenant, owner),
      keep: (answer) => history.claimKey(tenant, owner, { id, digest, answer }),
    }
  }
  if (before.digest !== digest) {
    throw new MayflyError('INVALID', 'Cannot accept another body under this Idempotency-Key', {
      details: { id: before.id },
    })
  }
  if (before.answer !== undefined) return { kind: 'done', id: before.id, text: before.answer }
  const state = asked.stateOf?.(before.id)
  if (state === 'done') return { kind: 'done', id: before.id, text: '' }
  if (state === 'running' || live.find(tenant, before.id)) {
    throw new MayflyError(
      'CONFLICT',
      'Cannot answer yet: the request under this Idempotency-Key is still running',
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
    'Cannot repeat the answer under this Idempotency-Key: it is no longer stored',
    {
      details: { id: before.id },
    },
  )
}
