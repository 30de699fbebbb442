import type { Clock } from '../contract/clock.ts'
import { controlsBeyond, type Controls } from '../contract/controls.ts'
import { messageOf } from '../contract/error.ts'
import type { Enforced, Sandbox } from '../contract/provider.ts'
import { mainZone } from '../contract/phase.ts'
import { wallAnswer } from '../contract/wall-answer.ts'

/** How long it took, or what is still open and why. */
export type Enforcement =
  | {
      readonly kind: 'closed'
      readonly took: number
      /** What calls of each class that was closed get. */
      readonly answers?: Enforced['answers']
    }
  | { readonly kind: 'open'; readonly why: string }

export interface Order {
  readonly zone: string
  readonly controls: Controls
}

/** Tells a wall to tighten and believes only what it read back. Never rejects: unsure, late or lost is `open`. */
export async function enforce(
  sandbox: Sandbox,
  { zone, controls }: Order,
  clock: Clock,
): Promise<Enforcement> {
  try {
    const ask = () =>
      zone === mainZone ? sandbox.tighten(controls) : sandbox.tighten(controls, zone)
    return judge(await wallAnswer(ask, clock), controls)
  } catch (thrown) {
    return { kind: 'open', why: messageOf(thrown) }
  }
}

function judge(
  { took, unenforced, controls: held, answers }: Enforced,
  asked: Controls,
): Enforcement {
  const open = [...new Set([...unenforced, ...controlsBeyond(held, asked)])]
  if (open.length === 0) return { kind: 'closed', took, ...(answers && { answers }) }
  return { kind: 'open', why: `the wall cannot close ${open.join(', ')}` }
}
