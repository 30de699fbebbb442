import {
  bandText,
  cutText,
  happeningMark,
  spanText,
  sumsText,
  throughoutText,
  timeText,
  wordText,
  zonesText,
} from './caption.js'
import { scaleOf } from './scale.js'
import { wrapped } from './words.js'

/**
 * A picture as lines for a terminal of so many columns. `paint` gives a line's part its colour, or none.
 *
 * @typedef {import('./picture.js').Picture} Picture
 * @typedef {import('./picture.js').Lane} Lane
 * @typedef {import('./scale.js').Scale} Scale
 * @typedef {'good' | 'warn' | 'bad' | 'calm' | 'bold' | 'dim'} Tone
 * @typedef {(tone: Tone, text: string) => string} Paint
 * @typedef {{ scale: Scale, label: number, chart: number, paint: Paint, picture: Picture }} Canvas
 */

const COLUMNS_MIN = 40
const COLUMNS_MAX = 160
const LABEL = 13
const COLUMNS_A_TICK = 12
/** Least room of the text of an event beside its kind; otherwise that is below, indented. */
const TEXT_ROOM_MIN = 30
const INDENT = 4
/** From all controls to the fewest: readable without colours. */
const HEIGHTS = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']
const BARS = /** @type {const} */ ({ open: '━', narrowed: '─', closed: '·' })

/**
 * @param {Picture} picture
 * @param {{ columns: number, paint: Paint }} options
 * @returns {string[]}
 */
export function linesOf(picture, { columns, paint }) {
  const width = Math.max(COLUMNS_MIN, Math.min(COLUMNS_MAX, columns)) - 1
  const chart = width - LABEL
  const scale = scaleOf(picture, Math.max(2, Math.floor(chart / COLUMNS_A_TICK)))
  const canvas = { scale, label: LABEL, chart, paint, picture }
  const rest = [zonesText(picture), sumsText(picture)].filter(Boolean)
  return [
    ...headOf(picture, width, paint),
    ...(picture.lanes.some(({ bands, planned }) => bands.length + planned.length > 0)
      ? [axis(canvas)]
      : []),
    ...picture.lanes.flatMap((lane) => laneLines(lane, canvas)),
    ...picture.happenings.flatMap((one, n) => happeningLines(one, n, width, paint)),
    ...rest.flatMap((text) => quiet(text, width, paint)),
  ]
}

/** @param {Picture} picture @param {number} width @param {Paint} paint */
function headOf({ mark, tone, status, text, wall }, width, paint) {
  const word = `${mark} ${status}`
  const room = width - columnsOf(word) - 1
  const isRoomy = columnsOf(text) + columnsOf(wall) + 2 <= room
  const gap = ' '.repeat(Math.max(0, room - columnsOf(text) - columnsOf(wall)))
  const tail = isRoomy ? gap + paint('dim', wall) : ''
  const [first = '', ...more] = folded(text, room)
  return [
    `${paint(/** @type {Tone} */ (tone), word)} ${first}${tail}`.trimEnd(),
    ...more.map((line) => ' '.repeat(width - room) + line),
  ]
}

/** @param {Canvas} canvas */
function axis({ scale, chart, label, paint, picture }) {
  const cells = blank(chart)
  const place = (/** @type {number} */ at, /** @type {string} */ text) => {
    const from = Math.max(0, Math.min(column(scale, chart, at), chart - text.length))
    const isFree = cells
      .slice(Math.max(0, from - 1), from + text.length + 1)
      .every((cell) => cell === ' ')
    if (isFree) write(cells, from, text)
  }
  if (!picture.isOver) place(picture.age, 'now')
  for (const { at, text } of scale.ticks.toReversed()) place(at, text)
  return paint('dim', `${' '.repeat(label)}${cells.join('')}`.trimEnd())
}

/** @param {Lane} lane @param {Canvas} canvas */
function laneLines(lane, canvas) {
  const { paint, chart, label } = canvas
  const throughout = throughoutText(lane)
  const cuts = lane.bands
    .flatMap(({ cut, from, to }) => (cut ? [{ ...cut, from, to }] : []))
    .slice(0, 3)
  const marks = marksOf(lane, canvas)
  return [
    ...(lane.bands.length > 0 ? [' '.repeat(label) + paint('bold', namesOf(lane, canvas))] : []),
    ...(lane.bands.length + lane.planned.length > 0
      ? [paint('bold', padded(fit(lane.zone, label - 1), label)) + shapeCells(lane, canvas)]
      : []),
    ...cuts.flatMap((cut) => cutLines(cut, canvas)),
    ...(marks === '' ? [] : [`${'events'.padEnd(label)}${marks}`]),
    ...lane.rows.map((row) => rowLine(row, canvas)),
    ...quiet(throughout, label + chart, paint),
  ]
}

/** @param {Lane} lane @param {Canvas} canvas */
function namesOf({ bands }, { scale, chart }) {
  const cells = blank(chart)
  for (const [place, band] of bands.entries()) {
    const from = column(scale, chart, band.from)
    const next = bands[place + 1]
    const room = (next ? column(scale, chart, next.from) : chart) - from - 1
    const full = `${band.name} ${bandText(band)}`.trim()
    write(
      cells,
      from,
      [full, band.name].find((text) => columnsOf(text) <= room) ?? fit(band.name, room),
    )
  }
  return cells.join('').trimEnd()
}

/** The actual shape in front of the planned one, which is lighter. @param {Lane} lane @param {Canvas} canvas */
function shapeCells({ zone, shape, planned, frozen }, { scale, chart, paint, picture }) {
  const end = Math.max(column(scale, chart, picture.age), shape.length > 0 ? 1 : 0)
  const parts = Array.from({ length: chart }, (_, cell) => {
    const isLived = cell < end
    const step = stepIn(isLived ? shape : planned, cell, scale, chart)
    if (!step) return { tone: 'dim', text: ' ' }
    if (!isLived) return { tone: 'dim', text: picture.isOver ? '╌' : '░' }
    if (stepIn(frozen, cell, scale, chart)) return { tone: 'warn', text: '‖' }
    return { tone: 'good', text: HEIGHTS[Math.min(7, Math.floor(step.share * 6) + 1)] ?? '█' }
  })
  if (zone === 'main' && picture.isOver && end < chart && end > 0) {
    const { mark, tone } = picture
    parts[end] = { tone, text: tone === 'good' ? '│' : mark }
  }
  return runs(parts, paint).trimEnd()
}

/** Merges adjacent parts of one tone. @param {{ tone: string, text: string }[]} parts @param {Paint} paint */
function runs(parts, paint) {
  let line = ''
  for (let at = 0; at < parts.length;) {
    const tone = parts[at]?.tone
    let text = ''
    for (; at < parts.length && parts[at]?.tone === tone; at += 1) text += parts[at]?.text
    line += paint(/** @type {Tone} */ (tone), text)
  }
  return line
}

/** @template {{ from: number, to: number }} S @param {readonly S[]} steps @param {number} cell @param {Scale} scale @param {number} chart */
function stepIn(steps, cell, scale, chart) {
  return steps.findLast(({ from, to }) => {
    const first = column(scale, chart, from)
    return cell >= first && cell < Math.max(first + 1, column(scale, chart, to))
  })
}

/** @param {import('./bands.js').Cut & { to: number }} cut @param {Canvas} canvas */
function cutLines(cut, { scale, chart, label, paint }) {
  const from = Math.min(column(scale, chart, cut.to), chart - 4)
  const to = Math.min(Math.max(column(scale, chart, cut.to + cut.lost), from + 2), chart)
  const bracket = `└${'╌'.repeat(Math.max(0, to - from - 2))}┘`
  const text = cutText(cut)
  const [before, behind] = [label + from - 1, chart - to - 1]
  const lead = ' '.repeat(label + from)
  if (columnsOf(text) <= behind) return [`${lead}${paint('warn', `${bracket} ${text}`)}`]
  if (columnsOf(text) <= before)
    return [`${' '.repeat(before - columnsOf(text))}${paint('warn', `${text} ${bracket}`)}`]
  return [
    lead + paint('warn', bracket),
    ...folded(text, label + chart).map((line) => paint('warn', line)),
  ]
}

/** @param {Lane} lane @param {Canvas} canvas */
function marksOf({ zone }, { scale, chart, picture }) {
  const cells = blank(chart)
  let next = 0
  for (const [n, one] of picture.happenings.entries()) {
    if (one.zone !== zone && !(one.zone === 'several zones' && zone === picture.lanes[0]?.zone))
      continue
    const text = String(n + 1)
    const from = Math.max(next, Math.min(column(scale, chart, one.at), chart - text.length))
    if (from + text.length > chart) continue
    write(cells, from, text)
    next = from + text.length + 1
  }
  return cells.join('').trimEnd()
}

/** @param {import('./picture.js').Row} row @param {Canvas} canvas */
function rowLine({ name, spans }, { scale, chart, label, paint }) {
  const cells = spans.map((span, n) => {
    const from = column(scale, chart, span.from)
    const next = spans[n + 1]
    const isLast = next === undefined
    const to = isLast
      ? Math.min(chart, Math.max(from + 1, column(scale, chart, span.to)))
      : column(scale, chart, next.from)
    const room = isLast ? chart - from : to - from
    const said =
      columnsOf(spanText(span)) < room
        ? spanText(span)
        : fit(spanText({ ...span, took: undefined }), room - 1)
    const text = said === '' ? '' : `${said} `
    const line = BARS[span.state].repeat(Math.max(0, to - from - columnsOf(text)))
    return { tone: toneOf[span.state], text: text + line }
  })
  const lead = ' '.repeat(column(scale, chart, spans[0]?.from ?? 0))
  return `${name.padEnd(label)}${lead}${runs(cells, paint)}`.trimEnd()
}

const toneOf = /** @type {const} */ ({ open: 'good', narrowed: 'warn', closed: 'dim' })

/** @param {import('./events.js').Happening} one @param {number} n @param {number} width @param {Paint} paint */
function happeningLines(one, n, width, paint) {
  const { mark, tone } = happeningMark(one)
  const lead = `${String(n + 1).padStart(2)}  ${timeText(one).padEnd(9)} `
  // A long span of merged events leaves little room on the narrowest terminal.
  const word = fit(`${mark} ${wordText(one)}`, width - columnsOf(lead))
  const beside = width - columnsOf(lead) - columnsOf(word) - 2
  const isBelow = columnsOf(one.text) > beside && beside < TEXT_ROOM_MIN
  const room = isBelow ? width - INDENT : beside
  const said = folded(one.text, room)
  const first = isBelow ? '' : (said.shift() ?? '')
  return [
    `${lead}${paint(tone === 'calm' ? 'bold' : tone, word)}  ${first}`.trimEnd(),
    ...said.map((line) => ' '.repeat(width - room) + line),
  ]
}

/** @param {string} text @param {number} width @param {Paint} paint */
function quiet(text, width, paint) {
  return folded(text, width).map((line) => paint('dim', line))
}

/** Lines of a text, each of at most `room` columns. @param {string} text @param {number} room */
function folded(text, room) {
  return wrapped(text, (line) => columnsOf(line) <= room).map((line) => fit(line, room))
}

/** @param {Scale} scale @param {number} chart @param {number} at */
function column(scale, chart, at) {
  return Math.round(scale.placeOf(at) * chart)
}

/** @param {number} length @returns {string[]} */
function blank(length) {
  return Array.from({ length }, () => ' ')
}

/**
 * Writes a text into cells: a cell holds a letter with its combining marks; a wide letter takes two cells.
 *
 * @param {string[]} cells @param {number} from @param {string} text
 */
function write(cells, from, text) {
  let at = from
  for (const { segment } of letters.segment(text)) {
    const wide = columnsOf(segment)
    if (at + wide > cells.length) return
    cells.splice(at, Math.max(1, wide), segment, ...blank(wide - 1).map(() => ''))
    at += Math.max(1, wide)
  }
}

const letters = new Intl.Segmenter('en', { granularity: 'grapheme' })
const WIDE =
  /[\p{Emoji_Presentation}\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{20000}-\u{3fffd}]/u

/** Columns a text takes. @param {string} text */
export function columnsOf(text) {
  let width = 0
  for (const { segment } of letters.segment(text)) width += WIDE.test(segment) ? 2 : 1
  return width
}

/** @param {string} text @param {number} width columns */
function padded(text, width) {
  return text + ' '.repeat(Math.max(0, width - columnsOf(text)))
}

/** @param {string} text @param {number} room columns */
function fit(text, room) {
  if (columnsOf(text) <= room) return text
  let kept = ''
  let width = 0
  for (const { segment } of letters.segment(text)) {
    width += columnsOf(segment)
    if (width > room - 1) break
    kept += segment
  }
  return room <= 0 ? '' : `${kept}…`
}
