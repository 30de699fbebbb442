import { closedSocketDetail } from '../../../contract/warden.ts'
import type { EnclosureEnd } from '../../../contract/engine.ts'
import { enclosureEndOf } from '../wall-end.ts'
import { ofGroup } from './cpu-time.ts'
import { limitHitBy } from './limit-hit.ts'
import { whyRan } from './keep-stopped.ts'
import type { ProcessWall } from './process-wall.ts'

type Ended = Pick<
  ProcessWall,
  | 'resources'
  | 'held'
  | 'killsAtClaim'
  | 'tasksPeak'
  | 'tasksRefused'
  | 'spentBefore'
  | 'spentSeen'
  | 'isMute'
>

/**
 * End of a wall whose last process has ended; `resources` are not released yet. CPU time is that of the cgroup, which
 * counts to the end, or as it was seen last.
 */
export function endOf(wall: Ended): EnclosureEnd {
  const { resources, spentSeen } = wall
  const end = enclosureEndOf(wall, ofGroup(resources) ?? spentSeen)
  const why = wall.isMute ? closedSocketDetail : (resources.sentinel?.why ?? whyRan(resources))
  return { ...end, limit: limitHitBy(wall), detail: why ?? end.detail }
}
