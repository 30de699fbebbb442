import {
  happeningMark,
  sumsText,
  timeText,
  titleText,
  wholeText,
  wordText,
  zonesText,
} from './caption.js'
import { scaleOf } from './scale.js'
import { laneBlock } from './svg-lane.js'
import { execStyle, style } from './svg-style.js'
import { BOLD, escaped, label, lines, MARGIN, n, stacked, widthOf } from './svg-text.js'

/**
 * A picture as a self-contained SVG: no script, font or URL. Colours follow the reader's preferred scheme, and are not
 * needed: open is thick, narrowed thin, closed dotted.
 *
 * @typedef {import('./picture.js').Picture} Picture
 * @typedef {import('./svg-lane.js').Canvas} Canvas
 * @typedef {import('./svg-text.js').Block} Block
 */

/** Width bounds, in pixels. */
export const widthMin = 360
export const widthMax = 1600
const LABEL = 92
/** Least room of the text of an event beside its kind. */
const TEXT_ROOM_MIN = 220
const NARROW = 560
/** Lines of the headline beside its status; a longer one begins below. */
const BESIDE_MAX = 2

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
    `<style>${style}${picture.execs.length > 0 ? execStyle : ''}</style>`,
    '<defs><pattern id="off" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path class="hatch" d="M0 0V7"/></pattern></defs>',
    `<rect class="card" x=".5" y=".5" width="${width - 1}" height="${n(height - 1)}" rx="12"/>`,
    ...whole.parts,
    '</svg>\n',
  ].join('\n')
}

/** @param {Canvas} canvas @returns {Block} */
function headBlock({ picture: { mark, tone, status, text, wall }, width }) {
  const word = `${mark} ${status}`
  const at = MARGIN + widthOf(word, BOLD * 17) + 14
  const room = width - MARGIN - at
  const wallWidth = wall === '' ? 0 : widthOf(wall, 12) + 24
  const isOneLine = widthOf(text, 13.5) + wallWidth <= room
  const beside = lines(text, room, 13.5)
  const isBelow = beside.length > BESIDE_MAX
  const said = isBelow ? lines(text, width - 2 * MARGIN, 13.5) : beside
  const [x, first] = isBelow ? [MARGIN, 53] : [at, 31]
  const rows = said.length + (isOneLine || wall === '' ? 0 : 1)
  return {
    height: first + 9 + 18 * (rows - 1),
    parts: [
      label(MARGIN, 31, word, `word ${tone}`),
      ...said.map((line, row) => label(x, first + 18 * row, line, 'say')),
      wall === ''
        ? ''
        : isOneLine
          ? label(width - MARGIN, 31, wall, 'quiet end')
          : label(x, first + 18 * said.length, wall, 'quiet'),
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

/** Events, each with its whole text: beside its kind, and below it in a narrow picture. @param {Canvas} canvas @returns {Block} */
function listBlock({ picture: { happenings }, width }) {
  if (happenings.length === 0) return { height: 0, parts: [] }
  const timeAt = MARGIN + 30
  const wordAt = timeAt + Math.max(...happenings.map((one) => widthOf(timeText(one), 12.5))) + 14
  const besideAt =
    wordAt + Math.max(...happenings.map((one) => widthOf(`■ ${wordText(one)}`, BOLD * 12.5))) + 14
  const isBelow = width - MARGIN - besideAt < TEXT_ROOM_MIN
  const textAt = isBelow ? timeAt : besideAt
  const rows = happenings.map((one, place) => {
    const { mark, tone } = happeningMark(one)
    const said = lines(one.text, width - MARGIN - textAt, 12.5)
    const first = isBelow ? 33 : 16
    return {
      height: Math.max(20, first + 17 * (said.length - 1) + 4),
      parts: [
        label(MARGIN + 20, 16, String(place + 1), 'small quiet end'),
        label(timeAt, 16, timeText(one), 'small figures'),
        label(wordAt, 16, `${mark} ${wordText(one)}`, `kind ${tone}`),
        ...said.map((line, row) => label(textAt, first + 17 * row, line, 'small')),
      ],
    }
  })
  const rule = { height: 6, parts: [`<path class="rule" d="M${MARGIN} 4H${width - MARGIN}"/>`] }
  return stacked([rule, ...rows, { height: 8, parts: [] }])
}

/** @param {Canvas} canvas @returns {Block} */
function footBlock({ picture, width }) {
  const sums = lines(sumsText(picture), width - 2 * MARGIN, 12)
  const said = [zonesText(picture), ...sums].filter(Boolean)
  return {
    height: 10 + 17 * said.length,
    parts: [
      `<path class="rule" d="M${MARGIN} 4H${width - MARGIN}"/>`,
      ...said.map((line, row) => label(MARGIN, 22 + 17 * row, line, 'small quiet')),
    ],
  }
}
