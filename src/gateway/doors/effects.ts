import type { HttpBindings } from '@hono/node-server'
import { effectCall, effectName, effectRequest } from '../../contract/effect.ts'
import { MayflyError } from '../../contract/error.ts'
import { jobRequest } from '../../contract/job.ts'
import { follow, outcomeResponse } from './answer.ts'
import type { Door } from '../http/door.ts'
import { makeJob } from './executions.ts'
import type { Identity } from '../http/keys.ts'
import { invalid } from '../http/problem.ts'
import { json } from '../http/reply.ts'
import { traceOf } from '../http/trail.ts'
import { undertake } from '../http/undertake.ts'

const MB = 2 ** 20

/**
 * `POST /api/effects/register`. Who asks is known by now; then the schema, then what the code looks like, then
 * whether that is blocked, or written down; what is left is kept under its name.
 */
export async function registerEffect(door: Door, http: HttpBindings, who: Identity) {
  door.running.refuseWhenDraining()
  const body = await door.bodies.json(http.incoming, http.outgoing, 'input', who.tenant)
  const read = effectRequest.safeParse(body.value)
  if (!read.success) throw invalid('effect', read.error)
  const { effectId, timeout, memoryLimit, language = 'js', ...code } = read.data
  const limits = {
    ...(timeout !== undefined && { timeout }),
    ...(memoryLimit !== undefined && { memory: memoryLimit * MB }),
  }
  const asked = jobRequest.parse({ ...code, language, limits })
  const job = makeJob(
    door,
    asked,
    { kept: undefined },
    { ...who, origin: 'http', ...traceOf(http.incoming) },
  )

  using _place = door.running.begin(who.tenant)
  return json(await door.effects.register(job, { effectId }))
}

/** `POST /api/effects/execute`: the outcome, with the effect's name. */
export async function executeEffect(door: Door, http: HttpBindings, who: Identity) {
  door.running.refuseWhenDraining()
  const body = await door.bodies.json(http.incoming, http.outgoing, 'input', who.tenant)
  const read = effectCall.safeParse(body.value)
  if (!read.success) throw invalid('call of an effect', read.error)
  const { effectId } = read.data
  const job = makeJob(door, jobRequest.parse({ effectId }), body, {
    ...who,
    origin: 'http',
    ...traceOf(http.incoming),
  })
  const under = undertake(door, job)
  follow(http.outgoing, under, false)
  const { outcome } = await under.ended
  return outcomeResponse({ outcome, text: JSON.stringify({ effectId, ...outcome }) })
}

/** `GET /api/effects`: those of the key's tenant. */
export function listEffects(door: Door, _: HttpBindings, { tenant }: Identity): Response {
  return json({ items: door.effects.list(tenant) })
}

/** `GET /api/effects/:id`: one, with its code. */
export function readEffect(
  door: Door,
  _: HttpBindings,
  { tenant }: Identity,
  { id = '' }: Readonly<Record<string, string>>,
): Response {
  return json(door.effects.get(tenant, named(id)))
}

/** `DELETE /api/effects/:id`. */
export function removeEffect(
  door: Door,
  _: HttpBindings,
  { tenant }: Identity,
  { id = '' }: Readonly<Record<string, string>>,
): Response {
  door.effects.remove(tenant, named(id))
  return new Response(null, { status: 204, headers: { 'cache-control': 'no-store' } })
}

/** What cannot be a name is not there either. */
function named(id: string): string {
  if (effectName.safeParse(id).success) return id
  throw new MayflyError('NOT_FOUND', 'Cannot find an effect of this name')
}
