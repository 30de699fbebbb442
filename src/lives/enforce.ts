import type { Clock } from '../contract/clock.ts'
import { controlsBeyond, type Controls } from '../contract/controls.ts'
import { messageOf } from '../contract/error.ts'
import type { Enforced, Sandbox } from '../contract/provider.ts'
import { mainZone } from '../contract/phase.ts'
import { wallAnswer } from '../contract/wall-answer.ts'

/** Time taken, or the controls still open and the reason. */
export type Enforcement =
  | {
      readonly kind: 'closed'
      readonly took: number
      /** Facts about the calls of the closed classes, for the timeline. */
      readonly calls?: Readonly<Record<string, unknown>>
    }
  | { readonly kind: 'open'; readonly why: string }

export interface TightenOrder {
  readonly zone: string
  readonly controls: Controls
}

/** Tightens a wall and trusts only the controls it read back. Never rejects: uncertain, late or lost is `open`. */
export async function enforce(
  sandbox: Sandbox,
  { zone, controls }: TightenOrder,
  clock: Clock,
  msMax: number,
): Promise<Enforcement> {
  try {
    const ask = () =>
      zone === mainZone ? sandbox.tighten(controls) : sandbox.tighten(controls, zone)
    return judge(await wallAnswer(ask, clock, msMax), controls)
  } catch (thrown) {
    return { kind: 'open', why: messageOf(thrown) }
  }
}

function judge(
  { took, unenforced, controls: enforced, answers, trust, killed }: Enforced,
  requested: Controls,
): Enforcement {
  const open = [...new Set([...unenforced, ...controlsBeyond(enforced, requested)])]
  const calls = {
    ...(answers && { errno: answers }),
    ...(answers && trust && { trust }),
    ...(killed !== undefined && { killed }),
  }
  if (open.length === 0) return { kind: 'closed', took, ...(answers && { calls }) }
  return { kind: 'open', why: `the wall cannot close ${open.join(', ')}` }
}
