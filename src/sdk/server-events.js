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
  for await (const block of blocksOf(body)) {
    const event = eventIn(block)
    if (event) yield event
  }
}

/**
 * Texts between two empty lines. The parts of one are joined at its end: a search in the whole text at each chunk takes half a
 * minute for an outcome of 32 MB.
 *
 * @param {ReadableStream<Uint8Array>} body
 */
async function* blocksOf(body) {
  const decoder = new TextDecoder()
  /** @type {string[]} */
  let parts = []
  let length = 0
  let held = ''
  for await (const bytes of chunksOf(body)) {
    const text = held + decoder.decode(bytes, { stream: true })
    // First half of a delimiter that is split over chunks.
    held = text.endsWith('\n') && !text.endsWith('\n\n') ? '\n' : ''
    const [first = '', ...others] = text.slice(0, text.length - held.length).split('\n\n')
    parts.push(first)
    length += first.length
    for (const next of others) {
      yield parts.join('')
      parts = [next]
      length = next.length
    }
    if (length > EVENT_CHARS_MAX) throw new RangeError('Cannot read an event this long')
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
