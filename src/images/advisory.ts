import type { VulnerabilitySeverity } from '../contract/vulnerability.ts'
import { compareDebianVersions } from './debian-version.ts'
import { compareSemanticVersions } from './semantic-version.ts'

export type RangeEvent =
  | { readonly introduced: string }
  | { readonly fixed: string }
  | { readonly last: string }

/** Vulnerability of one package in one ecosystem; the common form of all kinds of feeds. */
export interface Advisory {
  /** CVE if the record names exactly one, else the id of the record. */
  readonly id: string
  readonly aliases: readonly string[]
  readonly severity: VulnerabilitySeverity | 'unknown'
  readonly ranges: readonly (readonly RangeEvent[])[]
  /** Affected versions listed by name, besides the ranges. */
  readonly versions: readonly string[]
  /** True if the feed does not determine which versions are affected. */
  readonly isUndetermined: boolean
}

export interface AdvisoryOf {
  /** `Debian:13`, `Debian`, `npm`, `Bitnami`. */
  readonly ecosystem: string
  readonly package: string
  readonly advisory: Advisory
}

/** Releases of Debian that OSV numbers and the tracker names. */
export const debianReleases: Readonly<Record<string, string>> = {
  buster: '10',
  bullseye: '11',
  bookworm: '12',
  trixie: '13',
  forky: '14',
  duke: '15',
}

/** `undetermined` counts as affected: a version that cannot be compared, or a record without versions. */
export type Affected = 'affected' | 'undetermined' | 'not affected'

/**
 * Evaluates an advisory for a version by the algorithm of the OSV schema: any list or range that contains the version.
 */
export function affects(advisory: Advisory, ecosystem: string, version: string): Affected {
  if (advisory.versions.includes(version)) return 'affected'
  const compare = ecosystem.startsWith('Debian') ? compareDebianVersions : compareSemanticVersions
  const results = advisory.ranges.map((events) => rangeHolds(events, version, compare))
  if (results.includes('affected')) return 'affected'
  if (advisory.isUndetermined || results.includes('undetermined')) return 'undetermined'
  return 'not affected'
}

/** First version in the ranges that fixes `version`. */
export function fixOf(advisory: Advisory, ecosystem: string, version: string): string | undefined {
  const compare = ecosystem.startsWith('Debian') ? compareDebianVersions : compareSemanticVersions
  return advisory.ranges
    .flat()
    .flatMap((event) => ('fixed' in event ? [event.fixed] : []))
    .filter((fixed) => (compare(fixed, version) ?? 0) > 0)
    .sort((a, b) => compare(a, b) ?? 0)[0]
}

type Compare = (a: string, b: string) => number | undefined

function rangeHolds(events: readonly RangeEvent[], version: string, compare: Compare): Affected {
  // "0" precedes all versions, including Debian versions that begin with "0~".
  const order = (a: string, b: string) =>
    a === '0' ? (b === '0' ? 0 : -1) : b === '0' ? 1 : compare(a, b)
  const texts = events.map(textOf)
  if (texts.some((text) => order(text, version) === undefined)) return 'undetermined'
  const sorted = [...events].sort((a, b) => order(textOf(a), textOf(b)) ?? 0)
  let isAffected = false
  for (const event of sorted) {
    const place = order(version, textOf(event)) ?? 0
    if ('introduced' in event && place >= 0) isAffected = true
    else if ('fixed' in event && place >= 0) isAffected = false
    else if ('last' in event && place > 0) isAffected = false
  }
  return isAffected ? 'affected' : 'not affected'
}

function textOf(event: RangeEvent): string {
  if ('introduced' in event) return event.introduced
  return 'fixed' in event ? event.fixed : event.last
}
