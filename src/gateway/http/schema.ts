import * as z from 'zod'
import { executionRow } from '../../history/history.ts'
import { jobRequest, language } from '../../contract/job.ts'
import { canonicalLanguage } from '../../contract/language-words.ts'
import { presetNames } from '../../contract/presets.ts'

/** Body of `POST /active-content`. A caller with an API key may omit the token. */
export const activeContent = z
  .strictObject({
    content: jobRequest.unwrap().shape.code.unwrap(),
    sessionToken: z.string().max(4096).optional(),
    language: language.optional(),
    input: z.unknown().optional(),
    schedule: z
      .enum(presetNames)
      .optional()
      .describe(
        'name of a schedule in policies/schedules.json, which grants the network stated there',
      ),
    artifacts: jobRequest.unwrap().shape.artifacts.unwrap().optional(),
  })
  .readonly()

/** A notebook has cells of Python or JavaScript, by any of their names. */
function notebookLanguage(given: unknown): unknown {
  const word = typeof given === 'string' ? canonicalLanguage(given) : undefined
  if (word === 'js' || word === 'ts' || word === 'node') return 'javascript'
  return word ?? given
}

/** Body of `POST /active-content/sessions`. */
export const pageSession = z
  .strictObject({
    language: z.preprocess(notebookLanguage, z.enum(['python', 'javascript'])),
    schedule: z.enum(presetNames).optional(),
  })
  .readonly()

/** Body of `POST /active-content/sessions/{id}/run`. */
export const pageExec = z.strictObject({ code: jobRequest.unwrap().shape.code.unwrap() }).readonly()

/** The answer of `GET /v1/executions`. */
export const executionList = z
  .object({
    items: z.array(executionRow).readonly(),
    next: z.string().nullable().describe('cursor of the next page; null on the last page'),
  })
  .readonly()

/** Execution that has not ended. */
export const pendingExecution = z
  .object({ id: z.string(), status: z.enum(['queued', 'running']) })
  .readonly()

export const versionBody = z
  .object({ name: z.literal('mayfly'), version: z.string(), api: z.literal('v1') })
  .readonly()
export const liveBody = z.object({ status: z.literal('alive') }).readonly()
export const readyBody = z
  .object({
    status: z.literal('ready'),
    walls: z.array(z.string()).readonly(),
    refused: z
      .array(z.string())
      .readonly()
      .optional()
      .describe('provider modules that serve no job; GET /v1/providers says why'),
  })
  .readonly()

/** A JSON-RPC message as far as the description goes; the protocol's SDK reads it. */
export const mcpMessage = z.looseObject({
  jsonrpc: z.literal('2.0'),
  id: z.union([z.string(), z.number()]).optional(),
  method: z.string(),
  params: z.looseObject({}).optional(),
})
