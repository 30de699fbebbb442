import { MayflyError } from '../../../contract/error.ts'
import { escaped } from './escaped.ts'

/**
 * Releases without CVE-2026-5747: until 1.14.3, and in 1.15.0, a guest's root could write outside the memory of its virtio
 * queues over the PCI transport. This engine uses the MMIO transport, which is not affected, and refuses the old ones all
 * the same: a later argument must not open it. The jailer's CVE-2026-1386 (symlinks) is fixed in these releases too.
 */
const LEAST = '1.14.4'
const LEAST_OF_MINOR_15 = '1.15.1'

export interface FirecrackerVersion {
  readonly major: number
  readonly minor: number
  readonly patch: number
  /** Suffix of a build that is no release, such as `dev`; empty for a release. */
  readonly suffix: string
}

/**
 * Reads `Firecracker v1.15.1` and `Jailer v1.15.1` (the first line of `--version`), and `1.15.1` (the answer to GET /version).
 * Undefined for any other text.
 */
export function readVersion(text: string): FirecrackerVersion | undefined {
  const first = text.slice(0, 200).split('\n', 1)[0]!.trim()
  const form = /^(?:(?:Firecracker|Jailer) v)?(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?:-([\w.+-]{1,40}))?$/
  const [, major, minor, patch, suffix = ''] = form.exec(first) ?? []
  if (major === undefined) return undefined
  return { major: Number(major), minor: Number(minor), patch: Number(patch), suffix }
}

/**
 * Parses a version and throws MayflyError UNAVAILABLE, with the cause and a remedy, for a release older than 1.14.4, for
 * 1.15.0, for a build that is no release, and for a text that is no version.
 */
export function assertVersion(text: string, program: string): FirecrackerVersion {
  const version = readVersion(text)
  if (!version) throw refused(program, `it says "${escaped(text, 80)}", which is no version`)
  const { major, minor, patch, suffix } = version
  const said = `${major}.${minor}.${patch}`
  if (suffix) throw refused(program, `${said}-${suffix} is no release`)
  if (!isFixed(version))
    throw refused(program, `${said} has a known hole by which a guest may escape (CVE-2026-5747)`)
  return version
}

/** The jailer may only start a program of its own release. */
export function assertSameVersion(jailer: FirecrackerVersion, vmm: FirecrackerVersion): void {
  if (asText(jailer) === asText(vmm)) return
  throw refused('jailer', `it is ${asText(jailer)} and the program that it starts ${asText(vmm)}`)
}

/**
 * Whether PATCH /vm freezes without loss. In 1.16.0 and 1.16.1 a resume without a snapshot leaves the vsock device deaf: every
 * connection from the host that is made after it hangs (mended after 1.16.1).
 */
export function keepsVsockOverPause({ major, minor, patch }: FirecrackerVersion): boolean {
  return !(major === 1 && minor === 16 && patch <= 1)
}

/** Whether PUT /snapshot/load knows `vsock_override` and `clock_realtime`; older ones refuse fields that they do not know. */
export function knowsLoadOverrides({ major, minor }: FirecrackerVersion): boolean {
  return major > 1 || minor >= 16
}

function isFixed({ major, minor, patch }: FirecrackerVersion): boolean {
  if (major !== 1) return major > 1
  if (minor === 14) return patch >= 4
  return minor === 15 ? patch >= 1 : minor > 15
}

function asText({ major, minor, patch }: FirecrackerVersion): string {
  return `${major}.${minor}.${patch}`
}

function refused(program: string, why: string): MayflyError {
  return new MayflyError('UNAVAILABLE', `Cannot use the program "${program}": ${why}`, {
    hint: `Install release ${LEAST}, ${LEAST_OF_MINOR_15} or a newer one, with the jailer of the same release`,
  })
}
