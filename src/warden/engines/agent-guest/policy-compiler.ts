import { execFile, type ExecFileException } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { policyBytesMax } from '../../../agent-wire/numbers.ts'
import type { CallClass } from '../../../contract/calls.ts'
import { MayflyError, messageOf } from '../../../contract/error.ts'
import { findProgram } from '../../../os/find-program.ts'
import { policyText } from './policy-text.ts'

/**
 * Compiles AppArmor profiles to the binary form that a guest's kernel loads, by Debian's `apparmor_parser`. Its only input are
 * rules of this source, selected by the open classes. It compiles for the features of the guest's kernel, not of the host's,
 * and loads nothing. Equal text gives equal bytes, which are part of a template's key.
 *
 * Caches the profiles: one per set of open classes, at most 32.
 */
export class PolicyCompiler {
  readonly #hide: readonly string[]
  readonly #made = new Map<string, Promise<Buffer>>()
  /** Reason why the last compilation failed. */
  missing: string | undefined

  /** `hide`: programs to treat as missing. */
  constructor(hide: readonly string[] = []) {
    this.#hide = hide
  }

  /** Rejects with MayflyError UNAVAILABLE if the compiler is missing or failed. */
  async compile(open: readonly CallClass[]): Promise<Buffer> {
    const text = policyText(open)
    const making = this.#made.get(text) ?? this.#make(text)
    this.#made.set(text, making)
    try {
      return await making
    } catch (error) {
      this.#made.delete(text)
      this.missing = messageOf(error)
      throw error
    }
  }

  async #make(text: string): Promise<Buffer> {
    const compiler = this.#hide.includes(COMPILER) ? undefined : findProgram(COMPILER)
    if (!compiler) throw unavailable(`"${COMPILER}" of the package apparmor is missing`)
    return await run(compiler, text)
  }
}

const COMPILER = 'apparmor_parser'
/** AppArmor features of the locked guest kernel, recorded in a guest, in the file format of the compiler. */
const FEATURES = fileURLToPath(
  new URL('../../../../policies/apparmor/linux-6.12.features', import.meta.url),
)
/** Loads nothing, uses no cache, and writes the profile to standard output. */
const FLAGS = ['--quiet', '--skip-kernel-load', '--skip-cache', '--stdout']
const COMPILE_MS_MAX = 10_000
const SAID_CHARS_MAX = 300

async function run(compiler: string, text: string): Promise<Buffer> {
  const running = promisify(execFile)(compiler, [...FLAGS, '--features-file', FEATURES], {
    cwd: '/',
    env: { LC_ALL: 'C' },
    encoding: 'buffer',
    maxBuffer: policyBytesMax,
    timeout: COMPILE_MS_MAX,
    killSignal: 'SIGKILL',
  })
  running.child.stdin?.on('error', () => undefined).end(text)
  try {
    const { stdout } = await running
    if (stdout.length > 0) return stdout
    throw new Error('it wrote no profile')
  } catch (error) {
    const { code, stderr = '' } = error as ExecFileException
    const said =
      stderr
        .toString('latin1')
        .replaceAll(/[^\x20-\x7e]/g, ' ')
        .trim() || messageOf(error)
    throw unavailable(`its compiler ended (${code ?? 'killed'}): ${said.slice(0, SAID_CHARS_MAX)}`)
  }
}

function unavailable(why: string): MayflyError {
  return new MayflyError('UNAVAILABLE', `Cannot make a profile of AppArmor: ${why}`, {
    hint: 'Install the package apparmor: apt-get install apparmor',
  })
}
