import { MayflyError } from '../../../contract/error.ts'
import { escapedText } from './escaped.ts'

/**
 * Oldest releases without CVE-2026-5747: up to 1.14.3, and in 1.15.0, root of a guest could write outside the memory of its
 * virtio queues over the PCI transport. This engine uses the MMIO transport, which is not affected; older releases are refused
 * anyway, in case a later change enables PCI. The jailer's CVE-2026-1386 (symlinks) is fixed in these releases too.
 */
const LEAST = '1.14.4'
const LEAST_OF_MINOR_15 = '1.15.1'

export interface FirecrackerVersion {
  readonly major: number
  readonly minor: number
  readonly patch: number
  /** Suffix of a development build, such as `dev`; empty for a release. */
  readonly suffix: string
}

/**
 * Parses `Firecracker v1.15.1` and `Jailer v1.15.1` (the first line of `--version`), and `1.15.1` (the response to GET /version).
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
 * 1.15.0, for a development build, and for a text that is not a version.
 */
export function assertVersion(text: string, program: string): FirecrackerVersion {
  const version = readVersion(text)
  if (!version) throw refused(program, `its version "${escapedText(text, 80)}" cannot be parsed`)
  const { major, minor, patch, suffix } = version
  const said = `${major}.${minor}.${patch}`
  if (suffix) throw refused(program, `${said}-${suffix} is a development build`)
  if (!isFixed(version))
    throw refused(
      program,
      `${said} has a vulnerability by which a guest may escape (CVE-2026-5747)`,
    )
  return version
}

/** Throws MayflyError UNAVAILABLE if jailer and Firecracker are of different releases. */
export function assertSameVersion(jailer: FirecrackerVersion, vmm: FirecrackerVersion): void {
  if (asText(jailer) === asText(vmm)) return
  throw refused(
    'jailer',
    `its release is ${asText(jailer)}, and that of Firecracker ${asText(vmm)}`,
  )
}

/**
 * Whether the vsock works after PATCH /vm paused and resumed a machine. In 1.16.0 and 1.16.1 every later connection from the host
 * hangs (fixed after 1.16.1).
 */
export function keepsVsockOverPause({ major, minor, patch }: FirecrackerVersion): boolean {
  return !(major === 1 && minor === 16 && patch <= 1)
}

/** Whether PUT /snapshot/load accepts `clock_realtime`: only on x86-64, and older releases refuse unknown fields. */
export function setsClock(
  { major, minor }: FirecrackerVersion,
  architecture: string = process.arch,
): boolean {
  return architecture === 'x64' && (major > 1 || minor >= 16)
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
