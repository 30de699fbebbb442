import type { Clock } from '../contract/clock.ts'
import { controlsBeyond, type Controls } from '../contract/controls.ts'
import { messageOf } from '../contract/error.ts'
import type { Enforced, Sandbox } from '../contract/provider.ts'

/** What a wall has to close what it is told to, in milliseconds. */
export const tightenMsMax = 1000

/** How long it took, or what is still open and why. */
export type Enforcement =
  | { readonly kind: 'closed'; readonly took: number }
  | { readonly kind: 'open'; readonly why: string }

/** Tells a wall to tighten and believes only what it read back. Never rejects: unsure, late or lost is `open`. */
export async function enforce(
  sandbox: Sandbox,
  controls: Controls,
  clock: Clock,
): Promise<Enforcement> {
  const answer = Promise.withResolvers<Enforced>()
  const late = clock.after(tightenMsMax, () => answer.reject(new Error('the wall is late')))
  Promise.try(() => sandbox.tighten(controls)).then(answer.resolve, answer.reject)
  try {
    return judge(await answer.promise, controls)
  } catch (thrown) {
    return { kind: 'open', why: messageOf(thrown) }
  } finally {
    late.cancel()
  }
}

function judge({ took, unenforced, controls: held }: Enforced, asked: Controls): Enforcement {
  const open = [...new Set([...unenforced, ...controlsBeyond(held, asked)])]
  if (open.length === 0) return { kind: 'closed', took }
  return { kind: 'open', why: `the wall cannot close ${open.join(', ')}` }
}
