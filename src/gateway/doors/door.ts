import type { HttpBindings } from '@hono/node-server'
import { MayflyError } from '../../contract/error.ts'
import type { Identity } from '../http/keys.ts'

/** Path parameters: `{id}` is `params.id`, decoded. */
export type Params = Readonly<Record<string, string>>

/** Answers a call of the API; `Parts` is what it needs of the server. */
export type Door<Parts> = (
  parts: Parts,
  http: HttpBindings,
  who: Identity,
  params: Params,
) => Promise<Response> | Response

/** A part that a server may lack; `why` is the refusal without it. Throws MayflyError UNAVAILABLE. */
export function present<T>(part: T | undefined, why: string): T {
  if (part !== undefined) return part
  throw new MayflyError('UNAVAILABLE', why)
}
