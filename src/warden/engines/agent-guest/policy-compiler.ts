import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { policyBytesMax } from '../../../agent-wire/numbers.ts'
import type { CallClass } from '../../../contract/calls.ts'
import { MayflyError, messageOf } from '../../../contract/error.ts'
import { findProgram } from '../../../os/find-program.ts'
import { policyText } from './policy-text.ts'

/**
 * Profiles as a guest's kernel takes them, made by Debian's `apparmor_parser`, which reads nothing but rules of this source: the
 * classes that are open choose among them. It compiles for the features of the guest's kernel, whatever this machine's has, and
 * loads nothing. The same text gives the same bytes, which are part of a template's key.
 *
 * Keeps each profile that was made: there is one for each set of open classes, 32 at most.
 */
export class PolicyCompiler {
  readonly #hide: readonly string[]
  readonly #made = new Map<string, Promise<Buffer>>()
  /** Cause for which the last one could not be made. */
  missing: string | undefined

  /** `hide`: programs to treat as missing. */
  constructor(hide: readonly string[] = []) {
    this.#hide = hide
  }

  /** Rejects with MayflyError UNAVAILABLE where the compiler is missing or failed. */
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
/** Recorded from a guest of the kernel that is locked, in the form of the compiler's own files. */
const FEATURES = fileURLToPath(
  new URL('../../../../policies/apparmor/linux-6.12.features', import.meta.url),
)
/** No load, no cache to read or to write, the profile on standard output. */
const FLAGS = ['--quiet', '--skip-kernel-load', '--skip-cache', '--stdout']
const COMPILE_MS_MAX = 10_000
const SAID_CHARS_MAX = 300

async function run(compiler: string, text: string): Promise<Buffer> {
  const child = spawn(compiler, [...FLAGS, '--features-file', FEATURES], {
    cwd: '/',
    env: { LC_ALL: 'C' },
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: COMPILE_MS_MAX,
    killSignal: 'SIGKILL',
  })
  const parts: Buffer[] = []
  let [said, length] = ['', 0]
  child.stdout.on('data', (chunk: Buffer) => {
    length += chunk.length
    if (length <= policyBytesMax) parts.push(chunk)
    else child.kill('SIGKILL')
  })
  child.stderr.on('data', (chunk: Buffer) => void (said += chunk.toString('latin1')))
  child.stdin.on('error', () => undefined)
  child.stdin.end(text)
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', (error) => reject(unavailable(error.message)))
    child.once('close', resolve)
  })
  if (code === 0 && length > 0) return Buffer.concat(parts)
  const line = said.replaceAll(/[^\x20-\x7e]/g, ' ').trim()
  throw unavailable(`its compiler ended (${code ?? 'killed'}): ${line.slice(0, SAID_CHARS_MAX)}`)
}

function unavailable(why: string): MayflyError {
  return new MayflyError('UNAVAILABLE', `Cannot make a profile of AppArmor: ${why}`, {
    hint: 'Install the package apparmor: apt-get install apparmor',
  })
}
