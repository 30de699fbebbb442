/** `mayfly/deepagents`: a sandbox backend for LangChain's deep agents (`deepagents`). */
import { MayflyError } from '../../contract/error.ts'
import { BoxShell, type ShellBox, type ShellOptions } from './box-shell.ts'

type FileError = 'file_not_found' | 'permission_denied' | 'is_directory' | 'invalid_path'

/** Members that a backend of `deepagents` implements; `BaseSandbox` implements the others by commands. */
export interface SandboxCalls {
  readonly id: string
  execute(command: string): Promise<{ output: string; exitCode: number | null; truncated: boolean }>
  uploadFiles(files: [string, Uint8Array][]): Promise<{ path: string; error: FileError | null }[]>
  downloadFiles(
    paths: string[],
  ): Promise<{ path: string; content: Uint8Array | null; error: FileError | null }[]>
}

/**
 * A box as the backend of a deep agent. The caller passes `BaseSandbox` of `deepagents`, so that this package does not depend on it.
 *
 * @example
 * const agent = createDeepAgent({ model, backend: sandboxBackend(BaseSandbox, box) })
 */
export function sandboxBackend<Base extends object>(
  base: abstract new () => Base,
  box: ShellBox,
  options?: ShellOptions,
): Base & SandboxCalls {
  const shell = new BoxShell(box, options)
  const calls: SandboxCalls = {
    id: box.id,
    async execute(command) {
      const { stdout, stderr, exitCode, isTruncated } = await shell.run({ command })
      return { output: `${stdout}${stderr}`, exitCode, truncated: isTruncated }
    },
    uploadFiles: (files) =>
      Promise.all(
        files.map(async ([path, bytes]) => {
          const error = await shell.write(path, bytes).then(() => null, fileErrorOf)
          return { path, error }
        }),
      ),
    downloadFiles: (paths) =>
      Promise.all(
        paths.map(async (path) => {
          try {
            const content = (await shell.read(path)) ?? null
            return { path, content, error: content ? null : 'file_not_found' }
          } catch (thrown) {
            return { path, content: null, error: fileErrorOf(thrown) }
          }
        }),
      ),
  }
  const Concrete = base as unknown as new () => Base
  return Object.assign(new Concrete(), calls)
}

function fileErrorOf(thrown: unknown): FileError {
  const text = thrown instanceof MayflyError ? thrown.message : ''
  if (/directory|folder/i.test(text)) return 'is_directory'
  return /denied|read-only/i.test(text) ? 'permission_denied' : 'invalid_path'
}
