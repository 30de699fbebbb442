import type { HttpBindings } from '@hono/node-server'
import { effectCall, effectName, effectRequest } from '../../contract/effect.ts'
import { MayflyError } from '../../contract/error.ts'
import { jobRequest } from '../../contract/job.ts'
import { follow, outcomeResponse } from './answer-job.ts'
import type { Door } from '../http/door.ts'
import { makeJob } from './executions.ts'
import type { Identity } from '../http/keys.ts'
import { invalid } from '../http/problem.ts'
import { json } from '../http/json-response.ts'
import { traceOf } from '../http/request-trace.ts'
import { startJob } from '../http/start-job.ts'

const MB = 2 ** 20

/**
 * `POST /api/effects/register`, for an authenticated caller: checks the schema, analyses the code, blocks or audits
 * it, then stores it under its name.
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
  const started = startJob(door, job)
  follow(http.outgoing, started, false)
  const { outcome } = await started.ended
  return outcomeResponse({ outcome, text: JSON.stringify({ effectId, ...outcome }) })
}

/** `GET /api/effects`: lists the effects of the key's tenant. */
export function listEffects(door: Door, _: HttpBindings, { tenant }: Identity): Response {
  return json({ items: door.effects.list(tenant) })
}

/** `GET /api/effects/:id`: one effect with its code. */
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

/** Answers an invalid name with NOT_FOUND, like an unknown one. */
function named(id: string): string {
  if (effectName.safeParse(id).success) return id
  throw new MayflyError('NOT_FOUND', 'Cannot find an effect of this name')
}
