// The browser client: one classic script, so that `<script src="/mayfly.js"></script>` is all a page needs and its
// functions are there before any script after it. For `import`, there is /mayfly.mjs beside it.
;(() => {
  'use strict'

  /** Outcomes and problems are both JSON objects; `status` is a word in the one and a number in the other. */
  async function send(payload) {
    const response = await fetch('/active-content', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(payload),
    })
    return response.json()
  }

  /** The token of this page load, which the server put into the page; throws where it gives none. */
  globalThis.getSessionToken = function getSessionToken() {
    const token = document.querySelector('meta[name="mayfly-session"]')?.content
    if (token) return token
    throw new Error('This server gives visitors no session tokens')
  }

  /**
   * Runs a text in a sandbox on the server. Resolves with the outcome, or with the problem that the server told
   * in its place (`code`, `message`, `details`). `options`: `{ language, input }`.
   */
  globalThis.runActiveContent = function runActiveContent(content, options = {}) {
    return send({ content, sessionToken: getSessionToken(), ...options })
  }

  /** Fetches active content and runs it; resolves as runActiveContent does. */
  globalThis.requestActiveContent = async function requestActiveContent(contentURL, options) {
    const response = await fetch(contentURL)
    if (!response.ok) throw new Error(`Cannot fetch "${contentURL}": ${response.status}`)
    return runActiveContent(await response.text(), options)
  }
})()
