import { moment, plain, whyText } from './words.js'

/**
 * Phases of a zone, actual and planned, and the part that was cut.
 * @typedef {import('./life.js').Entry} Entry
 * @typedef {import('./life.js').Plan} Plan
 * @typedef {{ from: number, to: number }} Stretch
 * @typedef {{ lost: number, why: string, isAnomaly: boolean }} Cut
 * @typedef {Stretch & { name: string, planned: number | undefined, cut: Cut | undefined }} Band
 *   `planned` is how long it was to be
 */

export const bandsMax = 64
/** Negligible cut of a phase: share of its length, and milliseconds. */
const LOST_SHARE = 0.02
const LOST_MS = 5

/**
 * @param {{
 *   zone: string, entries: readonly Entry[], plan: Plan, opens: number, closes: number, status: string,
 * }} lived
 * @returns {Band[]}
 */
export function bandsOf({ zone, entries, plan, opens, closes, status }) {
  const begun = entries.flatMap((entry, place) =>
    entry.event === 'phase' ? [{ ...entry, place }] : [],
  )
  const planned = stepsPlanned(plan)
  let next = 0
  /** @type {Band[]} */
  const bands = begun.slice(0, bandsMax).map(({ at, phase = '', place: start }, n) => {
    const found = planned.findIndex(({ name }, step) => step >= next && name === phase)
    const step = found === -1 ? undefined : planned[found]
    if (step) next = found + 1
    const to = begun[n + 1]?.at ?? closes
    const length = step && step.to - step.from
    const band = { name: plain(phase, 40), from: at, to, planned: length, cut: undefined }
    const before = entries.slice(0, start)
    const within = entries.slice(start, begun[n + 1]?.place)
    const isLast = n === begun.length - 1
    return { ...band, cut: cutOf(band, { before, within, status: isLast ? status : 'going on' }) }
  })
  if (bands.length === 0 && entries.length > 0 && zone !== 'main')
    return [{ name: '', from: opens, to: closes, planned: undefined, cut: undefined }]
  if (begun.length <= bandsMax) return bands
  const kept = bands.slice(0, bandsMax - 1)
  const from = begun[bandsMax - 1]?.at ?? closes
  const name = `${(begun.length - kept.length).toLocaleString('en')} more phases`
  return [...kept, { name, from, to: closes, planned: undefined, cut: undefined }]
}

/** Reason for a shorter phase after an early advance. */
const SHORTENED = 'what was left of its life became shorter'

/** Ends that are no cut: the code finished early. */
const byItself = new Set(['ok', 'error', 'refused', 'running', 'going on'])

/**
 * @param {Band} band
 * @param {{ before: readonly Entry[], within: readonly Entry[], status: string }} around entries before
 *   the band opened, entries until the next band, and the status of a life that ended in it
 * @returns {Cut | undefined}
 */
function cutOf({ from, to, planned }, { before, within, status }) {
  if (planned === undefined) return undefined
  const lost = planned - (to - from)
  if (lost <= Math.max(LOST_MS, planned * LOST_SHARE)) return undefined
  const advanced = within.findLast(isAdvance)
  const isOnTime = status === 'going on' || status === 'timeout'
  if (!advanced && isOnTime && before.some(isAdvance))
    return { lost, why: SHORTENED, isAnomaly: false }
  if (!advanced && byItself.has(status)) return undefined
  const reason = (advanced ?? within.findLast(isEnd))?.reason ?? status
  return { lost, why: whyText(reason), isAnomaly: reason.startsWith('anomaly ') }
}

/** @param {Entry} entry */
function isAdvance({ event }) {
  return event === 'advanced'
}

/** True for the end of a zone by itself, which has an entry with the reason. @param {Entry} entry */
export function isEnd({ event, reason }) {
  return event === 'terminated' || (event === 'zone' && reason !== undefined)
}

/** @param {Plan} plan @returns {(Stretch & { name: string })[]} */
export function stepsPlanned({ phases, msMax }) {
  let from = 0
  return phases.slice(0, bandsMax).map(({ name, for: length }) => {
    const step = { name, from, to: Math.max(from, Math.min(from + moment(length), moment(msMax))) }
    from = step.to
    return step
  })
}
