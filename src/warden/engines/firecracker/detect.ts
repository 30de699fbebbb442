import { accessSync, constants } from 'node:fs'
import { arch } from 'node:os'
import { messageOf, MayflyError } from '../../../contract/error.ts'
import { findProgram } from '../../../os/find-program.ts'
import { hasWallUids } from '../host-powers.ts'
import { startChild } from '../spawned.ts'
import { assertSameVersion, assertVersion, type FirecrackerVersion } from './version.ts'

/**
 * Prerequisites of Firecracker on this machine. Only a boot proves that it works (`boot-machine.ts`); `ready` means that no
 * missing part is known.
 */
export type FirecrackerFacts =
  | {
      readonly kind: 'ready'
      readonly version: FirecrackerVersion
      readonly firecracker: string
      readonly jailer: string
    }
  | { readonly kind: 'unavailable'; readonly causes: readonly MissingPart[] }

export interface MissingPart {
  readonly cause: string
  /** Remedy, in one sentence. */
  readonly fix: string
}

export interface DetectOptions {
  readonly platform?: string
  readonly arch?: string
  /** True if this process is root and has uids for walls. */
  readonly isRoot?: boolean
  readonly kvm?: string
  readonly find?: (name: string) => string | undefined
  readonly msMax?: number
}

const VERSION_MS_MAX = 5_000
const VERSION_BYTES_MAX = 4_096
const architectures: ReadonlySet<string> = new Set(['x64', 'arm64'])

/** Lists all missing parts, each with its remedy. Runs the two programs for their versions only if nothing else is missing. */
export async function detectFirecracker(options: DetectOptions = {}): Promise<FirecrackerFacts> {
  const { find = findProgram, msMax = VERSION_MS_MAX } = options
  const [firecracker, jailer] = [find('firecracker'), find('jailer')]
  const causes = [...machineCauses(options), ...programCauses({ firecracker, jailer })]
  if (causes.length > 0 || !firecracker || !jailer) return { kind: 'unavailable', causes }
  try {
    const version = assertVersion(await versionOf(firecracker, msMax), 'firecracker')
    assertSameVersion(assertVersion(await versionOf(jailer, msMax), 'jailer'), version)
    return { kind: 'ready', version, firecracker, jailer }
  } catch (error) {
    const hint = error instanceof MayflyError ? error.hint : undefined
    const fix = hint ?? 'Install a release of Firecracker for this machine'
    return { kind: 'unavailable', causes: [{ cause: messageOf(error), fix }] }
  }
}

function machineCauses({
  platform = process.platform,
  arch: architecture = arch(),
  isRoot = hasWallUids(),
  kvm = '/dev/kvm',
}: DetectOptions): readonly MissingPart[] {
  if (platform !== 'linux')
    return [
      { cause: `Firecracker needs Linux, and this is ${platform}`, fix: 'Use a Mayfly on Linux' },
    ]
  const needed = [
    {
      isThere: architectures.has(architecture),
      cause: `Firecracker has no release for ${architecture}`,
      fix: 'Use a machine with x86-64 or arm64',
    },
    {
      isThere: isRoot,
      cause: 'The jailer needs root with a uid for each wall',
      fix: 'Start Mayfly as root',
    },
    {
      isThere: opens(kvm),
      cause: `"${kvm}" cannot be opened for reading and writing`,
      fix: 'Use a machine with hardware virtualisation, or switch nested virtualisation on, and load the module kvm_intel or kvm_amd',
    },
  ]
  return needed.flatMap(({ isThere, ...missing }) => (isThere ? [] : [missing]))
}

function programCauses(
  programs: Readonly<Record<string, string | undefined>>,
): readonly MissingPart[] {
  const missing = Object.entries(programs).filter(([, file]) => file === undefined)
  return missing.map(([name]) => ({
    cause: `The program "${name}" is missing`,
    fix: `Put "${name}" of a release of Firecracker from 1.14.4 or 1.15.1 on into a folder of PATH`,
  }))
}

function opens(file: string): boolean {
  try {
    accessSync(file, constants.R_OK | constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** Output of `--version`, bounded in time and bytes. */
async function versionOf(file: string, msMax: number): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const child = startChild(file, ['--version'], {
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const stdout = child.stdio[1] as NodeJS.ReadableStream | null
  const timer = setTimeout(() => reject(new Error(`"${file} --version" is late`)), msMax)
  let said = ''
  child.once('error', reject)
  stdout?.on('data', (chunk: Buffer) => {
    said += chunk.toString('latin1')
    if (said.length > VERSION_BYTES_MAX)
      reject(new Error(`the output of "${file} --version" is too long`))
  })
  stdout?.on('error', () => undefined)
  stdout?.on('end', () => resolve(said))
  try {
    return await promise
  } finally {
    clearTimeout(timer)
    child.kill('SIGKILL')
  }
}
