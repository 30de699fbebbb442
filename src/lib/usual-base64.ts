/**
 * The usual spelling of base64 that may have the alphabet of URLs, white space or no padding; undefined for other text.
 * `Buffer.from` decodes any text, and leaves out what is no base64, as Python does; but Python demands padding.
 */
export function usualBase64(text: string): string | undefined {
  if (text.length % 4 === 0 && usual.test(text)) return text
  if (!readable.test(text) || text.replace(/[\s=]/g, '').length % 4 === 1) return undefined
  return Buffer.from(text, 'base64').toString('base64')
}

const usual = /^[A-Za-z0-9+/]*={0,2}$/
/** No character fits two neighbouring parts: an attempt that fails takes linear time. */
const readable = /^[\w+/\s-]*(?:=\s*){0,2}$/
