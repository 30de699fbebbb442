import * as z from 'zod'
import type { Outcome } from '../../contract/outcome.ts'
import { lifeOf } from '../../picture/life.js'
import { pictureOf } from '../../picture/picture.js'
import { svgOf, widthMax, widthMin } from '../../picture/svg.js'
import type { Door } from './door.ts'
import type { GatewayParts, StoredOutcomes } from '../http/parts.ts'
import { idOf } from './history.ts'
import { readOutcome } from './stored-outcome.ts'
import { filePolicy } from './page.ts'
import { checked } from '../../contract/checked.ts'
import { parseJson } from '../../lib/parse-json.ts'

const TYPE = 'image/svg+xml'

/** The query of `GET /v1/executions/{id}/timeline.svg`. */
const drawQuery = z.strictObject({
  width: z.coerce.number().int().min(widthMin).max(widthMax).optional(),
})

/** `GET /v1/executions/{id}/timeline.svg`: draws the life so far. Throws MayflyError INVALID. */
export const drawExecution: Door<StoredOutcomes & Pick<GatewayParts, 'live'>> = async (
  parts,
  { http, identity, params },
) => {
  const { searchParams } = new URL(http.incoming.url ?? '', 'http://query')
  const asked = checked(drawQuery, Object.fromEntries(searchParams), 'query')
  const id = idOf(params)
  const live = parts.live.find(identity.tenant, id)
  const read = (text: string) => lifeOf(parseJson(text) as Outcome)
  const life =
    live?.timeline.life ?? (await readOutcome(parts, http, identity.tenant, { id, read }))
  return new Response(svgOf(pictureOf(life), asked), {
    headers: {
      'content-type': `${TYPE}; charset=utf-8`,
      'content-security-policy': filePolicy(TYPE),
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    },
  })
}
