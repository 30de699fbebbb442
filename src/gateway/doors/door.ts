import type { HttpBindings } from '@hono/node-server'
import { MayflyError } from '../../contract/error.ts'
import type { Identity } from '../http/keys.ts'

/** Path parameters: `{id}` is `params.id`, decoded. */
export type Params = Readonly<Record<string, string>>

/** An authenticated request; `identity` is that of nobody where no key is needed. */
export interface DoorCall {
  readonly http: HttpBindings
  readonly identity: Identity
  readonly params: Params
}

/** Handler of an API call; `Parts` are the parts of the server that it depends on. */
export type Door<Parts> = (parts: Parts, call: DoorCall) => Promise<Response> | Response

/** Returns an optional part of the server. Throws MayflyError UNAVAILABLE with the message `why` if it is missing. */
export function requirePart<T>(part: T | undefined, why: string): T {
  if (part !== undefined) return part
  throw new MayflyError('UNAVAILABLE', why)
}
