import * as z from 'zod'
import { jobRequest, limits } from './job.ts'
import { sessionRequest, sessionRow } from './session.ts'
import { forkChildrenMax } from './warden.ts'

const { timeout, idle } = sessionRequest.unwrap().shape
const { network, capabilities, labels } = jobRequest.unwrap().shape

/**
 * The body of `POST /v1/sandboxes/{id}/fork`, and the argument of `box.fork`: bounds of each child, which has the stricter of them and of
 * those that its parent has now.
 */
export const forkRequest = z
  .strictObject({
    children: z
      .number()
      .int()
      .min(1)
      .max(forkChildrenMax)
      .default(1)
      .describe('sessions to make of it'),
    // Without the defaults of a job: a child has those of its parent.
    limits: limits.optional(),
    network,
    capabilities: capabilities.unwrap().optional(),
    labels: labels.unwrap().optional(),
    timeout,
    idle,
  })
  .readonly()

export type ForkSessionRequest = z.input<typeof forkRequest>
export type ForkAsked = z.output<typeof forkRequest>

/** Answer to a fork. */
export const forkAnswer = z
  .object({
    parent: z.string(),
    pausedMs: z.number().describe('milliseconds for which the parent stood still'),
    children: z.array(sessionRow).readonly(),
    shared: z.array(z.string()).readonly().describe('what each child has of its parent'),
    lost: z.array(z.string()).readonly().describe('what a child does not have'),
  })
  .readonly()
export type ForkedRow = z.infer<typeof forkAnswer>

/** Said with each fork. */
export const forkKeeps: Pick<ForkedRow, 'shared' | 'lost'> = {
  shared: [
    'variables, imports, files, and programs that run in the background',
    'secrets in memory and in files',
    'phase, elapsed life, and the stricter of its bounds and of those that were asked for',
  ],
  lost: [
    'open connections to the network, which are reset',
    'output that the parent had printed and nobody had read',
    'the place in its generators of random values: they are drawn anew',
  ],
}
