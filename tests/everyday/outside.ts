import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { packagesFolder, type Program } from './corpus.ts'

/** End of a program: output, exit code, and the files it creates. */
export interface Ended {
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
  readonly created: ReadonlyMap<string, Buffer>
}

const outsideMsMax = 60_000
/** A kernel pipe: Node creates sockets, which `< /dev/stdin` cannot open. */
const piped = 'cat "$0" | "$@"'
const programsHere = join(import.meta.dirname, '../../node_modules/.bin')

/** Runs a program without Mayfly, in a copy of its folder, by the command that its author would type. */
export async function runOutside(program: Program): Promise<Ended> {
  const base = mkdtempSync(join(tmpdir(), 'mayfly-outside-'))
  try {
    const cwd = join(base, 'program')
    cpSync(program.folder, cwd, { recursive: true })
    const packages = join(packagesFolder, 'node_modules')
    if (existsSync(packages)) symlinkSync(packages, join(base, 'node_modules'))
    const stdin = join(base, 'stdin')
    writeFileSync(stdin, program.stdin ?? '')
    const child = spawn('sh', ['-c', piped, stdin, ...program.command], {
      cwd,
      env: envOf(program, base),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const timer = setTimeout(() => child.kill('SIGKILL'), outsideMsMax)
    const texts = [textOf(child.stdout), textOf(child.stderr)]
    const [exitCode] = (await once(child, 'close')) as [number | null]
    clearTimeout(timer)
    const [stdout = '', stderr = ''] = await Promise.all(texts)
    return { exitCode, stdout, stderr, created: createdIn(cwd, program) }
  } finally {
    rmSync(base, { recursive: true, force: true })
  }
}

/** Puts the current Node, Debian's Python and this project's tsx first on PATH. */
function envOf({ env }: Program, home: string): NodeJS.ProcessEnv {
  const PATH = [dirname(process.execPath), '/usr/bin', '/bin', programsHere].join(delimiter)
  return { PATH, HOME: home, TMPDIR: home, LANG: 'C.UTF-8', ...env }
}

/** Files that the program makes, by their names in its folder; `placeOf` says where they came to lie. */
export function createdIn(
  folder: string,
  { creates }: Program,
  placeOf = (name: string) => name,
): Map<string, Buffer> {
  const made = creates.map((name) => [name, join(folder, placeOf(name))] as const)
  return new Map(
    made.filter(([, at]) => existsSync(at)).map(([name, at]) => [name, readFileSync(at)]),
  )
}

async function textOf(stream: NodeJS.ReadableStream): Promise<string> {
  let text = ''
  stream.setEncoding('utf8')
  for await (const chunk of stream) text += String(chunk)
  return text
}
