import * as z from 'zod'
import { overrideSchema } from '../../contract/config.ts'

/** The body of `PATCH /v1/config`. */
export const configBody = overrideSchema

/** Input type: omitted fields stay unchanged, so the body is passed on unparsed. */
export type ConfigBody = z.input<typeof configBody>

/** The answer: every field that can change at run time, with its current value. */
export const configInForce = configBody

export type ConfigDocument = z.output<typeof configInForce>
