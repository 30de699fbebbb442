// The browser client: one classic script, so that `<script src="/mayfly.js"></script>` is all a page needs and its
// functions are there before any script after it. For `import`, there is /mayfly.mjs beside it.

/** The token of this page load, which the server put into the page. Throws where it gives none. */
function getSessionToken() {
  const token = document.querySelector('meta[name="mayfly-session"]')?.content
  if (token) return token
  throw new Error('This server gives visitors no session tokens')
}

/**
 * Runs a text in a sandbox on the server. Resolves with the outcome, or with the problem that the server told in
 * its place: `status` is a word in the one and a number in the other. `options`: `{ language, input, signal }`.
 */
async function runActiveContent(content, options = {}) {
  const { language, input, signal } = options
  const response = await fetch('/active-content', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ content, sessionToken: getSessionToken(), language, input }),
    signal,
  })
  return response.json()
}

/** Fetches active content and runs it; resolves as runActiveContent does. */
async function requestActiveContent(contentURL, options) {
  const response = await fetch(contentURL)
  if (!response.ok) throw new Error(`Cannot fetch "${contentURL}": ${response.status}`)
  return runActiveContent(await response.text(), options)
}

// Loaded as a module, declarations would be seen by nobody.
Object.assign(globalThis, { getSessionToken, runActiveContent, requestActiveContent })
