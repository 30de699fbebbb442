import {
  isSeverer,
  type ImagePolicy,
  type VulnerabilitySeverity,
} from '../contract/vulnerability.ts'
import { messageOf } from '../contract/error.ts'
import { whyManifestUntrusted } from './manifest.ts'
import type { ImageScan } from './scan.ts'
import { readScan } from './scan-store.ts'
import { findImage } from './store.ts'

/** Answer of the gate: every refusal has a stable code, its cause, and what to do. */
export type Admission =
  | {
      readonly kind: 'admitted'
      /** Absent where it was never scanned. */
      readonly scan?: ImageScan
      /** Reason why no current scan speaks for it, where it is admitted all the same. */
      readonly unscanned?: string
    }
  | {
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
      /** Scan that found what is too severe. */
      readonly scan?: ImageScan
    }

export interface ImageGate {
  /** Folder of the image store. */
  readonly folder: string
  /** Public key of the state folder; undefined where there is none, which refuses. */
  readonly key: string | undefined
  readonly policy: ImagePolicy
  /** No job named it: its wall has it by default. */
  readonly isDefault?: boolean
  /** Milliseconds since 1970. */
  readonly now: () => number
}

/** Clocks of two commands may differ by this much. */
const clockMsMax = 60_000

/**
 * Decides whether an image may be used. The warden asks for each job that names one, before a wall is taken for it.
 *
 * Refuses an image without a signed manifest, one that was imported unless the policy allows these, one without a signed scan of
 * this very bill of materials, one whose scan used a feed older than the policy allows or from the future, one with parts that no
 * feed speaks of, and one with a vulnerability above the threshold. Anything unreadable is refused as well. It reads manifest and scan, not
 * the image: the digest of its bytes is for `whyImageBroken`.
 *
 * An image that a wall has by default is admitted without a current scan where the policy says so: the wall's alternative is one with the
 * files of this system, which nobody scans. What a scan found refuses it, however old that is.
 */
export function admitImage(digest: string, gate: ImageGate): Admission {
  try {
    return admit(digest, gate)
  } catch (thrown) {
    return refused('IMAGE_BROKEN', messageOf(thrown), 'Build or import the image again')
  }
}

function admit(digest: string, gate: ImageGate): Admission {
  const { folder, key, policy, now, isDefault = false } = gate
  const { signed, digest: found } = findImage(folder, `sha256:${digest}`)
  const { manifest } = signed
  const untrusted = whyManifestUntrusted(signed, key)
  if (untrusted || found !== digest || manifest.digest !== digest)
    return refused(
      'IMAGE_BROKEN',
      untrusted ?? 'its manifest is of another image',
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
    return refused('SCAN_BROKEN', `its scan does not count: ${stored.because}`, scanFix)
  const scan = stored.kind === 'scan' ? stored.scan : undefined
  const lack = lackOf(scan, { sbom: manifest.sbom, policy, now: now() })
  if (lack && !(isDefault && policy.unscanned_defaults)) return lack
  return scan ? judged(scan, policy, lack?.because) : { kind: 'admitted', unscanned: neverScanned }
}

type Refusal = Extract<Admission, { readonly kind: 'refused' }>

/** Refusal of an image for which no current scan speaks; undefined if one does. */
function lackOf(
  scan: ImageScan | undefined,
  {
    sbom,
    policy,
    now,
  }: {
    readonly sbom: string | undefined
    readonly policy: ImagePolicy
    readonly now: number
  },
): Refusal | undefined {
  if (!scan) return refused('NOT_SCANNED', neverScanned, scanFix)
  if (scan.sbom !== sbom)
    return refused('SCAN_OLD', 'its scan is of another bill of materials', scanFix)
  const { feeds, uncovered } = scan
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
    `no feed speaks of ${listText(uncovered)}`,
    'Import a feed that does, then scan the image again',
  )
}

/** Holds what a scan found against the policy. */
function judged(scan: ImageScan, policy: ImagePolicy, unscanned: string | undefined): Admission {
  const worst = scan.findings.filter((one) =>
    isSeverer(severityUnder(policy, one.severity), policy.max_severity),
  )
  if (worst.length === 0)
    return { kind: 'admitted', scan, ...(unscanned !== undefined && { unscanned }) }
  const named = listText(worst.map(({ id, source }) => `${id} of ${source}`))
  const because = `${worst.length} vulnerabilities are above "${policy.max_severity}": ${named}`
  const fix =
    'Build the image from newer packages and scan it again, or set max_severity in [images]'
  return { kind: 'refused', code: 'TOO_SEVERE', because, fix, scan }
}

const neverScanned = 'it was never scanned'
const scanFix = 'Run "mayfly images scan"'
const feedFix =
  'Import newer feeds with "mayfly images feeds import", then run "mayfly images scan"'

/** Severity that counts: that of the policy where no feed names one. */
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

function ageText(
  { name, asOf }: { readonly name: string; readonly asOf: number },
  now: number,
): string {
  const days = Math.floor((now - asOf) / 86_400_000)
  return days < 0
    ? `its scan used feed "${name}", which is from the future`
    : `its scan used feed "${name}", which is ${days} days old`
}

function listText(all: readonly string[]): string {
  const shown = all.slice(0, 3).join(', ')
  return all.length > 3 ? `${shown} and ${all.length - 3} more` : shown
}

function refused(
  code: Exclude<Admission, { readonly kind: 'admitted' }>['code'],
  because: string,
  fix: string,
): Refusal {
  return { kind: 'refused', code, because, fix }
}
