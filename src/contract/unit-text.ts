/** A size as `parseSize` of `units.ts` reads it: `128MB`. */
export const exactSize = (bytes: number) =>
  inUnits(bytes, { GB: 2 ** 30, MB: 2 ** 20, KB: 2 ** 10, B: 1 })
/** A duration as `parseDuration` there reads it: `5s`. */
export const exactDuration = (ms: number) =>
  inUnits(ms, { h: 3_600_000, m: 60_000, s: 1000, ms: 1 })

/** Uses the largest unit that divides the value, so the text can be parsed again. */
function inUnits(value: number, units: Readonly<Record<string, number>>): string {
  const fits = ([, per]: readonly [string, number]) => value > 0 && value % per === 0
  const [unit, per] = Object.entries(units).find(fits) ?? Object.entries(units).at(-1)!
  return `${value / per}${unit}`
}
