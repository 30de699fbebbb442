import * as z from 'zod'
import type { Outcome } from '../../contract/outcome.ts'
import { lifeOf, type Life } from '../../picture/life.js'
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

/**
 * `GET /v1/executions/{id}/timeline.svg`: draws the life so far, in the tenant's turn: a thousand entries take 50 ms of the
 * server's only thread. Throws MayflyError INVALID.
 */
export const drawExecution: Door<StoredOutcomes & Pick<GatewayParts, 'live'>> = async (
  parts,
  { http, identity: { tenant }, params },
) => {
  const { searchParams } = new URL(http.incoming.url ?? '', 'http://query')
  const asked = checked(drawQuery, Object.fromEntries(searchParams), 'query')
  const id = idOf(params)
  const live = parts.live.find(tenant, id)
  const draw = (life: Life) => svgOf(pictureOf(life), asked)
  const read = (text: string) => draw(lifeOf(parseJson(text) as Outcome))
  const drawn = live
    ? await parts.bodies.turn(tenant, () => draw(live.timeline.life))
    : await readOutcome(parts, http, tenant, { id, read })
  return new Response(drawn, {
    headers: {
      'content-type': `${TYPE}; charset=utf-8`,
      'content-security-policy': filePolicy(TYPE),
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    },
  })
}
