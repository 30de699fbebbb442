// @ts-check
/** @typedef {{ readonly id: string | undefined, readonly event: string, readonly data: string }} RawEvent */

/** Maximum of one event in characters; larger than any outcome. */
const EVENT_CHARS_MAX = 2 ** 28

/**
 * Server-sent events in the form in which a server of Mayfly sends them; their data is JSON in one line.
 *
 * @param {ReadableStream<Uint8Array>} body
 * @returns {AsyncGenerator<RawEvent, void, undefined>}
 */
export async function* rawEventsOf(body) {
  const decoder = new TextDecoder()
  let text = ''
  for await (const bytes of chunksOf(body)) {
    // Searches the new bytes only, plus one character for a delimiter split over chunks.
    const from = Math.max(0, text.length - 1)
    text += decoder.decode(bytes, { stream: true })
    for (let end = text.indexOf('\n\n', from); end >= 0; end = text.indexOf('\n\n')) {
      const event = eventIn(text.slice(0, end))
      text = text.slice(end + 2)
      if (event) yield event
    }
    if (text.length > EVENT_CHARS_MAX) throw new RangeError('Cannot read an event this long')
  }
}

/** Not every engine iterates a stream. @param {ReadableStream<Uint8Array>} body */
async function* chunksOf(body) {
  const reader = body.getReader()
  let isOver = false
  try {
    for (;;) {
      const { done, value } = await reader.read()
      isOver = done
      if (done) return
      yield value
    }
  } finally {
    if (!isOver) await reader.cancel()
  }
}

/** @param {string} block @returns {RawEvent | undefined} */
function eventIn(block) {
  const found = /^event: (\w+)\ndata: ([^\n]*)(?:\nid: (\d+))?$/.exec(block)
  return found ? { event: found[1] ?? '', data: found[2] ?? '', id: found[3] } : undefined
}
