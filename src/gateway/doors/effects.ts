import { effectCall, effectName, effectRequest } from '../../contract/effect.ts'
import { MayflyError } from '../../contract/error.ts'
import { jobRequest } from '../../contract/job.ts'
import type { Door } from './door.ts'
import { follow, outcomeResponse } from './answer-job.ts'
import type { GatewayParts, JobIntake, JobStart } from '../http/parts.ts'
import { makeHttpJob } from './executions.ts'
import { holdAnswer, refuseUnread } from './stored-outcome.ts'
import { checked } from '../../contract/checked.ts'
import { json } from '../http/json-response.ts'
import { metered, type MeterParts } from '../http/metered.ts'
import { traceOf } from '../http/request-trace.ts'
import { startJob } from '../http/start-job.ts'

const MB = 2 ** 20

/**
 * `POST /api/effects/register`, for an authenticated caller: checks the schema, analyses the code, blocks or audits
 * it, then stores it under its name.
 */
export const registerEffect: Door<JobIntake & MeterParts & Pick<GatewayParts, 'bodies'>> = async (
  parts,
  { http, identity },
) => {
  parts.running.refuseWhenDraining()
  const body = await parts.bodies.json(http.incoming, http.outgoing, 'input', identity.tenant)
  const asked = checked(effectRequest, body.value, 'effect')
  const { effectId, timeout, memoryLimit, language = 'js', ...code } = asked
  const limits = {
    ...(timeout !== undefined && { timeout }),
    ...(memoryLimit !== undefined && { memory: memoryLimit * MB }),
  }
  const job = makeHttpJob(
    parts,
    jobRequest.parse({ ...code, language, limits }),
    { kept: undefined },
    { ...identity, origin: 'http', ...traceOf(http.incoming) },
  )

  return json(await metered(parts, job, () => parts.effects.register(job, { effectId })))
}

/** `POST /api/effects/execute`: the outcome, with the effect's name. */
export const executeEffect: Door<
  JobIntake & JobStart & Pick<GatewayParts, 'answers' | 'bodies'>
> = async (parts, { http, identity }) => {
  parts.running.refuseWhenDraining()
  const body = await parts.bodies.json(http.incoming, http.outgoing, 'input', identity.tenant)
  const { effectId } = checked(effectCall, body.value, 'call of an effect')
  const job = makeHttpJob(parts, jobRequest.parse({ effectId }), body, {
    ...identity,
    origin: 'http',
    ...traceOf(http.incoming),
  })
  refuseUnread(parts, identity.tenant)
  const started = startJob(parts, job)
  follow(http.outgoing, started, false)
  const { outcome, text } = await started.ended
  holdAnswer(parts, http, identity.tenant, text, job.id)
  return outcomeResponse({ outcome, text: JSON.stringify({ effectId, ...outcome }) })
}

/** `GET /api/effects`: lists the effects of the key's tenant. */
export const listEffects: Door<Pick<GatewayParts, 'effects'>> = (parts, { identity: { tenant } }) =>
  json({ items: parts.effects.list(tenant) })

/** `GET /api/effects/:id`: one effect with its code. */
export const readEffect: Door<Pick<GatewayParts, 'effects'>> = (
  parts,
  { identity: { tenant }, params: { id = '' } },
) => json(parts.effects.get(tenant, named(id)))

/** `DELETE /api/effects/:id`. */
export const removeEffect: Door<Pick<GatewayParts, 'effects'>> = (
  parts,
  { identity: { tenant }, params: { id = '' } },
) => {
  parts.effects.remove(tenant, named(id))
  return new Response(null, { status: 204, headers: { 'cache-control': 'no-store' } })
}

/** Answers an invalid name with NOT_FOUND, like an unknown one. */
function named(id: string): string {
  if (effectName.safeParse(id).success) return id
  throw new MayflyError('NOT_FOUND', 'Cannot find an effect of this name')
}
