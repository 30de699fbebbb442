// Browser client: one classic script, so that `<script src="/mayfly.js"></script>` suffices and its functions
// exist before any later script. For `import`, there is /mayfly.mjs beside it.

/** Session token that the server put into this page. Throws if missing. */
function getSessionToken() {
  const token = document.querySelector('meta[name="mayfly-session"]')?.content
  if (token) return token
  throw new Error('This server gives visitors no session tokens')
}

/**
 * Runs a text in a sandbox on the server. Resolves with the outcome, or with the problem that the server told in
 * its place: `status` is a word in the one and a number in the other. `options`: `{ language, input, schedule,
 * artifacts, signal, on }`; aborting `signal` ends the job. `on(event, data)` hears it as it runs: `plan` (what its life
 * is to be), `stdout` and `stderr` (`{ text }`), `event` (a line of its timeline).
 */
async function runActiveContent(content, options = {}) {
  const { signal, on, language, input, schedule, artifacts } = options
  const body = { content, sessionToken: getSessionToken(), language, input, schedule, artifacts }
  const response = await fetch('/active-content', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...(on && { Accept: 'text/event-stream' }) },
    body: JSON.stringify(body),
    signal,
  })
  const isStream = response.headers.get('Content-Type')?.startsWith('text/event-stream')
  return isStream ? lastOf(response.body, on) : response.json()
}

/** Passes each event but the last to `on`; returns the last, the answer. */
async function lastOf(stream, on) {
  let rest = ''
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const events = (rest + text).split('\n\n')
    rest = events.pop()
    for (const lines of events) {
      const [, event, json] = /^event: (\w+)\ndata: (.*)$/m.exec(lines) ?? []
      if (event === undefined) continue
      const data = JSON.parse(json)
      if (event === 'outcome' || event === 'problem') return data
      on(event, data)
    }
  }
  throw new Error('The server ended before the job did')
}

/** Fetches active content and runs it; resolves like runActiveContent. */
async function requestActiveContent(contentURL, options) {
  const response = await fetch(contentURL)
  if (!response.ok) throw new Error(`Cannot fetch "${contentURL}": ${response.status}`)
  return runActiveContent(await response.text(), options)
}

// In a module, declarations would not be global.
Object.assign(globalThis, { getSessionToken, runActiveContent, requestActiveContent })
