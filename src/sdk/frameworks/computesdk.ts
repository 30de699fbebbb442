/** `mayfly/computesdk`: a provider for ComputeSDK (`computesdk`). */
import { posix } from 'node:path'
import { MayflyError } from '../../contract/error.ts'
import type { SessionRequest, SessionRow } from '../../contract/session.ts'
import { BoxShell, type ShellBox } from './box-shell.ts'

/** Box with its row and its end, as returned by `mayfly.open`. */
export interface ComputeBox extends ShellBox {
  readonly row: SessionRow
  readonly ended: Promise<unknown>
  close(): Promise<unknown>
}

/** Members of `Mayfly` that a provider uses. */
export interface BoxOpener {
  open(request?: SessionRequest, options?: { readonly signal?: AbortSignal }): Promise<ComputeBox>
}

interface CreateAsked {
  /** Milliseconds. */
  readonly timeout?: number
  readonly envs?: Record<string, string>
  readonly signal?: AbortSignal
  readonly memory?: number
  readonly cpu?: number
}

interface CommandRequest {
  readonly cwd?: string
  readonly env?: Record<string, string>
  /** Milliseconds. */
  readonly timeout?: number
  readonly background?: boolean
  readonly onStdout?: (data: string) => void
  readonly onStderr?: (data: string) => void
}

/**
 * Mayfly as a provider of `compute`.
 *
 * @example
 * compute.setConfig({ provider: computeProvider(mayfly) })
 * const sandbox = await compute.sandbox.create()
 */
export function computeProvider(mayfly: BoxOpener, request: SessionRequest = {}) {
  const live = new Map<string, ComputeSandbox>()
  return {
    name: 'mayfly',
    sandbox: {
      async create({ timeout, envs, signal, memory, cpu }: CreateAsked = {}) {
        const limits = {
          ...request.limits,
          ...(memory !== undefined && { memory: `${memory}MB` }),
          ...(cpu !== undefined && { cpu }),
        }
        const box = await mayfly.open(
          {
            language: 'python',
            ...request,
            limits,
            ...(envs && { env: { ...request.env, ...envs } }),
            ...(timeout !== undefined && { timeout }),
          },
          signal ? { signal } : {},
        )
        const forget = (): void => void live.delete(box.id)
        const sandbox = new ComputeSandbox(box, forget)
        live.set(box.id, sandbox)
        box.ended.then(forget, forget)
        return sandbox
      },
      async getById(id: string) {
        return live.get(id) ?? null
      },
      async list() {
        return [...live.values()]
      },
      async destroy(id: string) {
        await live.get(id)?.destroy()
      },
    },
  }
}

/** Sandbox with the interface of ComputeSDK. */
class ComputeSandbox {
  readonly provider = 'mayfly'
  readonly filesystem: ReturnType<typeof fileSystemOf>
  readonly #box: ComputeBox
  readonly #shell: BoxShell
  readonly #forget: () => void

  constructor(box: ComputeBox, forget: () => void) {
    this.#box = box
    this.#shell = new BoxShell(box)
    this.#forget = forget
    this.filesystem = fileSystemOf(this.#shell)
  }

  get sandboxId(): string {
    return this.#box.id
  }

  async runCommand(command: string, asked: CommandRequest = {}) {
    const { cwd, env, timeout, background, onStdout, onStderr } = asked
    const began = performance.now()
    const line = background ? `nohup sh -c ${quoted(command)} >/dev/null 2>&1 &` : command
    const tap = (stream: 'stdout' | 'stderr', text: string) =>
      stream === 'stdout' ? onStdout?.(text) : onStderr?.(text)
    const end = await this.#shell.run({ command: line, cwd, env, timeout, tap })
    const { exitCode, stdout, stderr } = end
    return { exitCode, stdout, stderr, durationMs: Math.round(performance.now() - began) }
  }

  async getInfo() {
    const { id, tier, provider, createdAt, expiresAt } = this.#box.row
    return {
      id,
      provider: 'mayfly',
      status: 'running' as const,
      createdAt: new Date(createdAt),
      timeout: Date.parse(expiresAt) - Date.parse(createdAt),
      metadata: { tier, wall: provider },
    }
  }

  /** Rejects, because a sandbox accepts no connections. */
  getUrl(): Promise<string> {
    return Promise.reject(
      new MayflyError('UNAVAILABLE', 'Cannot get a URL: a sandbox has no open port'),
    )
  }

  async destroy(): Promise<void> {
    await this.#box.close()
    this.#forget()
  }
}

function fileSystemOf(shell: BoxShell) {
  const must = async (path: string) => {
    const bytes = await shell.read(path)
    if (bytes) return bytes
    throw new MayflyError('NOT_FOUND', `Cannot find "${path}"`)
  }
  return {
    readFile: async (path: string) => Buffer.from(await must(path)).toString(),
    writeFile: (path: string, content: string) => shell.write(path, Buffer.from(content)),
    async readdir(path: string) {
      const entries = (await shell.list(path)) ?? []
      return entries.map(({ name, type, size, modifiedMs }) => ({
        name,
        type: type === 'directory' ? ('directory' as const) : ('file' as const),
        size,
        modified: new Date(modifiedMs),
      }))
    },
    async mkdir(path: string) {
      await succeeded(shell, `mkdir -p -- ${quoted(path)}`)
    },
    exists: async (path: string) => (await shell.stat(path)) !== undefined,
    async remove(path: string) {
      if (posix.resolve('/', path) === '/') throw new MayflyError('INVALID', 'Cannot remove "/"')
      await succeeded(shell, `rm -r -- ${quoted(path)}`)
    },
  }
}

async function succeeded(shell: BoxShell, command: string): Promise<void> {
  const { exitCode, stderr } = await shell.run({ command })
  if (exitCode !== 0)
    throw new MayflyError('CONFLICT', stderr.trim() || `The command exited with ${exitCode}`)
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}
