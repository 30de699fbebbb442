import * as z from 'zod'

export const whole = (least: number, most: number) => z.number().int().min(least).max(most)

/** A text that is not empty. */
export const filled = (charactersMax: number) => z.string().min(1).max(charactersMax)

/** Off unless given. */
export const flag = z.boolean().default(false)
