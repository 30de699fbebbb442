import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { WebSocket } from 'ws'
import { unable } from '../walls/process-stands.ts'
import { bearer } from './http-door.ts'
import { makePlace, startServer, type Place, type Server } from './program.ts'

interface Frame {
  readonly event: string
  readonly data: Record<string, any>
}

suite('The channel of a server over TLS', () => {
  let place: Place
  let server: Server
  let ca: string
  before(async () => {
    place = makePlace()
    server = await startServer(place, ['--tls-dev'])
    ca = readFileSync(join(place.state, 'tls', 'authority.pem'), 'utf8')
  })
  after(async () => {
    await server.stop()
    place.remove()
  })

  /** Sends a job over `wss`; `heard` is called for each frame. Resolves to all frames and the close code. */
  async function send(job: object, heard: (frame: Frame, socket: WebSocket) => void = () => {}) {
    const url = new URL('/v1/executions', server.active)
    url.protocol = 'wss:'
    url.hostname = 'localhost'
    const socket = new WebSocket(url, { ca, headers: bearer(server.apiKey) })
    const frames: Frame[] = []
    socket.on('message', (data: Buffer) => {
      const frame = JSON.parse(String(data)) as Frame
      frames.push(frame)
      heard(frame, socket)
    })
    await once(socket, 'open')
    socket.send(JSON.stringify(job))
    const [code] = (await once(socket, 'close')) as [number]
    return { frames, code }
  }
  const textOf = (frames: readonly Frame[]) =>
    frames
      .flatMap(({ event, data }) => (event === 'stdout' ? [data['text'] as string] : []))
      .join('')

  const lines = Array.from({ length: 200 }, (_, n) => `line ${n}\n`).join('')
  const jobs = [
    [
      'js',
      'for (let n = 0; n < 200; n++) { console.log("line " + n); if (n % 20 === 0) await null }',
    ],
    ['python', 'for n in range(200): print("line", n, flush=True)'],
  ] as const

  for (const [language, code] of jobs) {
    const skip = language === 'js' ? false : unable(language)
    test(
      `S0-17: wss streams the output of a job in ${language} in order, its events before its outcome`,
      { skip },
      async () => {
        const { frames, code: closed } = await send({ code, language })
        assert.equal(closed, 1000)
        assert.equal(textOf(frames), lines)
        const names = frames.map(({ event }) => event)
        assert.equal(names[0], 'event', 'the phase event comes first')
        assert.equal(names.indexOf('outcome'), names.length - 1)
        const { status, stdout } = frames.at(-1)!.data
        assert.deepEqual([status, stdout], ['ok', lines])
        const times = frames.flatMap(({ event, data }) =>
          event === 'event' ? [data['at'] as number] : [],
        )
        assert.deepEqual(
          times,
          times.toSorted((a, b) => a - b),
        )
      },
    )
  }

  test('S0-17: output is streamed while its job runs: an endless job’s output arrives before its end', async () => {
    const code =
      'for (let n = 0; n < 200; n++) console.log("line " + n); await new Promise(() => {})'
    let said = ''
    const { frames } = await send(
      // Longer than this test may take: no end of the job brings the lines.
      { code, limits: { timeout: '10m' } },
      ({ event, data }, socket) => {
        if (event === 'stdout') said += data['text']
        if (said === lines) socket.close()
      },
    )
    assert.equal(said, lines)
    const names = new Set(frames.map(({ event }) => event))
    assert.deepEqual(names, new Set(['event', 'stdout']), 'the phase event arrives while it runs')
  })

  test('S0-17: a WebSocket without TLS gets no response on a TLS port', async () => {
    const url = new URL('/v1/executions', server.active)
    url.protocol = 'ws:'
    const socket = new WebSocket(url, { headers: bearer(server.apiKey) })
    const [error] = (await once(socket, 'error')) as [Error]
    // An answer in clear, a refusal too, would be an error of this text.
    assert.doesNotMatch(error.message, /Unexpected server response/)
    socket.terminate()
    const { frames } = await send({ code: 'return 1' })
    assert.equal(frames.at(-1)?.data['status'], 'ok', 'the server is there')
  })
})
