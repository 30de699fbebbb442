import {
  isSeverer,
  type ImagePolicy,
  type VulnerabilitySeverity,
} from '../contract/vulnerability.ts'
import { messageOf } from '../contract/error.ts'
import { whyManifestUntrusted } from './manifest.ts'
import type { ImageScan } from './scan.ts'
import { readScan } from './scan-store.ts'
import { findImage, sbomFix } from './store.ts'

/** Answer of the image gate: each refusal has a stable code, its cause, and a fix. */
export type Admission =
  | {
      readonly kind: 'admitted'
      /** Absent if the image was never scanned. */
      readonly scan?: ImageScan
      /** Reason why no current scan covers the image, if it is admitted nevertheless. */
      readonly unscanned?: string
    }
  | Refusal

interface Refusal {
  readonly kind: 'refused'
  readonly code:
    | 'IMAGE_BROKEN'
    | 'IMPORTED'
    | 'NOT_SCANNED'
    | 'SCAN_BROKEN'
    | 'SCAN_OLD'
    | 'FEED_OLD'
    | 'UNCOVERED'
    | 'TOO_SEVERE'
  readonly because: string
  readonly fix: string
  /** The scan with the findings above the threshold. */
  readonly scan?: ImageScan
}

export interface ImageGate {
  /** Folder of the image store. */
  readonly folder: string
  /** Public key of the state folder; undefined if it has none, which refuses every image. */
  readonly key: string | undefined
  readonly policy: ImagePolicy
  /** True if no job named the image: it is the default image of a wall. */
  readonly isDefault?: boolean
  /** Milliseconds since 1970. */
  readonly now: () => number
}

/** Clocks of two commands may differ by this much. */
const clockMsMax = 60_000

/**
 * Decides whether an image may be used. Called for each job that uses an image, before a wall is acquired.
 *
 * Refuses an image without a signed manifest; an imported image, unless the policy allows it; an image without a
 * signed scan of its current bill of materials; a scan with a feed that is too old for the policy or dated in the
 * future; an image with parts that no feed covers; and one with a vulnerability above the threshold. Anything
 * unreadable is refused too. Checks manifest and scan, not the bytes of the image: `whyImageBroken` hashes those.
 *
 * If the policy permits it, the default image of a wall is admitted without a current scan: the alternative is a wall
 * with the files of this system, which are never scanned. A finding above the threshold still refuses it, however old
 * the scan is.
 */
export function admitImage(digest: string, gate: ImageGate): Admission {
  try {
    return admit(digest, gate)
  } catch (thrown) {
    return refused('IMAGE_BROKEN', messageOf(thrown), 'Build or import the image again')
  }
}

function admit(digest: string, gate: ImageGate): Admission {
  const { folder, key, policy, isDefault = false } = gate
  const { signed, digest: found } = findImage(folder, `sha256:${digest}`)
  const { manifest } = signed
  const untrusted = whyManifestUntrusted(signed, key)
  if (untrusted || found !== digest || manifest.digest !== digest)
    return refused(
      'IMAGE_BROKEN',
      untrusted ?? 'its manifest belongs to another image',
      'Build or import the image again',
    )
  if (manifest.origin && !policy.allow_imported)
    return refused(
      'IMPORTED',
      'it was imported, and not built here',
      'Set allow_imported = true in [images] if you trust it',
    )
  const stored = readScan(folder, digest, key)
  if (stored.kind === 'broken')
    return refused('SCAN_BROKEN', `its scan is invalid: ${stored.because}`, scanFix)
  const scan = stored.kind === 'scan' ? stored.scan : undefined
  const missing = missingScan(scan, manifest.sbom, gate)
  if (missing && !(isDefault && policy.unscanned_defaults)) return missing
  return scan
    ? compareFindings(scan, policy, missing?.because)
    : { kind: 'admitted', unscanned: neverScanned }
}

/** Refusal of an image without a current scan; undefined if it has one. */
function missingScan(
  scan: ImageScan | undefined,
  sbom: string | undefined,
  { policy, now: clock }: ImageGate,
): Refusal | undefined {
  if (!scan && sbom === undefined)
    return refused('NOT_SCANNED', 'it has no bill of materials to scan', sbomFix)
  if (!scan) return refused('NOT_SCANNED', neverScanned, scanFix)
  if (scan.sbom !== sbom)
    return refused('SCAN_OLD', 'its scan belongs to another bill of materials', scanFix)
  const { feeds, uncovered } = scan
  const now = clock()
  const old = feeds.find(({ asOf }) => !isYoung(asOf, now, policy.max_feed_age))
  if (old || feeds.length === 0 || scan.at > now + clockMsMax)
    return refused(
      'FEED_OLD',
      old ? ageText(old, now) : 'its scan used no feed, or is from the future',
      feedFix,
    )
  if (uncovered.length === 0) return undefined
  return refused(
    'UNCOVERED',
    `no feed covers ${listText(uncovered)}`,
    'Import a feed for them, then scan the image again',
  )
}

/** Compares the findings of a scan with the policy. */
function compareFindings(
  scan: ImageScan,
  policy: ImagePolicy,
  unscanned: string | undefined,
): Admission {
  const worst = scan.findings.filter((one) =>
    isSeverer(severityUnder(policy, one.severity), policy.max_severity),
  )
  if (worst.length === 0)
    return { kind: 'admitted', scan, ...(unscanned !== undefined && { unscanned }) }
  const named = listText(worst.map(({ id, source }) => `${id} of ${source}`))
  const count = worst.length === 1 ? '1 vulnerability is' : `${worst.length} vulnerabilities are`
  const because = `${count} above "${policy.max_severity}": ${named}`
  const fix =
    'Build the image from newer packages and scan it again, or set max_severity in [images]'
  return { kind: 'refused', code: 'TOO_SEVERE', because, fix, scan }
}

const neverScanned = 'it was never scanned'
const scanFix = 'Run "mayfly images scan"'
const feedFix =
  'Import newer feeds with "mayfly images feeds import", then run "mayfly images scan"'

/** Effective severity: that of the policy if no feed gives one. */
export function severityUnder(
  policy: ImagePolicy,
  severity: VulnerabilitySeverity | 'unknown',
): VulnerabilitySeverity {
  return severity === 'unknown' ? policy.unknown_severity : severity
}

function isYoung(asOf: number, now: number, ageMax: number): boolean {
  const age = now - asOf
  return age >= -clockMsMax && age <= ageMax
}

function ageText({ name, asOf }: ImageScan['feeds'][number], now: number): string {
  const days = Math.floor((now - asOf) / 86_400_000)
  return days < 0
    ? `its scan used feed "${name}", which is from the future`
    : `its scan used feed "${name}", which is ${days} days old`
}

function listText(all: readonly string[]): string {
  const shown = all.slice(0, 3).join(', ')
  return all.length > 3 ? `${shown} and ${all.length - 3} more` : shown
}

function refused(code: Refusal['code'], because: string, fix: string): Refusal {
  return { kind: 'refused', code, because, fix }
}
