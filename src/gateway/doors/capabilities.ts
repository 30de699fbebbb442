import { capabilityJob } from '../../capabilities/capability-job.ts'
import { Catalogue } from '../../capabilities/catalogue.ts'
import { callInProcess } from '../../capabilities/in-process.ts'
import { safeOutcome } from '../../capabilities/outcome.ts'
import {
  type Capability,
  capabilityCall,
  capabilityName,
  type CapabilityRow,
  type SafeCapability,
} from '../../contract/capability.ts'
import { messageOf, MayflyError } from '../../contract/error.ts'
import { jobRequest, type JobAsked } from '../../contract/job.ts'
import type { Outcome } from '../../contract/outcome.ts'
import type { Door } from './door.ts'
import { answerJob, type AnswerParts } from './answer-job.ts'
import type { GatewayParts, JobIntake } from '../http/parts.ts'
import { makeHttpJob } from './executions.ts'
import { bodyDigest } from '../http/idempotency.ts'
import type { Identity } from '../http/keys.ts'
import { checked } from '../../contract/checked.ts'
import { json } from '../http/json-response.ts'
import { metered, type MeterParts } from '../http/metered.ts'
import { traceOf } from '../http/request-trace.ts'

const catalogue = new Catalogue()

/**
 * `POST /v1/capabilities/:name`: answers with an outcome. An isolated capability runs as a job with the limits
 * configured for its name; a tenant's effects can be called by name too.
 */
export const callCapability: Door<AnswerParts & JobIntake> = async (
  parts,
  { http, identity, params: { name = '' } },
) => {
  parts.running.refuseWhenDraining()
  const body = await parts.bodies.json(http.incoming, http.outgoing, 'args', identity.tenant)
  const read = checked(capabilityCall, body.value, 'call of a capability')
  const called = calledBy(parts, identity.tenant, name)
  if ('isolated' in called && !called.isolated)
    return json(await inProcess(parts, called, read.args, identity))
  const asked = 'isolated' in called ? jobRequest.parse(capabilityJob(called, [])) : called
  const facts = { ...identity, origin: 'capability', ...traceOf(http.incoming) } as const
  const made = makeHttpJob(parts, asked, { kept: body.kept ?? '[]' }, facts)
  const digest = () => bodyDigest(body, 'args', name)
  return answerJob(parts, http, { job: { ...made, capability: name }, digest })
}

/** `GET /v1/capabilities`: lists built-in capabilities and the effects of the key's tenant. */
export const listCapabilities: Door<Pick<GatewayParts, 'effects'>> = (
  parts,
  { identity: { tenant } },
) => {
  const rows = catalogue.list()
  const taken = new Set(rows.map(({ name }) => name))
  const effects = parts.effects
    .list(tenant)
    .filter(({ effectId }) => capabilityName.safeParse(effectId).success && !taken.has(effectId))
    .map(({ effectId, language }): CapabilityRow => {
      return { name: effectId, isolated: true, description: `an effect in ${language}` }
    })
  return json({ items: [...rows, ...effects] })
}

/** Built-in names take precedence: an effect cannot shadow one. */
function calledBy(
  parts: Pick<GatewayParts, 'effects'>,
  tenant: string,
  name: string,
): Capability | JobAsked {
  try {
    return catalogue.get(name)
  } catch (thrown) {
    const isEffect = parts.effects.list(tenant).some(({ effectId }) => effectId === name)
    if (isEffect) return jobRequest.parse({ effectId: name })
    throw thrown
  }
}

/** Runs in the server's process: takes no sandbox and stores no outcome. */
async function inProcess(
  parts: MeterParts,
  capability: SafeCapability,
  args: readonly unknown[],
  { tenant }: Identity,
): Promise<Outcome> {
  const bytes = Buffer.byteLength(JSON.stringify(args))
  return await metered(parts, { tenant, bytes }, () => {
    const began = parts.clock.now()
    const end = endOf(capability, args)
    const { name } = capability
    return safeOutcome(
      { name, date: parts.clock.date(), executionTime: parts.clock.now() - began },
      end,
    )
  })
}

function endOf(capability: SafeCapability, args: readonly unknown[]) {
  try {
    return { value: callInProcess(capability, args) }
  } catch (thrown) {
    if (thrown instanceof MayflyError) throw thrown
    return { error: { code: 'USER_ERROR', message: messageOf(thrown) } }
  }
}
