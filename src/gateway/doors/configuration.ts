import type { HttpBindings } from '@hono/node-server'
import * as z from 'zod'
import { configSchema } from '../../contract/config.ts'
import { MayflyError } from '../../contract/error.ts'
import { requirePart, type Door } from './door.ts'
import type { ChangeConfig, GatewayParts } from '../http/parts.ts'
import type { Identity } from '../http/keys.ts'
import { invalid } from '../../contract/checked.ts'
import { json } from '../http/json-response.ts'
import { configBody, type ConfigBody } from '../http/configuration-body.ts'

/** The body of `PUT /v1/providers/default`. */
export const defaultProvider = z.strictObject({
  name: z.string().min(1).max(64).describe('name of an available provider, or auto'),
})

type ConfigParts = Pick<GatewayParts, 'bodies' | 'change'>

/** `PATCH /v1/config`. Scope admin may only narrow; widening needs a key that itself has `config:widen`. */
export const changeConfig: Door<ConfigParts> = async (parts, { http, identity }) => {
  const patch = await bodyOf(parts, http, identity, configBody, 'configuration')
  return json(await changeOf(parts)(patch.asked as ConfigBody, by(identity)))
}

/** `PUT /v1/providers/default`: changes this field only. */
export const preferProvider: Door<ConfigParts> = async (parts, { http, identity }) => {
  const { read } = await bodyOf(parts, http, identity, defaultProvider, 'default provider')
  return json(await changeOf(parts)({ default_provider: read.name }, by(identity)))
}

async function bodyOf<T extends z.ZodType>(
  parts: Pick<GatewayParts, 'bodies'>,
  { incoming, outgoing }: HttpBindings,
  identity: Identity,
  schema: T,
  what: string,
): Promise<{ readonly asked: unknown; readonly read: z.output<T> }> {
  const { value: asked } = await parts.bodies.json(incoming, outgoing, 'input', identity.tenant)
  const read = schema.safeParse(asked)
  if (!read.success) throw settledAtStart(read.error) ?? invalid(what, read.error)
  return { asked, read: read.data }
}

/** Error for keys of the configuration file that need a restart. */
function settledAtStart({ issues }: z.ZodError): MayflyError | undefined {
  const keys = issues
    .flatMap((issue) =>
      issue.code === 'unrecognized_keys' && issue.path.length === 0 ? issue.keys : [],
    )
    .filter((key) => Object.hasOwn(configSchema.shape, key))
  if (keys.length === 0) return undefined
  const message = `Cannot change "${keys.join('", "')}" while the server runs: set it in the configuration file and restart`
  const details = keys.map((path) => ({ path, message: 'needs a restart' }))
  return new MayflyError('INVALID', message, { details })
}

function changeOf({ change }: Pick<GatewayParts, 'change'>): ChangeConfig {
  return requirePart(
    change,
    'Cannot change the configuration: changes over HTTP are disabled on this server',
  )
}

function by({ principal, scopes }: Identity) {
  return { principal, mayWiden: scopes.includes('config:widen') }
}
