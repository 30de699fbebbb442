import { bandText, cutText, happeningMark, spanText, throughoutText } from './caption.js'
import { BOLD, escaped, fit, label, lines, MARGIN, n, stacked, widthOf } from './svg-text.js'

/**
 * A lane of a picture: phase names, shape of the life, cut parts, events, and each control.
 * @typedef {import('./picture.js').Lane} Lane
 * @typedef {import('./picture.js').Step} Step
 * @typedef {import('./picture.js').Picture} Picture
 * @typedef {{ width: number, left: number, right: number, x(ms: number): number, picture: Picture }} Canvas
 * @typedef {import('./svg-text.js').Block} Block
 */

const BAND = 44
const LEAST = 0.3
const CUTS_MAX = 3
/** Least room beside a cut in which its text is wrapped; otherwise that has the whole width. */
const WRAP_ROOM_MIN = 300

/** @param {Lane} lane @param {Canvas} canvas @returns {Block} */
export function laneBlock(lane, canvas) {
  const hasBand = lane.bands.length + lane.planned.length > 0
  const throughout = lines(throughoutText(lane), canvas.width - 2 * MARGIN, 12)
  return stacked([
    ...(hasBand
      ? [namesBlock(lane, canvas), shapeBlock(lane, canvas), cutsBlock(lane, canvas)]
      : []),
    execsBlock(lane, canvas),
    marksBlock(lane, canvas),
    ...lane.rows.map((row) => rowBlock(row, canvas)),
    {
      height: throughout.length > 0 ? 14 + 16 * throughout.length : 8,
      parts: throughout.map((line, row) => label(MARGIN, 16 + 16 * row, line, 'small quiet')),
    },
  ])
}

/** @param {Lane} lane @param {Canvas} canvas @returns {Block} */
function namesBlock({ bands }, { x, right }) {
  const names = bands.flatMap((band, place) => {
    const from = x(band.from)
    const to = bands[place + 1] ? x(/** @type {typeof band} */ (bands[place + 1]).from) : right
    const room = to - from - 6
    const span = bandText(band)
    const isWhole = widthOf(band.name, BOLD * 13) + widthOf(span, 12) + 6 <= room
    const name = fit(band.name, room, BOLD * 13)
    if (name.length < Math.min(3, band.name.length) || room < 14) return []
    const extra = isWhole ? ` <tspan class="small quiet">${escaped(span)}</tspan>` : ''
    return [`<text class="phase" x="${n(from)}" y="19">${escaped(name)}${extra}</text>`]
  })
  return { height: 26, parts: names }
}

/** @param {Lane} lane @param {Canvas} canvas @returns {Block} */
function shapeBlock(lane, canvas) {
  const { x, left, picture } = canvas
  const { zone, bands, shape, planned, frozen } = lane
  const isCut = bands.some(({ cut }) => cut !== undefined)
  const ghost = isCut || !picture.isOver ? 'ghost cutoff' : 'ghost'
  const end = x(bands.at(-1)?.to ?? 0)
  const { tone, mark } = picture
  const isEnd = picture.isOver && bands.length > 0 && zone === 'main'
  return {
    height: BAND + 8,
    parts: [
      label(MARGIN, BAND / 2 + 4, fit(zone, left - MARGIN - 8, BOLD * 13), 'zone'),
      planned.length > 0 ? `<path class="${ghost}" d="${outline(planned, x)}"/>` : '',
      ...shape.map(
        (step) => `<path class="life t${Math.round(step.share * 3)}" d="${outline([step], x)}"/>`,
      ),
      ...frozen.map(({ from, to }) => box('frozen', x(from), x(to))),
      ...bands.slice(1).map(({ from }) => `<path class="border" d="M${n(x(from))} 0V${BAND}"/>`),
      ...bands.filter(({ cut }) => cut).map(({ to }) => `<path class="cut" d="${zigzag(x(to))}"/>`),
      isEnd
        ? `<path class="stop ${tone}" d="M${n(end)} -3V${BAND + 3}"/>` +
          `<circle class="seal ${tone}" cx="${n(end)}" cy="${BAND / 2}" r="10"/>` +
          label(end, BAND / 2 + 4, mark, 'mark middle')
        : '',
    ].filter(Boolean),
  }
}

/** Shape whose height is its share. @param {readonly Step[]} steps @param {(ms: number) => number} x */
function outline(steps, x) {
  const half = (/** @type {number} */ share) => (BAND / 2) * (LEAST + (1 - LEAST) * share)
  const spots = steps.map(({ from, to, share }) => ({
    from: x(from),
    to: Math.max(x(to), x(from) + 1.5),
    half: half(share),
  }))
  const over = spots.map(
    ({ from, to, half: high }, place) =>
      `${place ? 'L' : 'M'}${n(from)} ${n(BAND / 2 - high)}H${n(to)}`,
  )
  const under = spots
    .toReversed()
    .map(({ from, to, half: high }) => `L${n(to)} ${n(BAND / 2 + high)}H${n(from)}`)
  return `${over.join('')}${under.join('')}Z`
}

/** @param {string} kind @param {number} from @param {number} to */
function box(kind, from, to) {
  return `<rect class="${kind}" x="${n(from)}" y="2" width="${n(Math.max(2, to - from))}" height="${BAND - 4}"/>`
}

/** @param {number} at */
function zigzag(at) {
  return `M${n(at)} -2${'l3 4l-6 8l3 4'.repeat(3)}`
}

/** @param {Lane} lane @param {Canvas} canvas @returns {Block} */
function cutsBlock({ bands }, canvas) {
  const cuts = bands.flatMap(({ cut, to }) => (cut ? [{ cut, to }] : [])).slice(0, CUTS_MAX)
  const { x, right, width } = canvas
  return stacked(
    cuts.map(({ cut, to }) => {
      const [from, until] = [x(to), Math.max(x(to + cut.lost), x(to) + 6)]
      const text = cutText(cut)
      const [before, behind] = [until - MARGIN, right - from]
      const isRight = widthOf(text, 12) <= behind || behind >= before
      const room = isRight ? behind : before
      const isWide = widthOf(text, 12) > room && room < WRAP_ROOM_MIN
      const said = lines(text, isWide ? width - 2 * MARGIN : room, 12)
      const [at, end] = isWide ? [MARGIN, ''] : isRight ? [from, ''] : [until, ' end']
      return {
        height: 27 + 16 * (said.length - 1),
        parts: [
          `<path class="bracket" d="M${n(from)} 1v6H${n(until)}v-6"/>`,
          ...said.map((line, row) => label(at, 21 + 16 * row, line, `small warn${end}`)),
        ],
      }
    }),
  )
}

/**
 * A tick for each exec of a session, with its duration as width.
 *
 * @param {Lane} lane @param {Canvas} canvas @returns {Block}
 */
function execsBlock({ zone }, { x, picture: { execs } }) {
  if (execs.length === 0 || zone !== 'main') return { height: 0, parts: [] }
  const ticks = execs.map(({ from, to, tone }) => {
    const width = Math.max(2.5, x(to) - x(from))
    return `<rect class="exec ${tone}" x="${n(x(from))}" y="4" width="${n(width)}" height="14"/>`
  })
  return { height: 24, parts: [label(MARGIN, 16, 'execs', 'small quiet'), ...ticks] }
}

/** @param {Lane} lane @param {Canvas} canvas @returns {Block} */
function marksBlock({ zone }, { x, left, right, picture }) {
  const own = picture.happenings
    .map((one, place) => ({ one, number: place + 1, at: x(one.at) }))
    .filter(
      ({ one }) =>
        one.zone === zone || (one.zone === 'several zones' && zone === picture.lanes[0]?.zone),
    )
  if (own.length === 0) return { height: 0, parts: [] }
  let free = left - 9
  const parts = own.map(({ one, number, at }, place) => {
    // Overlapping marks move to the right while there is room for the rest.
    const spot = Math.min(Math.max(at, free + 11), right - 22 * (own.length - 1 - place))
    free = spot + 11
    return marker(spot, at, number, happeningMark(one).tone)
  })
  return { height: 38, parts: [label(MARGIN, 25, 'events', 'small quiet'), ...parts] }
}

/** @type {Readonly<Record<string, string>>} */
const shapes = { bad: 'M0 -12L12 0L0 12L-12 0Z', warn: 'M-9 -9H9V9H-9Z' }

/** @param {number} spot @param {number} at @param {number} number @param {string} tone */
function marker(spot, at, number, tone) {
  const shape = shapes[tone]
    ? `<path class="event ${tone}" transform="translate(${n(spot)} 21)" d="${shapes[tone]}"/>`
    : `<circle class="event" cx="${n(spot)}" cy="21" r="9"/>`
  return `<path class="lead" d="M${n(at)} 0L${n(spot)} 11"/>${shape}${label(spot, 25, String(number), `number middle ${tone}`)}`
}

/** @param {import('./picture.js').Row} row @param {Canvas} canvas @returns {Block} */
function rowBlock({ name, spans }, { x, right }) {
  const parts = spans.flatMap((span, place) => {
    const [from, to] = [x(span.from), x(span.to)]
    const next = spans[place + 1]
    const room = (next ? x(next.from) : right) - from - 4
    const whole = spanText(span)
    const text =
      widthOf(whole, 12) <= room ? whole : fit(spanText({ ...span, took: undefined }), room, 12)
    const asked =
      span.took === undefined || place === 0 ? from : x(Math.max(0, span.from - span.took))
    const wait = from - asked >= 1 ? `<path class="wait" d="M${n(asked)} 21H${n(from)}"/>` : ''
    return [
      text.length < 2 ? '' : label(from, 13, text, `small ${span.state}`),
      `<path class="bar ${span.state}" d="M${n(from)} 21H${n(Math.max(to, from + 1.5))}"/>`,
      place > 0 ? `<path class="step" d="M${n(from)} 16V26"/>` : '',
      wait,
    ].filter(Boolean)
  })
  return { height: 30, parts: [label(MARGIN, 24, name, 'small'), ...parts] }
}
