import { posix } from 'node:path'
import { MayflyError } from '../../contract/error.ts'
import type { SessionEntry } from '../../contract/exec.ts'
import type { Outcome } from '../../contract/outcome.ts'
import type { OutputListener } from '../../contract/pipeline.ts'
import type { RunRequest } from '../../contract/session.ts'
import { createMutex, type Mutex } from '../../lib/mutex.ts'
import { codeOfSignal } from '../../lib/signal-name.ts'
import { untilSuccess } from '../../lib/until-success.ts'
import { assertKnownOptions } from '../known-options.ts'

/** Session that runs commands, as returned by `mayfly.open`. */
export interface ShellBox {
  readonly id: string
  run(
    request: RunRequest,
    caller?: { readonly signal?: AbortSignal; readonly tap?: OutputListener },
  ): Promise<Outcome>
  readonly files: {
    put(path: string, content: Uint8Array | string): Promise<void>
    get(path: string): Promise<Uint8Array>
    list(path?: string): Promise<readonly SessionEntry[]>
  }
}

export interface ShellOptions {
  /** Default timeout of a command; 2 min unless set, within the ceilings of the configuration. */
  readonly timeout?: number | string
}

export interface ShellCommand {
  readonly command: string
  readonly cwd?: string | undefined
  readonly env?: Readonly<Record<string, string>> | undefined
  readonly stdin?: Uint8Array | undefined
  readonly timeout?: number | string | undefined
  readonly signal?: AbortSignal | undefined
  readonly tap?: OutputListener | undefined
}

export interface ShellEnd {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
  readonly isTruncated: boolean
}

/** Exit codes of `timeout` and `env` for these ends. */
const TIMED_OUT = 124
const CANNOT_RUN = 126
/** Output of a command that carries a file; base64 takes a third more than the bytes. */
const FILE_OUTPUT = '45MB'

/** Script that runs a line in a folder, by bash if it exists, else by sh. */
const inFolder =
  'cd -- "$1" || exit 1; if command -v bash >/dev/null 2>&1; then exec bash -c "$2"; fi; exec sh -c "$2"'

/**
 * Shell and files of a box, in the form that agent frameworks use.
 *
 * A session runs one exec at a time and frameworks call in parallel, so commands are queued. The files of a box
 * are those below its working folder; other paths of the sandbox, such as /tmp, are accessed by commands.
 */
export class BoxShell {
  readonly #box: ShellBox
  readonly #timeout: number | string
  readonly #inTurn: Mutex = createMutex()
  /** Path of the working folder inside the sandbox. Asks again after a failure: a timeout, for instance, passes. */
  readonly #folder = untilSuccess(async () => (await this.#words(['pwd'], {})).stdout.trim())

  constructor(box: ShellBox, options: ShellOptions = {}) {
    assertKnownOptions(options, { timeout: true })
    const { timeout = '2m' } = options
    this.#box = box
    this.#timeout = timeout
  }

  get id(): string {
    return this.#box.id
  }

  /** Runs a command; resolves to its end. Throws the error that ended the session. */
  async run(asked: ShellCommand): Promise<ShellEnd> {
    const words = ['sh', '-c', inFolder, 'sh', asked.cwd ?? '.', asked.command]
    return await this.#exec(words, asked)
  }

  /** Bytes of a file; undefined if it does not exist. Throws for a folder. */
  async read(path: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    const own = await this.#ownPath(path)
    if (own !== undefined)
      return await this.#box.files.get(own).catch((thrown: unknown) => {
        if (thrown instanceof MayflyError && thrown.code === 'NOT_FOUND') return undefined
        throw thrown
      })
    if ((await this.stat(path, signal)) === undefined) return undefined
    const { stdout } = await this.#words(['base64', '--', path], { signal })
    return Buffer.from(stdout, 'base64')
  }

  /** Writes a file and its folders. */
  async write(path: string, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    const own = await this.#ownPath(path)
    if (own !== undefined) return await this.#box.files.put(own, bytes)
    const script = 'mkdir -p -- "$(dirname -- "$1")" && cat > "$1"'
    await this.#words(['sh', '-c', script, 'sh', path], { stdin: bytes, signal })
  }

  /** Facts of a path, following links; undefined if it does not exist. */
  async stat(path: string, signal?: AbortSignal): Promise<PathFacts | undefined> {
    const words = ['stat', '-L', '-c', '%F\t%s\t%Y', '--', path]
    const { exitCode, stdout } = await this.#exec(words, { signal })
    return exitCode === 0 ? factsIn(stdout.trimEnd()) : undefined
  }

  /** Entries of a folder; undefined if it does not exist. Throws for a file. */
  async list(path: string, signal?: AbortSignal): Promise<readonly NamedFacts[] | undefined> {
    const facts = await this.stat(path, signal)
    if (!facts) return undefined
    if (facts.type !== 'directory')
      throw new MayflyError('INVALID', `Cannot list "${path}": it is not a folder`)
    // A name such as `-delete` would be an expression of find.
    const folder = posix.isAbsolute(path) ? path : `./${path}`
    const words = ['find', '-H', folder, '-mindepth', '1', '-maxdepth', '1']
    const { stdout } = await this.#words([...words, '-printf', '%y\t%s\t%T@\t%f\\0'], { signal })
    return stdout
      .split('\0')
      .filter((line) => line !== '')
      .map(entryIn)
  }

  /** Deletes a file or a link; false if it does not exist. Throws for a folder. */
  async remove(path: string, signal?: AbortSignal): Promise<boolean> {
    const script = 'if [ -L "$1" ] || [ -e "$1" ]; then rm -- "$1"; else exit 3; fi'
    const { exitCode, stderr } = await this.#exec(['sh', '-c', script, 'sh', path], { signal })
    if (exitCode === 0) return true
    if (exitCode === 3) return false
    throw new MayflyError('CONFLICT', `Cannot delete "${path}": ${stderr.trim()}`)
  }

  /** Runs a command that must succeed and whose output is needed whole. */
  async #words(words: readonly string[], asked: Omit<ShellCommand, 'command'>): Promise<ShellEnd> {
    const end = await this.#exec(words, asked, FILE_OUTPUT)
    if (end.isTruncated)
      throw new MayflyError('TOO_LARGE', `Cannot read the output of "${words[0]}": it was cut`, {
        hint: 'Copy a file to the working folder first, list fewer files, or raise "ceilings.output"',
      })
    if (end.exitCode === 0) return end
    throw new MayflyError('CONFLICT', `Cannot run "${words[0]}": ${end.stderr.trim()}`)
  }

  async #exec(
    words: readonly string[],
    { env, stdin, timeout = this.#timeout, signal, tap }: Omit<ShellCommand, 'command'>,
    output?: string,
  ): Promise<ShellEnd> {
    signal?.throwIfAborted()
    const content = stdin && Buffer.from(stdin).toString('base64')
    const request: RunRequest = {
      command: [...words],
      ...(env && { env: { ...env } }),
      ...(content !== undefined && { stdin: { content, encoding: 'base64' } }),
      limits: { timeout, ...(output !== undefined && { output }) },
    }
    const caller = { ...(signal && { signal }), ...(tap && { tap }) }
    const outcome = await this.#inTurn(() => this.#box.run(request, caller), { leave: signal })
    signal?.throwIfAborted()
    return endOf(outcome)
  }

  /** Path relative to the working folder; undefined for a path outside of it. */
  async #ownPath(path: string): Promise<string | undefined> {
    const folder = await this.#folder()
    const own = posix.relative(folder, posix.resolve(folder, path))
    return own === '' || own.startsWith('..') ? undefined : own
  }
}

export interface PathFacts {
  readonly type: 'file' | 'directory' | 'symlink' | 'other'
  readonly size: number
  readonly modifiedMs: number
}

export type NamedFacts = PathFacts & { readonly name: string }

function factsIn(line: string): PathFacts {
  const [kind = '', size = '0', modified = '0'] = line.split('\t')
  const type = /regular/.test(kind) ? 'file' : kind === 'directory' ? 'directory' : 'other'
  return { type, size: Number(size), modifiedMs: Number(modified) * 1000 }
}

const kinds: Readonly<Record<string, PathFacts['type']>> = {
  f: 'file',
  d: 'directory',
  l: 'symlink',
}

function entryIn(line: string): NamedFacts {
  const [kind = '', size = '0', modified = '0', ...name] = line.split('\t')
  return {
    name: name.join('\t'),
    type: kinds[kind] ?? 'other',
    size: Number(size),
    modifiedMs: Math.round(Number(modified) * 1000),
  }
}

/** Converts an outcome to the end of a shell command. Throws if the sandbox ended before the command. */
function endOf({ status, exitCode, signal, stdout, stderr, truncated, error }: Outcome): ShellEnd {
  const isTruncated = truncated.stdout || truncated.stderr
  const failed = (code: number) => ({
    exitCode: code,
    stdout,
    stderr: `${stderr}${error ? `${error.code}: ${error.message}\n` : ''}`,
    isTruncated,
  })
  if (exitCode !== null) return { exitCode, stdout, stderr, isTruncated }
  if (status === 'timeout') return failed(TIMED_OUT)
  if (status === 'blocked') return failed(CANNOT_RUN)
  if (signal !== null || status === 'limit' || status === 'error')
    return failed(codeOfSignal(signal ?? 'SIGKILL'))
  throw new MayflyError('CONFLICT', error?.message ?? `The command ended as "${status}"`)
}
