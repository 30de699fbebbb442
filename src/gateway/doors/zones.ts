import type { HttpBindings } from '@hono/node-server'
import * as z from 'zod'
import { jobRequest, type Job } from '../../contract/job.ts'
import { MayflyError } from '../../contract/error.ts'
import { tightenAsked } from '../../contract/live.ts'
import type { Outcome } from '../../contract/outcome.ts'
import { timelineEntry } from '../../contract/event.ts'
import { temporalZoneSchema, zoneCodeSchema, zonesMadeSchema } from '../../contract/zones.ts'
import { zoneSources } from '../../zones/carve.ts'
import { requirePart, type Door } from './door.ts'
import type { GatewayParts, JobIntake, JobStart, Operating, StoredOutcomes } from '../http/parts.ts'
import { makeHttpJob } from './executions.ts'
import { idOf } from './history.ts'
import { readOutcome } from './stored-outcome.ts'
import type { Identity } from '../http/keys.ts'
import { checked } from '../../contract/checked.ts'
import { json, jsonText } from '../http/json-response.ts'
import { metered, type MeterParts } from '../http/metered.ts'
import { operationsFor, operationsOf, operatorOf } from './sandboxes.ts'
import { traceOf } from '../http/request-trace.ts'
import { startJob } from '../http/start-job.ts'
import { parseJson } from '../../lib/parse-json.ts'

/** Body of the zone calls: a job, and optionally the instance whose learned zones it uses. */
export const zonesAsked = z
  .strictObject({
    ...jobRequest.unwrap().omit({ calls: true, shadow: true }).shape,
    instanceId: z
      .string()
      .min(1)
      .max(200)
      .optional()
      .describe(
        'name of an instance: from its second execution on, zones are planned from what earlier ones used',
      ),
  })
  .readonly()

export const zonesPlanned = z
  .object({
    zones: z.array(temporalZoneSchema).readonly(),
    code: z.array(zoneCodeSchema).readonly(),
  })
  .readonly()

export const zonesBegun = z
  .object({ id: z.string(), zones: z.array(temporalZoneSchema).readonly() })
  .readonly()

export const zonesMonitored = z
  .object({
    id: z.string(),
    status: z.string().describe('queued, running, or the status of the outcome'),
    zones: z
      .array(z.object({ zone: z.string(), phase: z.string().nullable() }))
      .readonly()
      .describe('live zones, main first'),
    made: zonesMadeSchema.optional().describe('once it is over'),
    timeline: z
      .array(timelineEntry)
      .readonly()
      .describe(
        'after the end of the execution; before it, GET /v1/executions/{id} streams the timeline',
      ),
  })
  .readonly()

/** Dependencies of a body that becomes a job, and of the analysis of its zones. */
type ZoneParts = JobIntake & MeterParts & Pick<GatewayParts, 'analyseZones' | 'bodies'>

export const zoneTighten = tightenAsked.unwrap().omit({ zone: true }).readonly()

/** `POST /v1/zones/analysis`: reports what each part of the code does and how it can be split; runs nothing. */
export const analyseZones: Door<ZoneParts> = async (parts, { http, identity }) => {
  const { zones: _, ...job } = await read(parts, http, identity)
  const { risk } = await planned(parts, { ...job, zones: {} })
  return json(risk)
}

/** `POST /v1/zones/plan`: the zones the code would get, with the code of each; runs nothing. */
export const planZonesDoor: Door<ZoneParts> = async (parts, { http, identity }) => {
  const job = await read(parts, http, identity)
  const { risk, zones } = await planned(parts, job)
  const names = new Set(zones.map(({ id }) => id))
  const moved = risk.split.zones.filter(({ name }) => names.has(name))
  return json({
    zones: zones.map((zone) => ({ ...zone, execution: null })),
    code: zoneSources(job.asked.code, { zones: moved }),
  })
}

/** `POST /v1/zones`: starts code in its zones; 202 with the zones, the outcome follows at `/v1/executions/{id}`. */
export const beginZones: Door<ZoneParts & JobStart> = async (parts, { http, identity }) => {
  parts.running.refuseWhenDraining()
  const job = await read(parts, http, identity)
  const { zones } = await planned(parts, job)
  const under = startJob(parts, job, { outlivesCaller: true })
  under.ended
    .catch((thrown: unknown) => void parts.refusals.problem(thrown))
    .finally(under.answered)
  const location = `/v1/executions/${job.id}`
  return jsonText(202, JSON.stringify({ id: job.id, zones }), { location })
}

/** `GET /v1/zones/{id}`: live zones with their phase, or the report of ended ones. */
export const monitorZones: Door<
  StoredOutcomes & Pick<GatewayParts, 'live' | 'operations'>
> = async (parts, { http, identity, params }) => {
  const id = idOf(params)
  const live = parts.live.find(identity.tenant, id)
  if (live) {
    const { status } = live.row
    return json({
      id,
      status,
      zones: status === 'running' ? liveZones(parts, id, identity) : [],
      timeline: [],
    })
  }
  const read = (text: string) => parseJson(text) as Outcome
  const kept = await readOutcome(parts, http, identity.tenant, { id, read })
  const { status, zones, timeline } = kept
  return json({ id, status, zones: [], ...(zones && { made: zones }), timeline })
}

/** `POST /v1/zones/{id}/{zone}/tighten`: removes rights for good; a loosening is 409. */
export const tightenZone: Door<Operating & Pick<GatewayParts, 'bodies'>> = async (
  parts,
  { http: { incoming, outgoing }, identity, params: { id = '', zone = '' } },
) => {
  const operations = operationsFor(parts, identity)
  const { value } = await parts.bodies.json(incoming, outgoing, 'input', identity.tenant)
  const asked = checked(zoneTighten, value, 'tightening')
  return json(await operations.tighten(id, { ...asked, zone }, operatorOf(identity)))
}

/** `DELETE /v1/zones/{id}/{zone}`: ends one zone and leaves the rest running; `main` ends everything. */
export const endZone: Door<Pick<GatewayParts, 'operations'>> = async (
  parts,
  { identity, params: { id = '', zone = '' } },
) => json(await operationsOf(parts).endZone(id, zone, operatorOf(identity)))

/** Plans the zones. Metered as a job of the tenant, even if a run follows. */
async function planned(parts: MeterParts & Pick<GatewayParts, 'analyseZones'>, job: Job) {
  const partition = partitionOf(parts)
  return await metered(parts, job, () => partition(job))
}

async function read(
  parts: JobIntake & Pick<GatewayParts, 'bodies' | 'running'>,
  http: HttpBindings,
  identity: Identity,
): Promise<Job> {
  parts.running.refuseWhenDraining()
  const whose = { ...identity, origin: 'http', ...traceOf(http.incoming) } as const
  return await parts.bodies.jsonAs(http.incoming, http.outgoing, {
    keep: 'input',
    of: identity.tenant,
    use(body) {
      const { instanceId, ...fields } = checked(zonesAsked, body.value, 'job')
      const zones = instanceId === undefined ? {} : { instance: instanceId }
      return { ...makeHttpJob(parts, jobRequest.parse(fields), body, whose), zones }
    },
  })
}

function liveZones(parts: Pick<GatewayParts, 'operations'>, id: string, identity: Identity) {
  try {
    const { phase, zones } = operationsOf(parts).find(id, operatorOf(identity))
    return [{ zone: 'main', phase }, ...zones.map((one) => ({ zone: one.zone, phase: one.phase }))]
  } catch (thrown) {
    // Race: the execution ended after the lookup.
    if (thrown instanceof MayflyError && thrown.code === 'NOT_FOUND') return []
    throw thrown
  }
}

function partitionOf({ analyseZones: partition }: Pick<GatewayParts, 'analyseZones'>) {
  return requirePart(partition, 'Cannot analyse zones: zone analysis is disabled on this server')
}
