import * as z from 'zod'
import { jobRequest, language } from './job.ts'
import { outcomeSchema } from './outcome.ts'
import { publicKeyAsked, signatureAsked } from './signature.ts'
import { durationMsMax } from './units.ts'
import { type Finding, severity } from './verdict.ts'
import { whole } from './schema-parts.ts'

/** Code that a tenant registers to run it by name later. */
export const effectName = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._:@-]{0,199}$/,
    'expected 1 to 200 letters, digits, ".", "_", ":", "@" or "-", the first a letter or digit',
  )
  .refine((name) => name !== 'register' && name !== 'execute', {
    message: 'expected another name: "register" and "execute" are paths of the API',
  })

const memoryLimitMB = { min: 8, max: 2 ** 20 } as const

/** The body of `POST /api/effects/register`. */
export const effectRequest = z
  .strictObject({
    effectId: effectName,
    code: jobRequest.unwrap().shape.code.unwrap().min(1),
    language: language.optional().describe('default: js'),
    timeout: whole(1, durationMsMax).optional().describe('milliseconds'),
    memoryLimit: whole(memoryLimitMB.min, memoryLimitMB.max)
      .optional()
      .describe('megabytes above the idle size of the wall'),
    signature: signatureAsked.optional(),
    publicKey: publicKeyAsked.optional(),
  })
  .readonly()

/** The body of `POST /api/effects/execute`. */
export const effectCall = z
  .strictObject({ effectId: effectName, input: z.unknown().optional() })
  .readonly()

/** Response to a registration. `severity` is that of `threatScore`. */
export const effectRegistered = z
  .object({
    effectId: z.string(),
    timeout: z.number().describe('time limit, in milliseconds'),
    memoryLimit: z.number().describe('memory limit, in megabytes'),
    registeredBy: z.string(),
    security: z
      .object({ threatScore: z.number(), severity, signatureValid: z.boolean() })
      .readonly(),
  })
  .readonly()

/** Line of `GET /api/effects`. */
export const effectRow = effectRegistered
  .unwrap()
  .extend({
    language,
    registeredAt: z.number().int().describe('milliseconds since 1970'),
    codeDigest: z.string().describe('SHA-256 of the UTF-8 text of the code'),
  })
  .readonly()

export const effectRows = z.object({ items: z.array(effectRow).readonly() }).readonly()

export type EffectRequest = z.output<typeof effectRequest>
export type EffectRegistered = z.output<typeof effectRegistered>
export type EffectRow = z.output<typeof effectRow>

/** A stored effect. It keeps the analysed language, so that it never runs as another. */
export const effectSchema = effectRow
  .unwrap()
  .extend({
    code: z.string(),
    signature: signatureAsked
      .optional()
      .describe('as submitted: verified again at each run, so that revoking a signer takes effect'),
    publicKey: publicKeyAsked.optional(),
  })
  .readonly()

/** Response to an execution. */
export const effectExecuted = outcomeSchema.unwrap().extend({ effectId: z.string() }).readonly()

export type Effect = Readonly<z.output<typeof effectSchema>>

/** Fields of a finding in responses about effects. */
export type PatternSeen = Pick<Finding, 'name' | 'description' | 'severity' | 'line' | 'column'>

export function patternSeen(finding: Finding): PatternSeen {
  const { name, description, severity, line, column } = finding
  return { name, description, severity, line, column }
}
