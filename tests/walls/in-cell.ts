import { spawn } from 'node:child_process'
import { Cell } from '../../guest/cell.js'
import { exitNow } from '../../src/os/libc.js'

// Exits like a worker: a thread of an isolate may still be inside V8, and tearing V8 down would abort the process.
process.on('exit', (code) => exitNow(code))

/** More time than a cell needs here under load, and less than the time limit of a cell in its own process. */
const usualMs = 7000

export interface Asked {
  entry?: 'body' | 'function' | 'module' | 'handler'
  name?: string
  typed?: boolean
  input?: unknown
  files?: Readonly<Record<string, string>>
  capabilities?: readonly string[]
  timeoutMs?: number
  outputBytesMax?: number
  resultBytesMax?: number
  memoryMiB?: number
  webAssembly?: boolean
  call?: (name: string, argsText: string) => Promise<string>
  refused?: (name: string, module?: string) => void
}

export interface Ran {
  status: string
  resultText: string
  encoding: string
  error?: { code: string; name?: string; message: string; stack?: string }
  cpuTimeMs: number
  memory: { used: number; peak: number }
  executionMs: number
  poisoned: boolean
  pending?: { timers: number; promises: number }
  stdout: string
  stderr: string
  /** Both streams, in the order of their chunks. */
  both: string
  released: number
  chunks: number[]
}

/** Runs one source in one fresh cell of this process. */
export async function inCell(code: string, asked: Asked = {}): Promise<Ran> {
  const { memoryMiB = 64, webAssembly = false } = asked
  const cell = new Cell({ memoryMiB, webAssembly })
  const seen = { stdout: '', stderr: '', both: '', released: 0, chunks: [] as number[] }
  try {
    const end = await cell.run(cellTaskOf(code, asked), {
      released: () => void seen.released++,
      stdout: (text: string) => {
        seen.stdout += text
        seen.both += text
        seen.chunks.push(Buffer.byteLength(text))
      },
      stderr: (text: string) => {
        seen.stderr += text
        seen.both += text
      },
      call: asked.call ?? (() => Promise.reject(new Error('no capability here'))),
      ...(asked.refused && { refused: asked.refused }),
    })
    return { ...end, ...seen }
  } finally {
    cell.dispose()
  }
}

/** Runs a body and parses its result; throws unless the status is `ok`. */
export async function valueOf(code: string, asked: Asked = {}): Promise<unknown> {
  const ran = await inCell(code, asked)
  if (ran.status !== 'ok') throw new Error(`${ran.status}: ${JSON.stringify(ran.error)}`)
  return JSON.parse(ran.resultText)
}

/** Runs a source in a separate process, for code that may crash or block it: killed after `lifeMs`. */
export function inCellApart(
  code: string,
  asked: Asked = {},
  lifeMs = 60_000,
): Promise<Ran | 'killed'> {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', APART], {
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), lifeMs)
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => (text += String(chunk)))
  child.stdin.on('error', () => undefined)
  child.stdin.end(JSON.stringify({ code, asked }))
  return new Promise((resolve) => {
    child.on('close', () => {
      clearTimeout(timer)
      resolve(text === '' ? 'killed' : (JSON.parse(text) as Ran))
    })
  })
}

const APART = `
  import { inCell } from ${JSON.stringify(import.meta.url)}
  let text = ''
  for await (const chunk of process.stdin) text += chunk
  const { code, asked } = JSON.parse(text)
  const ran = await inCell(code, asked)
  process.stdout.write(JSON.stringify(ran), () => process.kill(process.pid, 'SIGKILL'))
`

/** Task of a cell, without limits that are usual to reach. */
export function cellTaskOf(code: string, asked: Asked) {
  const { entry = 'body', input = null, files = {}, capabilities = [] } = asked
  return {
    language: 'js' as const,
    entry,
    code,
    ...(asked.name !== undefined && { name: asked.name }),
    ...(asked.typed && { typed: true }),
    inputText: JSON.stringify(input),
    files: Object.entries(files).map(([path, content]) => ({
      path,
      content,
      encoding: 'utf8' as const,
    })),
    capabilities: [...capabilities],
    timeoutMs: asked.timeoutMs ?? usualMs,
    outputBytesMax: asked.outputBytesMax ?? 2 ** 20,
    resultBytesMax: asked.resultBytesMax ?? 2 ** 20,
  }
}
