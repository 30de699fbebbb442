import * as z from 'zod'
import {
  isSeverer,
  vulnerabilitySeverities,
  type VulnerabilitySeverity,
} from '../contract/vulnerability.ts'
import type { Advisory, AdvisoryOf, RangeEvent } from './advisory.ts'
import { cvssScore, ratingOf } from './cvss.ts'

const text = z.string().max(1000)
const listMax = 200_000
const names = z.array(text).max(1000).nullish()
const severities = z
  .array(z.object({ type: text, score: text }))
  .max(20)
  .nullish()
const specific = z
  .object({ severity: z.unknown().optional(), urgency: z.unknown().optional() })
  .nullish()
const event = z.object({
  introduced: text.optional(),
  fixed: text.optional(),
  last_affected: text.optional(),
  limit: text.optional(),
})
const affected = z.object({
  package: z.object({ ecosystem: text, name: text }).nullish(),
  severity: severities,
  ranges: z
    .array(
      z.object({
        type: z.enum(['GIT', 'SEMVER', 'ECOSYSTEM']),
        events: z.array(event).min(1).max(listMax),
      }),
    )
    .max(1000)
    .nullish(),
  versions: z.array(text).max(listMax).nullish(),
  ecosystem_specific: specific,
  database_specific: specific,
})

/** Fields of an OSV record (schema 1.7) that a scan uses; others are ignored. */
export const osvRecord = z.object({
  // oxlint-disable-next-line no-control-regex
  id: text.regex(/^[^\0-\x20\x7f-\x9f]+$/, 'has a space or a control character'),
  modified: text,
  withdrawn: text.nullish(),
  aliases: names,
  upstream: names,
  severity: severities,
  affected: z.array(affected).max(10_000).nullish(),
  database_specific: specific,
})

type OsvRecord = z.infer<typeof osvRecord>
type AffectedOf = z.infer<typeof affected>

/**
 * Ecosystems of the parts of images. Advisories of Node are in Bitnami's ecosystem, since Node itself is not an npm
 * package.
 */
export const osvEcosystem = /^(?:Debian(?::\d{1,3})?|npm|Bitnami)$/
const isCve = /^CVE-\d{4}-\d{4,}$/

/** Advisories of a record, one per package; none for a withdrawn record or other ecosystems. */
export function advisoriesOfOsv(record: OsvRecord): readonly AdvisoryOf[] {
  if (record.withdrawn) return []
  const ids = [record.id, ...(record.aliases ?? []), ...(record.upstream ?? [])]
  const cves = [...new Set(ids.filter((one) => isCve.test(one)))]
  const id = cves.length === 1 ? cves[0]! : record.id
  const aliases = [...new Set(ids)].filter((one) => one !== id)
  return (record.affected ?? []).flatMap((one) => {
    if (!one.package || !osvEcosystem.test(one.package.ecosystem)) return []
    const { ecosystem, name } = one.package
    const advisory = { id, aliases, severity: severityOf(record, one), ...versionsOf(one) }
    return [{ ecosystem, package: name, advisory }]
  })
}

function versionsOf(one: AffectedOf): Pick<Advisory, 'ranges' | 'versions' | 'isUndetermined'> {
  const ranges = (one.ranges ?? [])
    .filter(({ type }) => type !== 'GIT')
    .map(({ events }) => events.flatMap(eventOf))
  const versions = one.versions ?? []
  // The schema requires an `introduced` event in each range: a range without it would contain no version.
  const isOpen = ranges.every((events) => events.some((one) => 'introduced' in one))
  const isUndetermined = !isOpen || (ranges.length === 0 && versions.length === 0)
  return { ranges, versions, isUndetermined }
}

/** `limit` events concern commits only. */
function eventOf({
  introduced,
  fixed,
  last_affected,
}: z.infer<typeof event>): readonly RangeEvent[] {
  if (introduced !== undefined) return [{ introduced }]
  if (fixed !== undefined) return [{ fixed }]
  return last_affected === undefined ? [] : [{ last: last_affected }]
}

/** Highest severity of the record: CVSS 3 vectors, words of its database, urgency of Debian. */
function severityOf(record: OsvRecord, one: AffectedOf): Advisory['severity'] {
  const scores = [...(one.severity ?? []), ...(record.severity ?? [])].flatMap(({ score }) => {
    const number = cvssScore(score)
    return number === undefined ? [] : [ratingOf(number)]
  })
  const words = [
    one.database_specific?.severity,
    one.ecosystem_specific?.severity,
    record.database_specific?.severity,
    one.ecosystem_specific?.urgency,
  ].flatMap((word) => wordSeverity(word))
  return severest([...scores, ...words])
}

export function severest(all: readonly Advisory['severity'][]): Advisory['severity'] {
  const known = all.filter((one): one is VulnerabilitySeverity => one !== 'unknown')
  const [first, ...rest] = known
  if (first === undefined) return 'unknown'
  return rest.reduce((worst, one) => (isSeverer(one, worst) ? one : worst), first)
}

/**
 * Severity word of a database; Debian writes `low**`, and `unimportant` for an issue that it does not treat as a
 * vulnerability.
 */
export function wordSeverity(word: unknown): readonly VulnerabilitySeverity[] {
  if (typeof word !== 'string') return []
  const plain = word.toLowerCase().replace(/\*+$/, '')
  if (plain === 'moderate') return ['medium']
  if (plain === 'unimportant') return ['negligible']
  return vulnerabilitySeverities.filter((one) => one === plain)
}
