import type * as z from 'zod'
import type { Override, OverrideInput } from '../contract/config.ts'
import type { effectExecuted, effectRequest, effectRows } from '../contract/effect.ts'
import type { TimelineEntry } from '../contract/event.ts'
import type { Outcome } from '../contract/outcome.ts'

export interface ClientOptions {
  /** URL of the active endpoint, e.g. `http://127.0.0.1:7421`. */
  readonly url: string
  /** An API key. Without one only public calls are answered. */
  readonly key?: string | undefined
  /** Replacement for the global fetch, e.g. for a proxy or a private CA. */
  readonly fetch?: typeof fetch
}

export interface AskOptions {
  readonly signal?: AbortSignal | undefined
  /** Idempotency key: the same key and job run once. */
  readonly idempotencyKey?: string | undefined
}

/** Execution that has not ended. */
export interface Pending {
  readonly id: string
  readonly status: 'queued' | 'running'
}

export type StreamEvent =
  | { readonly event: 'stdout' | 'stderr'; readonly data: { readonly text: string } }
  | { readonly event: 'event'; readonly data: TimelineEntry }
  | { readonly event: 'outcome'; readonly data: Outcome }

export interface WatchOptions {
  readonly signal?: AbortSignal | undefined
  readonly after?: number | undefined
}

/** Configuration that can change over HTTP: as given and as in force. */
export type ConfigPatch = OverrideInput
export type ConfigInForce = Override

export interface ListOptions {
  readonly limit?: number | undefined
  readonly cursor?: string | undefined
  readonly labels?: Readonly<Record<string, string>> | undefined
}

export type EffectAsked = z.input<typeof effectRequest>
export type EffectExecuted = z.output<typeof effectExecuted>
export type EffectRows = z.output<typeof effectRows>

/** Body of a response that is not an outcome. */
export interface AnsweredProblem {
  readonly status?: number
  readonly code?: string
  readonly message?: string
  readonly details?: unknown
  readonly hint?: string
  readonly retryAfter?: number
  readonly outcome?: Outcome
}
