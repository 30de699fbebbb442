import { durationText, kinds, moment, plain, whyText } from './words.js'
import { readControl } from './controls.js'

/**
 * Events of a life, except the starts of phases, which are drawn as bands.
 * @typedef {import('./life.js').Entry} Entry
 * @typedef {keyof typeof kinds} Kind
 * @typedef {{ kind: Kind, zone: string, at: number, until: number, count: number, text: string }} Happening
 *   `until` is the time of the last one of several merged events
 */

/** Maximum events listed separately. */
export const happeningsMax = 16
const FIELDS_MAX = 4
const CONTROLS_MAX = 8

/**
 * Events of a timeline, at most `happeningsMax` of them. Repeated events are merged with a count; if there are still too many,
 * events of one kind are merged, and then neighbours in time. The event that ended the life is never merged.
 * @param {readonly Entry[]} timeline
 * @returns {Happening[]}
 */
export function happeningsOf(timeline) {
  const all = timeline.flatMap(happening)
  const last = all.at(-1)?.kind === 'terminated' ? all.splice(-1) : []
  const room = happeningsMax - last.length
  let told = merged(all, (a, b) => a.kind === b.kind && a.zone === b.zone && a.text === b.text)
  if (told.length > room) told = merged(told, (a, b) => a.kind === b.kind && a.zone === b.zone)
  return [...(told.length > room ? crowded(told, room) : told), ...last]
}

/** @param {Entry} entry @returns {Happening[]} */
function happening(entry) {
  if (entry.event === 'phase' || !Object.hasOwn(kinds, entry.event)) return []
  const { at, zone } = entry
  const kind = /** @type {Kind} */ (entry.event)
  return [{ kind, zone, at, until: at, count: 1, text: textOf(kind, entry) }]
}

/** @param {Kind} kind @param {Entry} entry */
function textOf(kind, { phase, reason, controls, took, fields = {} }) {
  const parts = Object.entries(controls ?? {})
    .slice(0, CONTROLS_MAX)
    .map(([name, value]) => {
      return `${plain(name, 20)} ${readControl(name, value, value).text}`
    })
  if (kind === 'tightened' && took !== undefined) parts.push(`took ${durationText(moment(took))}`)
  if (kind === 'advanced' && phase !== undefined)
    parts.push(`phase "${plain(phase, 40)}" cut short`)
  if (kind === 'denied' && typeof fields['capability'] === 'string')
    parts.push(`call of "${plain(fields['capability'], 60)}"`)
  else if (Object.keys(fields).length > 0) parts.push(fieldsText(fields))
  const said = reason === undefined ? '' : whyText(reason)
  if (kind === 'anomaly')
    return `${[severityOf(fields), said].filter(Boolean).join(': ')}${scoreOf(fields)}`
  const rest = parts.filter(Boolean).join(', ')
  if (kind === 'advanced') return [rest, said].filter(Boolean).join(': ')
  return said && rest ? `${said} (${rest})` : said || rest
}

/** @param {Readonly<Record<string, unknown>>} fields */
function severityOf({ severity }) {
  return severity === undefined ? '' : plain(severity, 20)
}

/** Behavior score after this anomaly. @param {Readonly<Record<string, unknown>>} fields */
function scoreOf({ behaviorScore }) {
  return behaviorScore === undefined ? '' : ` (behavior ${plain(behaviorScore, 20)})`
}

/** @param {Readonly<Record<string, unknown>>} fields */
function fieldsText(fields) {
  const entries = Object.entries(fields).slice(0, FIELDS_MAX)
  return entries.map(([name, value]) => `${plain(name, 20)} ${plain(value, 60)}`).join(', ')
}

/**
 * Merges adjacent events that are alike.
 * @param {readonly Happening[]} list
 * @param {(a: Happening, b: Happening) => boolean} isAlike
 */
function merged(list, isAlike) {
  /** @type {Happening[]} */
  const made = []
  for (const next of list) {
    const before = made.at(-1)
    if (before && isAlike(before, next)) made.splice(-1, 1, joined(before, next))
    else made.push(next)
  }
  return made
}

/**
 * Merges events into at most `room` groups, split at the longest gaps in time; among equal gaps, evenly. A few
 * anomalies among many other events stay separate.
 * @param {readonly Happening[]} list
 * @param {number} room
 */
function crowded(list, room) {
  const apart = 2 * list.filter(isLoud).length < room ? Infinity : 0
  const gaps = list.slice(1).map((next, n) => {
    const bonus = isLoud(next) || isLoud(list[n]) ? apart : 0
    return { place: n + 1, gap: next.at - (list[n]?.until ?? 0) + bonus }
  })
  const widest = gaps.sort((a, b) => compared(b.gap, a.gap) || spread(a.place) - spread(b.place))
  const cuts = widest.slice(0, room - 1).map(({ place }) => place)
  const starts = [0, ...cuts.sort((a, b) => a - b)]
  return starts.flatMap((start, n) => {
    const group = list.slice(start, starts[n + 1])
    return group.length === 0 ? [] : [together(group)]
  })
}

/** Merges neighbours of several kinds, with a count for each kind. @param {readonly Happening[]} group */
function together(group) {
  const whole = group.reduce(joined)
  if (whole.kind !== 'several') return whole
  /** @type {Map<string, number>} */
  const counts = new Map()
  for (const { kind, count } of group) counts.set(kind, (counts.get(kind) ?? 0) + count)
  const text = [...counts]
    .map(([kind, count]) => `${count.toLocaleString('en')} ${kind}`)
    .join(', ')
  return { ...whole, text }
}

/** Compares numbers that may both be infinite. @param {number} a @param {number} b */
function compared(a, b) {
  return a === b ? 0 : a - b
}

/** Bit-reversal order, in which any number of first elements is evenly distributed. @param {number} place */
function spread(place) {
  const bits = place.toString(2).padStart(20, '0')
  return Number.parseInt(bits.split('').toReversed().join(''), 2)
}

/** @param {Happening | undefined} one */
function isLoud(one) {
  return one?.kind === 'anomaly' || one?.kind === 'advanced'
}

/** @param {Happening} a @param {Happening} b @returns {Happening} */
function joined(a, b) {
  const count = a.count + b.count
  const isOne = a.kind === b.kind
  const text = isOne ? sharedText(a.text, b.text) : ''
  const zone = a.zone === b.zone ? a.zone : 'several zones'
  return {
    kind: isOne ? a.kind : 'several',
    zone,
    at: a.at,
    until: Math.max(a.until, b.until),
    count,
    text,
  }
}

const OTHERS = ', and others'

/** @param {string} a @param {string} b */
function sharedText(a, b) {
  if (a === b || a.endsWith(OTHERS)) return a
  return `${a}${OTHERS}`
}
