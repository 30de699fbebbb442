import { wrapped } from './words.js'

/**
 * Text blocks of an SVG. Font metrics are unknown here, so widths assume the widest common font.
 * @typedef {{ height: number, parts: string[] }} Block drawn from its own top
 */

export const MARGIN = 20
/** Relative width of bold letters. */
export const BOLD = 1.12

/** Stacks blocks vertically. @param {readonly Block[]} blocks @returns {Block} */
export function stacked(blocks) {
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

/** @param {number} x @param {number} y @param {string} text @param {string} kind */
export function label(x, y, text, kind) {
  return `<text class="${kind}" x="${n(x)}" y="${n(y)}">${escaped(text)}</text>`
}

/** Estimated width of a text: font metrics are unknown here. @param {string} text @param {number} size */
export function widthOf(text, size) {
  let wide = 0
  for (const character of text) wide += shareOf(character)
  return wide * size
}

/** Width in the widest common font, as a fraction of the size. @param {string} character */
function shareOf(character) {
  if ((character.codePointAt(0) ?? 0) >= 0x1100) return 1.05
  if (/[ .,:;'!|iljftrI()[\]/-]/.test(character)) return 0.38
  return /[mwMW@%…–×»A-Z]/.test(character) ? 0.8 : 0.62
}

/** @param {string} text @param {number} room @param {number} size */
export function fit(text, room, size) {
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
export function lines(text, room, size) {
  return wrapped(text, (line) => widthOf(line, size) <= room).map((line) => fit(line, room, size))
}

/** @param {string} text */
export function escaped(text) {
  return text.replace(/[&<>"']/g, (found) => `&#${found.charCodeAt(0)};`)
}

/** A coordinate with one decimal. @param {number} value */
export function n(value) {
  return String(Number(value.toFixed(1)))
}
