import type { HttpBindings } from '@hono/node-server'
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
