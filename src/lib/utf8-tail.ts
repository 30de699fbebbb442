const LEAD_MIN = 0xc0
const CONTINUATION_MIN = 0x80
const TAIL_BYTES_MAX = 3

const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** Length of the beginning of a UTF-8 character at the end of the bytes that a further byte could complete; else 0. */
export function openTailBytes(bytes: Uint8Array): number {
  const most = Math.min(TAIL_BYTES_MAX, bytes.length)
  for (let length = 1; length <= most; length++) {
    const byte = bytes[bytes.length - length]!
    if (byte < CONTINUATION_MIN) return 0
    if (byte >= LEAD_MIN) return isOpen(bytes.subarray(bytes.length - length)) ? length : 0
  }
  return 0
}

/** A stream decoder holds back nothing but the beginning of a character. */
function isOpen(tail: Uint8Array): boolean {
  const isHeld = decoder.decode(tail, { stream: true }) === ''
  decoder.decode()
  return isHeld
}
