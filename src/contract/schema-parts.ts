import * as z from 'zod'

export const whole = (least: number, most: number) => z.number().int().min(least).max(most)

/** A non-empty string. */
export const filled = (charactersMax: number) => z.string().min(1).max(charactersMax)

/** A boolean, false by default. */
export const flag = z.boolean().default(false)
