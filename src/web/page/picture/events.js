import { durationText, kinds, moment, plain, whyText } from './words.js'
import { readControl } from './controls.js'

/**
 * What happened in a life, but for the opening of phases, which are its bands.
 *
 * @typedef {import('./life.js').Entry} Entry
 * @typedef {keyof typeof kinds} Kind
 * @typedef {{ kind: Kind, zone: string, at: number, until: number, count: number, text: string }} Happening
 *   `until` is the time of the last where several are told as one
 */

/** Lines that are told one by one. */
export const happeningsMax = 16
const FIELDS_MAX = 4
const CONTROLS_MAX = 8

/**
 * The happenings of a timeline, at most `max` of them. What repeats is told once with a count; where that does not do,
 * what is of one kind, and at last whatever lies close together. What ended the life is always told by itself.
 *
 * @param {readonly Entry[]} timeline
 * @returns {Happening[]}
 */
export function happeningsOf(timeline, max = happeningsMax) {
  const all = timeline.flatMap(happening)
  const last = all.at(-1)?.kind === 'terminated' ? all.splice(-1) : []
  const room = Math.max(1, max - last.length)
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
  if (kind === 'anomaly') return [severityOf(fields), said].filter(Boolean).join(': ')
  const rest = parts.filter(Boolean).join(', ')
  if (kind === 'advanced') return [rest, said].filter(Boolean).join(': ')
  return said && rest ? `${said} (${rest})` : said || rest
}

/** @param {Readonly<Record<string, unknown>>} fields */
function severityOf({ severity }) {
  return severity === undefined ? '' : plain(severity, 20)
}

/** @param {Readonly<Record<string, unknown>>} fields */
function fieldsText(fields) {
  const entries = Object.entries(fields).slice(0, FIELDS_MAX)
  return entries.map(([name, value]) => `${plain(name, 20)} ${plain(value, 60)}`).join(', ')
}

/**
 * Neighbours that are alike, as one.
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

/** As many groups as there is room for, cut where most time passes between two neighbours. @param {readonly Happening[]} list @param {number} room */
function crowded(list, room) {
  const gaps = list.slice(1).map((next, place) => ({
    place: place + 1,
    gap: next.at - (list[place]?.until ?? 0) + (isLoud(next) || isLoud(list[place]) ? 0.5 : 0),
  }))
  const widest = gaps.sort((a, b) => b.gap - a.gap || a.place - b.place).slice(0, room - 1)
  const starts = [0, ...widest.map(({ place }) => place).sort((a, b) => a - b)]
  return starts.flatMap((start, n) => {
    const group = list.slice(start, starts[n + 1])
    return group.length === 0 ? [] : [group.reduce(joined)]
  })
}

/** @param {Happening | undefined} one */
function isLoud(one) {
  return one?.kind === 'anomaly' || one?.kind === 'advanced'
}

/** @param {Happening} a @param {Happening} b @returns {Happening} */
function joined(a, b) {
  const count = a.count + b.count
  const isOne = a.kind === b.kind
  const text = isOne ? sharedText(a.text, b.text) : 'events of several kinds'
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
