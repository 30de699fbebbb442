// Browser client: one classic script, so that `<script src="/mayfly.js"></script>` suffices and its functions
// exist before any later script. /mayfly.mjs is the same as a module.

/** Session token that the server put into this page. Throws if missing. */
function getSessionToken() {
  const token = document.querySelector('meta[name="mayfly-session"]')?.content
  if (token) return token
  throw new Error('This server issues no session tokens to visitors')
}

/**
 * Runs source code in a sandbox on the server. Resolves to the outcome, or to the problem that the server returned
 * instead: `status` is a string in an outcome and a number in a problem. `options`: `{ language, input, schedule,
 * artifacts, signal, on }`; aborting `signal` ends the job. `on(event, data)` receives live events: `plan` (the planned
 * phases), `stdout` and `stderr` (`{ text }`), `event` (a timeline entry). Any other option is refused by the server (422).
 */
async function runActiveContent(content, options = {}) {
  const { signal, on, ...asked } = options
  const body = { ...asked, content, sessionToken: getSessionToken() }
  const response = await fetch('/active-content', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...(on && { Accept: 'text/event-stream' }) },
    body: JSON.stringify(body),
    signal,
  })
  const isStream = response.headers.get('Content-Type')?.startsWith('text/event-stream')
  return isStream ? lastOf(response.body, on) : response.json()
}

/** Passes each event except the last one to `on`; returns the last one, the outcome or problem. */
async function lastOf(stream, on) {
  for await (const lines of blocksOf(stream)) {
    const [, event, json] = /^event: (\w+)\ndata: (.*)$/m.exec(lines) ?? []
    if (event === undefined) continue
    const data = JSON.parse(json)
    if (event === 'outcome' || event === 'problem') return data
    on(event, data)
  }
  throw new Error('The connection closed before the job ended')
}

/**
 * Texts between two empty lines. The parts of one are joined at its end, because a large outcome has thousands. Also for
 * `page/session.js`.
 */
async function* blocksOf(stream) {
  let parts = []
  let held = ''
  for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
    const text = held + chunk
    // First half of a delimiter that is split over chunks.
    held = text.endsWith('\n') && !text.endsWith('\n\n') ? '\n' : ''
    const [first, ...others] = text.slice(0, text.length - held.length).split('\n\n')
    parts.push(first)
    for (const next of others) {
      yield parts.join('')
      parts = [next]
    }
  }
}

/** Fetches active content and runs it; resolves like runActiveContent. */
async function requestActiveContent(contentURL, options) {
  const response = await fetch(contentURL)
  if (!response.ok) throw new Error(`Cannot fetch "${contentURL}": ${response.status}`)
  return runActiveContent(await response.text(), options)
}

// In a module, declarations would not be global.
Object.assign(globalThis, { getSessionToken, runActiveContent, requestActiveContent })
