import { durationText, kinds } from './words.js'

/**
 * The sentences of a picture, which a terminal and an SVG share.
 *
 * @typedef {import('./picture.js').Picture} Picture
 * @typedef {import('./bands.js').Band} Band
 */

/** A phase with its length, and the planned length if that differs. @param {Band} band */
export function bandText({ from, to, planned, cut }) {
  const lived = durationText(to - from)
  return cut && planned !== undefined ? `${lived} of ${durationText(planned)}` : lived
}

/** @param {import('./bands.js').Cut} cut */
export function cutText({ lost, why, isAnomaly }) {
  return `${durationText(lost)} cut off${isAnomaly ? ' by an anomaly' : ''}: ${why}`
}

/** Controls from this time on. @param {import('./picture.js').Span} span */
export function spanText({ state, text, took }) {
  const allows = state === 'closed' ? 'closed' : text
  return took === undefined ? allows : `${allows}, took ${durationText(took)}`
}

/** @param {import('./events.js').Happening} happening */
export function timeText({ at, until }) {
  const from = durationText(at)
  const to = durationText(until)
  return from === to ? from : `${from} – ${to}`
}

/** @param {import('./events.js').Happening} happening */
export function wordText({ kind, count }) {
  return count > 1 ? `${kind} × ${count.toLocaleString('en')}` : kind
}

/** @param {import('./events.js').Happening} happening */
export function happeningMark({ kind }) {
  const [mark, tone] = kinds[kind]
  return { mark, tone }
}

/** Unchanged controls. @param {import('./picture.js').Lane} lane */
export function throughoutText({ steady }) {
  const closed = steady.filter(({ spans }) => spans[0]?.state === 'closed').map(({ name }) => name)
  const others = steady.filter(({ name }) => !closed.includes(name))
  const allowed = others.map(({ name, spans }) => `${name} ${spans[0]?.text ?? ''}`)
  return [
    closed.length > 0 ? `closed throughout: ${closed.join(', ')}` : '',
    allowed.length > 0 ? `allowed throughout: ${allowed.join(', ')}` : '',
  ]
    .filter(Boolean)
    .join('; ')
}

/** @param {Picture} picture */
export function sumsText({ sums }) {
  return sums.map(([name, text]) => `${name} ${text}`).join(', ')
}

/** @param {Picture} picture */
export function zonesText({ zonesLeftOut }) {
  if (zonesLeftOut === 0) return ''
  return `${zonesLeftOut.toLocaleString('en')} more ${zonesLeftOut === 1 ? 'zone' : 'zones'}`
}

/** @param {Picture} picture */
export function titleText({ status, text }) {
  return `A life, ${status} ${text}`
}

/** The whole picture as sentences, for screen readers. @param {Picture} picture */
export function wholeText(picture) {
  const lanes = picture.lanes.flatMap((lane) => [
    `Zone ${lane.zone}.`,
    ...lane.bands.map(
      (band) => `Phase ${band.name}, ${bandText(band)}${band.cut ? `; ${cutText(band.cut)}` : ''}.`,
    ),
    ...lane.rows.map(({ name, spans }) => `${name}: ${spans.map(spanText).join(', then ')}.`),
    lane.steady.length > 0 ? `${throughoutText(lane)}.` : '',
  ])
  const events = picture.happenings.map((one) => `${timeText(one)}: ${wordText(one)}, ${one.text}.`)
  const sums = `${sumsText(picture)}.`
  return [...lanes, zonesText(picture), ...events, sums].filter(Boolean).join(' ')
}
