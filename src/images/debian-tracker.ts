import * as z from 'zod'
import { debianReleases, type Advisory, type AdvisoryOf } from './advisory.ts'
import { wordSeverity } from './osv.ts'

const text = z.string().max(1000)
const release = z.object({
  status: z.enum(['open', 'resolved', 'undetermined']),
  fixed_version: text.optional(),
  urgency: text.optional(),
})

/**
 * Entry of a source package in the JSON of Debian's security tracker: CVE → releases → status. Other fields are
 * ignored.
 */
export const trackerEntry = z.record(
  z.string().regex(/^[A-Z][A-Za-z0-9._-]{2,63}$/),
  z.object({ releases: z.record(z.string().regex(/^[a-z][a-z0-9-]{0,31}$/), release).default({}) }),
)

type TrackerEntry = z.infer<typeof trackerEntry>

/** Advisories of a source package. A release whose `fixed_version` is "0" was never affected. */
export function advisoriesOfTracker(source: string, entry: TrackerEntry): readonly AdvisoryOf[] {
  return Object.entries(entry).flatMap(([id, { releases }]) =>
    Object.entries(releases).flatMap(([codename, one]) => {
      const number = debianReleases[codename]
      if (number === undefined || (one.status === 'resolved' && one.fixed_version === '0'))
        return []
      const severity: Advisory['severity'] = wordSeverity(one.urgency)[0] ?? 'unknown'
      const advisory = { id, aliases: [], severity, versions: [], ...rangeOf(one) }
      return [{ ecosystem: `Debian:${number}`, package: source, advisory }]
    }),
  )
}

function rangeOf({
  status,
  fixed_version,
}: z.infer<typeof release>): Pick<Advisory, 'ranges' | 'isUndetermined'> {
  if (status === 'open') return { ranges: [[{ introduced: '0' }]], isUndetermined: false }
  if (status === 'undetermined' || fixed_version === undefined)
    return { ranges: [], isUndetermined: true }
  return { ranges: [[{ introduced: '0' }, { fixed: fixed_version }]], isUndetermined: false }
}

/** Ecosystems that an entry mentions, affected or not. */
export function releasesOf(entry: TrackerEntry): readonly string[] {
  const codenames = Object.values(entry).flatMap(({ releases }) => Object.keys(releases))
  return [...new Set(codenames)].flatMap((one) =>
    debianReleases[one] === undefined ? [] : [`Debian:${debianReleases[one]}`],
  )
}
