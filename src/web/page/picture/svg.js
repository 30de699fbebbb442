import {
  bandText,
  cutText,
  markOf,
  spanText,
  sumsText,
  throughoutText,
  timeText,
  titleText,
  wholeText,
  wordText,
  zonesText,
} from './caption.js'
import { scaleOf } from './scale.js'
import { style } from './svg-style.js'
import { wrapped } from './words.js'

/**
 * A picture as an SVG that needs nothing else: no script, no font, no address. It follows the colours that its reader
 * prefers and says everything without them too: what is open is thick, what is narrowed thin, what is closed dotted.
 *
 * @typedef {import('./picture.js').Picture} Picture
 * @typedef {import('./picture.js').Lane} Lane
 * @typedef {import('./picture.js').Step} Step
 * @typedef {{ width: number, left: number, right: number, x(ms: number): number, picture: Picture }} Canvas
 * @typedef {{ height: number, parts: string[] }} Block drawn from its own top
 */

/** Pixels: what is narrower or wider is not drawn. */
export const widthMin = 360
export const widthMax = 1600
const MARGIN = 20
const LABEL = 92
const NARROW = 560
const BAND = 44
const LEAST = 0.3
const CUTS_MAX = 3
/** How much wider bold letters are. */
const BOLD = 1.12
const LINES_MAX = 2

/**
 * @param {Picture} picture
 * @param {{ width?: number | undefined }} options in pixels; what stands in a page is best drawn as wide as it is shown
 */
export function svgOf(picture, { width: asked = 880 } = {}) {
  const width = Math.round(Math.min(widthMax, Math.max(widthMin, asked)))
  const left = width < NARROW ? 92 : MARGIN + LABEL
  const right = width - MARGIN - 6
  const scale = scaleOf(picture, Math.max(2, Math.floor((right - left) / 110)))
  const x = (/** @type {number} */ ms) => left + scale.placeOf(ms) * (right - left)
  const canvas = { width, left, right, x, picture }
  const lanes = stacked(picture.lanes.map((lane) => laneBlock(lane, canvas)))
  const hasAxis = picture.lanes.some(({ bands, planned }) => bands.length + planned.length > 0)
  const blocks = [
    headBlock(canvas),
    ...(hasAxis ? [axisBlock(canvas, scale, lanes.height)] : []),
    lanes,
    listBlock(canvas),
    footBlock(canvas),
  ]
  const whole = stacked(blocks)
  const height = whole.height + 12
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" role="img" width="${width}" height="${n(height)}" viewBox="0 0 ${width} ${n(height)}">`,
    `<title>${escaped(titleText(picture))}</title>`,
    `<desc>${escaped(wholeText(picture))}</desc>`,
    `<style>${style}</style>`,
    '<defs><pattern id="off" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path class="hatch" d="M0 0V7"/></pattern></defs>',
    `<rect class="card" x=".5" y=".5" width="${width - 1}" height="${n(height - 1)}" rx="12"/>`,
    ...whole.parts,
    '</svg>\n',
  ].join('\n')
}

/** One below the other. @param {readonly Block[]} blocks @returns {Block} */
function stacked(blocks) {
  let height = 0
  /** @type {string[]} */
  const parts = []
  for (const block of blocks) {
    if (block.parts.length > 0)
      parts.push(`<g transform="translate(0 ${n(height)})">${block.parts.join('\n')}</g>`)
    height += block.height
  }
  return { height, parts }
}

/** @param {Canvas} canvas @returns {Block} */
function headBlock({ picture: { mark, tone, status, text, wall }, width }) {
  const word = `${mark} ${status}`
  const at = MARGIN + widthOf(word, BOLD * 17) + 14
  const room = width - MARGIN - at
  const wallWidth = wall === '' ? 0 : widthOf(wall, 12) + 24
  const isBeside = widthOf(text, 13.5) + wallWidth <= room
  const said = isBeside ? [text] : lines(text, room, 13.5)
  return {
    height: 40 + 18 * (said.length - 1) + (isBeside || wall === '' ? 0 : 18),
    parts: [
      label(MARGIN, 31, word, `word ${tone}`),
      ...said.map((line, row) => label(at, 31 + 18 * row, line, 'say')),
      wall === ''
        ? ''
        : isBeside
          ? label(width - MARGIN, 31, wall, 'quiet end')
          : label(at, 31 + 18 * said.length, wall, 'quiet'),
    ].filter(Boolean),
  }
}

/** @param {Canvas} canvas @param {import('./scale.js').Scale} scale @param {number} below @returns {Block} */
function axisBlock({ x, left, right, picture }, scale, below) {
  const isKnee = scale.knee !== undefined
  const spots = scale.ticks.map(({ at, text }, place) => ({
    at: x(at),
    text: isKnee && place === scale.ticks.length - 1 ? `planned: ${text}` : text,
  }))
  let free = -Infinity
  let reserved = Infinity
  const last = spots.at(-1)
  if (isKnee && last) reserved = last.at - widthOf(last.text, 11) - 10
  const texts = spots.flatMap(({ at, text }, place) => {
    const wide = widthOf(text, 11)
    const isLast = isKnee && place === spots.length - 1
    const from = isLast || at + wide / 2 > right + 6 ? at - wide : place === 0 ? at : at - wide / 2
    if (from < free || (!isLast && from + wide > reserved)) return []
    free = from + wide + 8
    return [label(from, 14, text, 'tick')]
  })
  const grid = spots.map(({ at }) => `<path class="grid" d="M${n(at)} 20V${n(22 + below)}"/>`)
  const knee = isKnee
    ? [`<path class="knee" d="M${n(x(scale.knee ?? 0) + 12)} 26l4 -8m3 8l4 -8"/>`]
    : []
  const now = picture.isOver
    ? []
    : [
        `<path class="now" d="M${n(x(picture.age))} 18V${n(22 + below)}"/>`,
        `<path class="nowhead" d="M${n(x(picture.age) - 5)} 14h10l-5 7z"/>`,
      ]
  return {
    height: 22,
    parts: [
      `<path class="axis" d="M${n(left)} 20H${n(right)}"/>`,
      ...grid,
      ...texts,
      ...knee,
      ...now,
    ],
  }
}

/** @param {Lane} lane @param {Canvas} canvas @returns {Block} */
function laneBlock(lane, canvas) {
  const hasBand = lane.bands.length + lane.planned.length > 0
  const throughout = lines(throughoutText(lane), canvas.width - 2 * MARGIN, 12)
  return stacked([
    ...(hasBand
      ? [namesBlock(lane, canvas), shapeBlock(lane, canvas), cutsBlock(lane, canvas)]
      : []),
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

/** What narrows with its share. @param {readonly Step[]} steps @param {(ms: number) => number} x */
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
  const { x, right } = canvas
  return stacked(
    cuts.map(({ cut, to }) => {
      const [from, until] = [x(to), Math.max(x(to + cut.lost), x(to) + 6)]
      const text = cutText(cut)
      const [before, behind] = [until - MARGIN, right - from]
      const isRight = widthOf(text, 12) <= behind || behind >= before
      const said = fit(text, isRight ? behind : before, 12)
      return {
        height: 27,
        parts: [
          `<path class="bracket" d="M${n(from)} 1v6H${n(until)}v-6"/>`,
          isRight ? label(from, 21, said, 'small warn') : label(until, 21, said, 'small warn end'),
        ],
      }
    }),
  )
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
    // Those that would lie on each other move to the right, as long as there is room for the others.
    const spot = Math.min(Math.max(at, free + 11), right - 22 * (own.length - 1 - place))
    free = spot + 11
    return marker(spot, at, number, markOf(one).tone)
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

/** @param {Canvas} canvas @returns {Block} */
function listBlock({ picture: { happenings }, width }) {
  if (happenings.length === 0) return { height: 0, parts: [] }
  const timeAt = MARGIN + 30
  const wordAt = timeAt + Math.max(...happenings.map((one) => widthOf(timeText(one), 12.5))) + 14
  const textAt =
    wordAt + Math.max(...happenings.map((one) => widthOf(`■ ${wordText(one)}`, BOLD * 12.5))) + 14
  const rows = happenings.flatMap((one, place) => {
    const { mark, tone } = markOf(one)
    const y = 22 + 20 * place
    return [
      label(MARGIN + 20, y, String(place + 1), 'small quiet end'),
      label(timeAt, y, timeText(one), 'small figures'),
      label(wordAt, y, `${mark} ${wordText(one)}`, `kind ${tone}`),
      label(textAt, y, fit(one.text, width - MARGIN - textAt, 12.5), 'small'),
    ]
  })
  return {
    height: 20 * happenings.length + 14,
    parts: [`<path class="rule" d="M${MARGIN} 4H${width - MARGIN}"/>`, ...rows],
  }
}

/** @param {Canvas} canvas @returns {Block} */
function footBlock({ picture, width }) {
  const said = [zonesText(picture), ...lines(sumsText(picture), width - 2 * MARGIN, 12)].filter(
    Boolean,
  )
  return {
    height: 10 + 17 * said.length,
    parts: [
      `<path class="rule" d="M${MARGIN} 4H${width - MARGIN}"/>`,
      ...said.map((line, row) => label(MARGIN, 22 + 17 * row, line, 'small quiet')),
    ],
  }
}

/** @param {number} x @param {number} y @param {string} text @param {string} kind */
function label(x, y, text, kind) {
  return `<text class="${kind}" x="${n(x)}" y="${n(y)}">${escaped(text)}</text>`
}

/** About how wide a text is: nothing here can ask a font. @param {string} text @param {number} size */
function widthOf(text, size) {
  let wide = 0
  for (const character of text) wide += shareOf(character)
  return wide * size
}

/** As wide as in the widest of the usual fonts, as a share of the size. @param {string} character */
function shareOf(character) {
  if ((character.codePointAt(0) ?? 0) >= 0x1100) return 1.05
  if (/[ .,:;'!|iljftrI()[\]/-]/.test(character)) return 0.38
  return /[mwMW@%…–×»A-Z]/.test(character) ? 0.8 : 0.62
}

/** @param {string} text @param {number} room @param {number} size */
function fit(text, room, size) {
  if (widthOf(text, size) <= room) return text
  let kept = ''
  let width = widthOf('…', size)
  for (const character of text) {
    width += widthOf(character, size)
    if (width > room) break
    kept += character
  }
  return kept === '' ? '' : `${kept}…`
}

/** @param {string} text @param {number} room @param {number} size */
function lines(text, room, size) {
  return wrapped(text, LINES_MAX, (line) => widthOf(line, size) <= room).map((line) =>
    fit(line, room, size),
  )
}

/** @param {string} text */
function escaped(text) {
  return text.replace(/[&<>"']/g, (found) => `&#${found.charCodeAt(0)};`)
}

/** A coordinate with one decimal. @param {number} value */
function n(value) {
  return String(Number(value.toFixed(1)))
}
