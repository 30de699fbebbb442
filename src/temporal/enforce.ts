import type { Clock } from '../contract/clock.ts'
import { controlsBeyond, type Controls } from '../contract/controls.ts'
import { messageOf } from '../contract/error.ts'
import type { Enforced, Sandbox } from '../contract/provider.ts'
import { whole } from './schedule.ts'

/** What a wall has to close what it is told to, in milliseconds. */
export const tightenMsMax = 1000
/** What it has to show what it holds, standing still. */
export const captureMsMax = 5000
/** How long whoever is to be captured waits for the captures of others. */
export const captureWaitMsMax = 5000

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
    const ask = () => (zone === whole ? sandbox.tighten(controls) : sandbox.tighten(controls, zone))
    return judge(await inTime(ask, clock), controls)
  } catch (thrown) {
    return { kind: 'open', why: messageOf(thrown) }
  }
}

/** What a wall answers; rejects when it is late. What it answers after that is heard by nobody. */
export async function inTime<T>(
  ask: () => Promise<T>,
  clock: Clock,
  msMax: number = tightenMsMax,
): Promise<T> {
  const answer = Promise.withResolvers<T>()
  const late = clock.after(msMax, () => answer.reject(new Error('the wall is late')))
  Promise.try(ask).then(answer.resolve, answer.reject)
  try {
    return await answer.promise
  } finally {
    late.cancel()
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
