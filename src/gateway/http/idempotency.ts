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
import { canonicalJson } from '../../lib/canonical-json.ts'
import { sha256 } from '../../lib/hash.ts'
import type { StrictJson } from '../../lib/strict-json.ts'
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
  | KnownAnswer

export interface KnownAnswer {
  readonly kind: 'done'
  readonly id: string
  /** Outcome or stored answer, as JSON; empty for an open session. */
  readonly text: string
}

/**
 * Claims an idempotency key for a job, or finds the outcome of the job that holds it. Throws MayflyError INVALID for
 * another body or a malformed key, CONFLICT while the first job runs or after its outcome expired, and RATE_LIMITED
 * for a new key beyond those of its tenant.
 */
export function claimIdempotencyKey(
  history: History,
  live: LiveJobs,
  asked: IdempotencyClaim,
): KeyClaim {
  const known = findIdempotencyKey(history, live, asked)
  if (known) return known
  const { tenant, digest, id } = asked
  const owner = keyOwner(asked)
  history.claimKey(tenant, owner, { id, digest })
  return {
    kind: 'new',
    release: () => history.releaseKey(tenant, owner),
    keep: (answer) => history.claimKey(tenant, owner, { id, digest, answer }),
  }
}

/** Finds the outcome under an idempotency key, and claims nothing; undefined for a new key. Throws as `claimIdempotencyKey` does. */
export function findIdempotencyKey(
  history: History,
  live: LiveJobs,
  asked: Omit<IdempotencyClaim, 'id'>,
): KnownAnswer | undefined {
  const { tenant, key, digest } = asked
  if (!KEY.test(key)) {
    throw new MayflyError(
      'INVALID',
      'Cannot use this Idempotency-Key: expected 1 to 255 visible ASCII characters',
    )
  }
  const before = history.findKey(tenant, keyOwner(asked))
  if (!before) return undefined
  if (before.digest !== digest) {
    throw new MayflyError('INVALID', 'Cannot accept another body under this Idempotency-Key', {
      details: { id: before.id },
    })
  }
  if (before.answer !== undefined) return { kind: 'done', id: before.id, text: before.answer }
  const state = asked.stateOf?.(before.id)
  if (state === 'done') return { kind: 'done', id: before.id, text: '' }
  if (state === 'running' || live.isUnderWay(tenant, before.id)) {
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

/**
 * Digest of a body, for its idempotency key; `of` names the resource of the request. White space does not count, and the
 * member `keep` counts by its text: its numbers keep their spelling, and may be beyond a double.
 */
export function bodyDigest({ value, kept }: StrictJson, keep: string, of?: string): string {
  const others = kept === undefined ? value : { ...(value as object), [keep]: undefined }
  return sha256(`${of === undefined ? '' : `${of}\0`}${canonicalJson(others)}\0${kept ?? ''}`)
}

function keyOwner({ principal, key }: Pick<IdempotencyClaim, 'principal' | 'key'>): string {
  return `key_${sha256(`${principal}\0${key}`)}`
}
