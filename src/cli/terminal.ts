import { WebSocket, type RawData } from 'ws'
import { MayflyError } from '../contract/error.ts'
import { tryParseJson } from '../lib/parse-json.ts'
import { shellQuoted } from '../lib/shell-word.ts'
import { codeOfSignal } from '../lib/signal-name.ts'
import { problemIn, sandboxPath, serverKey, serverOf, type ServerFlags } from './call-server.ts'

/** Bytes buffered for the server above which terminal input is paused (back-pressure). */
const BUFFERED_BYTES_MAX = 65_536
const PROBLEM_BYTES_MAX = 65_536

/**
 * Attaches this terminal to a program on a terminal of the session; keys, including Ctrl-C, are sent as bytes. Resolves
 * to its exit code. Throws MayflyError USAGE if stdin or stdout is not a terminal.
 */
export async function attachTerminal(
  flags: ServerFlags,
  id: string,
  words: readonly string[],
): Promise<number> {
  const { stdin, stdout } = process
  if (!stdin.isTTY || !stdout.isTTY)
    throw new MayflyError('USAGE', 'Cannot open a terminal: stdin and stdout must be a terminal', {
      hint: 'Omit -t: "mayfly sandbox exec ID -- COMMAND" needs no terminal',
    })
  const socket = await connect(flags, id, words)
  const resized = (): void => {
    const { columns: cols, rows } = stdout
    socket.send(JSON.stringify({ resize: bounded({ cols, rows }) }))
  }
  stdout.on('resize', resized)
  stdin.setRawMode(true)
  try {
    return await converse(socket)
  } finally {
    stdin.setRawMode(false)
    stdin.pause()
    stdout.off('resize', resized)
    socket.terminate()
  }
}

const bounded = ({ cols, rows }: { cols: number; rows: number }) => ({
  cols: Math.min(1000, Math.max(1, cols)),
  rows: Math.min(1000, Math.max(1, rows)),
})

/** Resolves to the open socket. Rejects with the server's problem. */
async function connect(
  flags: ServerFlags,
  id: string,
  words: readonly string[],
): Promise<WebSocket> {
  const url = new URL(sandboxPath(id, '/pty'), serverOf(flags, process.env))
  const { columns, rows } = process.stdout
  const size = bounded({ cols: columns, rows })
  url.searchParams.set('cols', `${size.cols}`)
  url.searchParams.set('rows', `${size.rows}`)
  const { TERM } = process.env
  if (TERM && /^[A-Za-z0-9][A-Za-z0-9+._-]{0,39}$/.test(TERM)) url.searchParams.set('term', TERM)
  // The server parses a single argument as a shell line.
  const [only = ''] = words
  const given = words.length === 1 ? [`exec ${shellQuoted(only)}`] : words
  for (const word of given) url.searchParams.append('command', word)
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
  const headers = { authorization: `Bearer ${await serverKey(serverOf(flags, process.env))}` }
  const socket = new WebSocket(url, { headers, perMessageDeflate: false })
  const { promise, resolve, reject } = Promise.withResolvers<WebSocket>()
  socket.once('open', () => {
    // Output may arrive together with the upgrade response, before a listener is attached.
    socket.pause()
    resolve(socket)
  })
  socket.on('error', (cause) =>
    reject(new MayflyError('UNAVAILABLE', `Cannot reach a server at "${url.host}"`, { cause })),
  )
  socket.once('unexpected-response', (_request, response) => {
    let text = ''
    response.on('data', (chunk: Buffer) => {
      if (text.length < PROBLEM_BYTES_MAX) text += chunk.toString()
    })
    response.once('end', () => reject(problemIn(tryParseJson(text), response.statusCode ?? 0)))
  })
  return await promise
}

/** Copies bytes both ways; resolves to the exit code. */
async function converse(socket: WebSocket): Promise<number> {
  const { stdin, stdout } = process
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const lost = () =>
    reject(new MayflyError('PROTOCOL', 'Cannot continue: the server closed the terminal'))
  socket.once('close', lost)
  socket.on('message', (data: RawData, isBinary: boolean) => {
    const bytes = data as Buffer
    if (!isBinary) return handleControl(bytes.toString('utf8'), resolve, reject)
    if (stdout.write(bytes)) return
    socket.pause()
    stdout.once('drain', () => socket.resume())
  })
  stdin.on('data', (bytes: Buffer) => {
    if (socket.readyState !== socket.OPEN) return
    socket.send(bytes, () => stdin.resume())
    if (socket.bufferedAmount > BUFFERED_BYTES_MAX) stdin.pause()
  })
  stdin.resume()
  socket.resume()
  return await promise
}

interface Told {
  readonly exit?: {
    readonly code: number | null
    readonly signal: string | null
    readonly error?: { readonly code: string; readonly message: string }
  }
  readonly problem?: unknown
}

function handleControl(
  text: string,
  resolve: (code: number) => void,
  reject: (error: Error) => void,
): void {
  const { exit, problem } = (tryParseJson(text) ?? {}) as Told
  if (problem !== undefined) return reject(problemIn(problem, 0))
  if (!exit) return
  if (exit.error) return reject(problemIn(exit.error, 0))
  resolve(exit.code ?? codeOfSignal(exit.signal ?? ''))
}
