// A session of this page on its server: calls by the page's token, and its life as it happens.

const BASE = '/active-content/sessions'
const RETRIES_MAX = 40
const RETRY_MS = 250
const RECONNECTS_MAX = 5

/** Failed request: HTTP `status` and error `code` of the response; 0 and `unreachable` without a response. */
export class Refused extends Error {
  constructor({ status, code, message, details, outcome }) {
    super(message)
    Object.assign(this, { status, code, details, outcome: outcome ?? details?.outcome })
  }
}

export class NotebookSession {
  /** As the server describes it: `id`, `language`, `wall`, `plan`, `age`, `leftMs`, `lastMs`. */
  row
  #at

  /** Throws Refused. */
  static async open(asked) {
    return new NotebookSession(await answered(call('POST', '', asked)))
  }

  constructor(row) {
    this.#read(row)
  }

  /** Milliseconds since the release of its sandbox. */
  get age() {
    return this.row.age + performance.now() - this.#at
  }

  /** Milliseconds until it ends without another exec, and in any case. */
  get left() {
    const since = performance.now() - this.#at
    return {
      ms: Math.max(0, this.row.leftMs - since),
      lastMs: Math.max(0, this.row.lastMs - since),
    }
  }

  /** Runs a cell; `on(name, data)` receives its output. Resolves to its outcome; throws Refused. */
  async run(code, on) {
    for (let tries = 0; ; tries++) {
      const response = await call('POST', `/${this.row.id}/run`, { code }, 'text/event-stream')
      if (isStream(response)) return await lastFrame(response.body, on)
      // Race: an interrupted exec may not have ended yet.
      if (response.status === 409 && tries < RETRIES_MAX) {
        await response.body?.cancel()
        await new Promise((done) => setTimeout(done, RETRY_MS))
        continue
      }
      return await answered(response)
    }
  }

  /** Interrupts the running exec, which ends soon after with an outcome. */
  interrupt() {
    return this.#asked('POST', '/interrupt')
  }

  async renew() {
    this.#read(await this.#asked('POST', '/timeout'))
  }

  async look() {
    this.#read(await this.#asked('GET', ''))
  }

  /** Files below its working folder. */
  async files() {
    const { entries } = await this.#asked('GET', '/files')
    return entries.filter(({ type }) => type === 'file')
  }

  async bytes(path) {
    const at = `/${this.row.id}/files?path=${encodeURIComponent(path)}`
    const response = await call('GET', at)
    if (!response.ok) return answered(response)
    return await response.blob()
  }

  /** Closes it; resolves to the outcome of its life. `isLeaving`: the page is being unloaded. */
  close(isLeaving = false) {
    return answered(call('DELETE', `/${this.row.id}`, undefined, '*/*', isLeaving))
  }

  /** Passes its timeline to `on(entry)` until it ends; resolves to its outcome. Throws Refused if the server does not know it. */
  async watch(on) {
    let known = 0
    for (let tries = 0; ; tries++) {
      try {
        const response = await call('GET', `/${this.row.id}`, undefined, 'text/event-stream')
        if (!isStream(response)) return await answered(response)
        let seen = 0
        return await lastFrame(response.body, (name, data) => {
          if (name !== 'event' || ++seen <= known) return
          known = seen
          on(data)
        })
      } catch (thrown) {
        if (thrown.outcome) return thrown.outcome
        if (thrown.status > 0 || tries >= RECONNECTS_MAX) throw thrown
        await new Promise((done) => setTimeout(done, RETRY_MS * 2 ** tries))
      }
    }
  }

  #asked(method, path) {
    return answered(call(method, `/${this.row.id}${path}`))
  }

  #read(row) {
    this.row = row
    this.#at = performance.now()
  }
}

async function call(method, path, body, accept = '*/*', keepalive = false) {
  try {
    return await fetch(`${BASE}${path}`, {
      method,
      keepalive,
      headers: {
        Accept: accept,
        Authorization: `Bearer ${globalThis.getSessionToken()}`,
        ...(body !== undefined && { 'Content-Type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
  } catch (error) {
    throw unreachable(error)
  }
}

function unreachable(error) {
  const message = `The server does not answer: ${error.message}`
  return new Refused({ status: 0, code: 'unreachable', message })
}

async function answered(asked) {
  const response = await asked
  const body = await response.json().catch(() => ({ message: response.statusText }))
  if (response.ok) return body
  throw new Refused({ ...body, status: response.status })
}

function isStream(response) {
  return response.headers.get('Content-Type')?.startsWith('text/event-stream') === true
}

/** Passes each frame to `on`; resolves to the outcome. Throws Refused for a problem, and for an incomplete stream. */
async function lastFrame(stream, on) {
  try {
    for await (const frame of globalThis.blocksOf(stream)) {
      const [, name, json] = /^event: (\w+)\ndata: (.*)$/m.exec(frame) ?? []
      if (name === undefined) continue
      const data = JSON.parse(json)
      if (name === 'outcome') return data
      if (name === 'problem') throw new Refused(data)
      on(name, data)
    }
  } catch (thrown) {
    throw thrown instanceof Refused ? thrown : unreachable(thrown)
  }
  throw unreachable(new Error('the response is incomplete'))
}
