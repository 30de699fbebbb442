import { durationText, momentText } from './words.js'

/**
 * Maps times to positions from 0 to 1. If a life ended long before its planned end, its actual time is drawn wide, and
 * the rest is compressed behind the knee; otherwise the scale is linear.
 *
 * @typedef {{ at: number, text: string }} Tick
 * @typedef {{ placeOf(ms: number): number, ticks: Tick[], knee: number | undefined, end: number }} Scale
 */

/** A planned end at this multiple of the real one is compressed. */
const FAR = 2.2
/** Position of the knee; a life that was cut leaves room for the loss. */
const KNEE_AT = 0.84
/** A shorter life is drawn as if it lasted a millisecond and had just begun. */
const LEAST_MS = 0.05
const KNEE_CUT_AT = 0.66
const STEPS = [1, 2, 5]
const MINUTE_STEPS = [5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 43_200].map(
  (s) => s * 1000,
)

/**
 * @param {Pick<import('./picture.js').Picture, 'age' | 'plannedEnd' | 'isOver' | 'lanes'>} picture
 * @param {number} ticksMax how many moments fit below the axis
 * @returns {Scale}
 */
export function scaleOf({ age, plannedEnd, isOver, lanes }, ticksMax = 6) {
  const longest = Math.max(age, plannedEnd)
  const end = longest < LEAST_MS ? 1 : longest
  const isFar = isOver && age > 0 && plannedEnd > age * FAR
  const knee = isFar ? age : undefined
  const even = knee ?? end
  const isCut = lanes.some(({ bands }) => bands.some(({ cut }) => cut !== undefined))
  const share = isFar ? (isCut ? KNEE_CUT_AT : KNEE_AT) : 1
  const placeOf = (/** @type {number} */ ms) => {
    const at = Math.min(Math.max(0, ms), end)
    if (at <= even) return (at / even) * share
    return share + ((at - even) / (end - even)) * (1 - share)
  }
  const ticks = ticksUpTo(even, ticksMax)
  return {
    placeOf,
    ticks: isFar ? [...ticks, { at: end, text: durationText(end) }] : ticks,
    knee,
    end,
  }
}

/** Round times, at most `max`. @param {number} end @param {number} max @returns {Tick[]} */
function ticksUpTo(end, max) {
  const step = stepFor(end / Math.max(1, max))
  const count = Math.min(max, Math.floor(end / step + 1e-9))
  return Array.from({ length: count + 1 }, (_, n) => ({
    at: n * step,
    text: n === 0 ? '0' : momentText(n * step, step),
  }))
}

/** Smallest round step of at least `least` milliseconds. @param {number} least milliseconds */
function stepFor(least) {
  if (least >= 5000) return MINUTE_STEPS.find((step) => step >= least) ?? least
  const power = 10 ** Math.floor(Math.log10(least))
  const round = STEPS.map((step) => step * power).find((step) => step >= least * 0.999)
  return round ?? 10 * power
}
