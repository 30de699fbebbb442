/** Line breaks, terminal controls, bidirectional controls, and other characters that are unsafe in a log. */
const unprintable =
  // oxlint-disable-next-line no-control-regex
  /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]/g

/** Escapes untrusted text for a log or a message; at most `charsMax` characters. */
export function escapedText(text: string, charsMax: number): string {
  const cut = text.slice(0, charsMax)
  const shown = cut.replace(
    unprintable,
    (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
  const whole = shown.slice(0, charsMax)
  return text.length > charsMax || shown.length > charsMax ? `${whole}…` : whole
}
