import type { Command } from 'commander'
import { MayflyError, messageOf } from '../contract/error.ts'
import {
  vulnerabilitySeverities,
  type ImagePolicy,
  type VulnerabilitySeverity,
} from '../contract/vulnerability.ts'
import { type Admission, admitImage } from '../images/admit.ts'
import { type FeedFacts, importFeed, listFeeds, type StoredFeed } from '../images/feed.ts'
import { imageName } from '../images/recipe.ts'
import { type ImageScan, scanImage } from '../images/scan.ts'
import { storeScan } from '../images/scan-store.ts'
import {
  findImage,
  listImages,
  openImageStore,
  readSbom,
  type StoredImage,
} from '../images/store.ts'
import { openImageSigner } from '../warden/image-signer.ts'
import { imageFolders } from './image-folders.ts'
import { sanitiseLine } from '../output/sanitise.ts'
import { note, printJson, printText, table, type Globals } from './print.ts'
import { verb } from './verb.ts'

const refusedExitCode = 3
const rowsMax = 50
const reasonCharactersMax = 300

interface ScanFlags extends Globals {
  readonly maxSeverity?: string
  readonly all?: boolean
}

interface GatedScan {
  readonly tags: readonly string[]
  readonly scan: ImageScan
  readonly admission: Admission
}

/** Image without a bill of materials that can be read or evaluated, or with too many findings. */
interface UnscannableImage {
  readonly tags: readonly string[]
  readonly image: string
  readonly code: string
  readonly because: string
  readonly fix: string
}

interface Scans {
  readonly scans: readonly GatedScan[]
  readonly unscannable: readonly UnscannableImage[]
}

/** Errors that concern one image; any other with a code, such as a broken feed or a full disk, ends the command. */
const codesOfImage: ReadonlySet<string> = new Set(['NOT_FOUND', 'IMAGE_BROKEN', 'TOO_LARGE'])

interface FeedFlags extends Globals {
  readonly name?: string
  readonly asOf?: string
}

/** `mayfly images scan` and `mayfly images feeds …`. */
export function registerScans(images: Command): void {
  images
    .command('scan [name]')
    .description(
      'list known vulnerabilities of one image or all by the imported feeds; exits 3 if the gate refuses an image, or if a scan fails',
    )
    .option(
      '--max-severity <severity>',
      `${vulnerabilitySeverities.join(', ')}; default: [images] max_severity`,
    )
    .option('--all', 'all findings; default: the fifty most severe of an image')
    .action(verb(scan))
  const feeds = images.command('feeds').description('feeds of known vulnerabilities')
  feeds
    .command('import <path>')
    .description(
      "import OSV records (folder, zip, tar or file), or the JSON of Debian's security tracker",
    )
    .option(
      '--name <name>',
      'name of the feed; default: from the file name; replaces a feed of this name',
    )
    .option(
      '--as-of <date>',
      'date of the feed, such as 2026-11-20; default: as stated in the feed',
    )
    .action(verb(importOne))
  feeds.command('list').description('list imported feeds with their age').action(verb(listAll))
  feeds.command('remove <name>').description('remove a feed').action(verb(remove))
}

async function scan(flags: ScanFlags, name?: string): Promise<void> {
  const { folder, keys, policy: configured } = imageFolders(flags)
  const policy = { ...configured, max_severity: severityGiven(flags) ?? configured.max_severity }

  using store = openImageStore(folder)
  const { images, faults } =
    name === undefined ? listImages(folder) : { images: [findImage(folder, name)], faults: [] }
  const feeds = listFeeds(folder)
  warnOf(flags, feeds, policy)
  for (const fault of faults) note(flags, fault)
  if (faults.length > 0) process.exitCode = 1
  const signer = openImageSigner(keys)
  const gate = { folder, key: signer.publicKey, policy, now: Date.now }
  const scanOne = (image: StoredImage): GatedScan => {
    const sbom = readSbom(image, signer.publicKey)
    const made = scanImage({ image: image.digest, sbom, feeds, now: Date.now })
    storeScan(store, made, signer)
    return { tags: image.tags, scan: made, admission: admitImage(image.digest, gate) }
  }
  const scans =
    name === undefined ? scanEach(images, scanOne) : { scans: images.map(scanOne), unscannable: [] }
  report(flags, faults, scans)
}

/**
 * Scans what can be scanned: an image that is broken, has no bill of materials, or declares what this code cannot evaluate,
 * does not hide the others.
 */
function scanEach(
  images: readonly StoredImage[],
  scanOne: (image: StoredImage) => GatedScan,
): Scans {
  const [scans, unscannable]: [GatedScan[], UnscannableImage[]] = [[], []]
  for (const image of images)
    try {
      scans.push(scanOne(image))
    } catch (thrown) {
      if (!isOfImage(thrown)) throw thrown
      const { tags, digest } = image
      unscannable.push({ tags, image: digest, ...reasonOf(thrown) })
    }
  return { scans, unscannable }
}

/** False for a failed system call, such as a write to a full disk. */
function isOfImage(thrown: unknown): boolean {
  if (thrown instanceof MayflyError) return codesOfImage.has(thrown.code)
  return !(thrown instanceof Error && 'syscall' in thrown)
}

function reasonOf(thrown: unknown): Pick<UnscannableImage, 'code' | 'because' | 'fix'> {
  if (thrown instanceof MayflyError)
    return { code: thrown.code, because: thrown.message, fix: thrown.hint ?? '' }
  const because = `Cannot scan: ${messageOf(thrown).slice(0, reasonCharactersMax)}`
  return { code: 'INTERNAL', because, fix: 'Remove the image: "mayfly images untag", then "gc"' }
}

function report(flags: ScanFlags, faults: readonly string[], { scans, unscannable }: Scans): void {
  const isRefused = scans.some(({ admission }) => admission.kind === 'refused')
  if (isRefused || unscannable.length > 0) process.exitCode = refusedExitCode
  if (flags.json)
    return printJson({
      images: scans.map(({ tags, scan: made, admission }) => ({
        tags,
        ...made,
        gate: verdictOf(admission),
      })),
      unscannable,
      faults,
    })
  for (const { tags, scan: made, admission } of scans)
    printText(reportOf(tags, made, admission, flags.all ?? false))
  for (const { tags, image, code, because, fix } of unscannable)
    process.stdout.write(
      `${titleOf(tags, image)}\n  cannot be scanned: ${code}: ${sanitiseLine(because)}. ${sanitiseLine(fix)}\n`,
    )
}

function titleOf(tags: readonly string[], image: string): string {
  return `${tags.join(', ') || '(no tag)'} sha256:${image}`
}

function severityGiven({ maxSeverity }: ScanFlags): VulnerabilitySeverity | undefined {
  if (maxSeverity === undefined) return undefined
  const known = vulnerabilitySeverities.find((one) => one === maxSeverity)
  if (known) return known
  throw new MayflyError('USAGE', `Cannot use "${maxSeverity}" as a severity`, {
    hint: `Use one of ${vulnerabilitySeverities.join(', ')}`,
  })
}

function warnOf(flags: Globals, feeds: readonly StoredFeed[], policy: ImagePolicy): void {
  if (feeds.length === 0)
    throw new MayflyError('NOT_FOUND', 'Cannot scan: no feed was imported', {
      hint: 'Import one with "mayfly images feeds import"',
    })
  for (const { facts } of feeds)
    note(
      flags,
      `Feed "${facts.name}" is ${ageOf(facts.asOf)} old${isOld(facts, policy) ? ': import a newer one' : ''}`,
    )
}

function isOld({ asOf }: FeedFacts, { max_feed_age }: ImagePolicy): boolean {
  return Date.now() - asOf > max_feed_age
}

function ageOf(asOf: number): string {
  const hours = Math.max(0, Math.floor((Date.now() - asOf) / 3_600_000))
  return hours < 48 ? `${hours} hours` : `${Math.floor(hours / 24)} days`
}

function verdictOf(admission: Admission) {
  if (admission.kind === 'admitted') return { kind: 'admitted' }
  const { kind, code, because, fix } = admission
  return { kind, code, because, fix }
}

function reportOf(
  tags: readonly string[],
  { image, counts, findings, uncovered }: ImageScan,
  admission: Admission,
  isWhole: boolean,
): string {
  const shown = isWhole ? findings : findings.slice(0, rowsMax)
  const rows = shown.map((one) => [
    one.severity,
    one.id,
    `${one.source} ${one.version}`,
    one.fixed === null
      ? one.status === 'undetermined'
        ? 'undetermined'
        : 'no fix'
      : `fixed in ${one.fixed}`,
    one.packages.join(', '),
  ])
  const totals = Object.entries(counts).flatMap(([name, count]) =>
    count > 0 ? [`${count} ${name}`] : [],
  )
  return [
    titleOf(tags, image),
    `  ${totals.toReversed().join(', ') || 'no known vulnerability'}`,
    ...(rows.length > 0 ? [table(rows)] : []),
    ...(findings.length > shown.length ? [`  ${findings.length - shown.length} more: --all`] : []),
    ...uncovered.map((purl) => `  no feed speaks of ${sanitiseLine(purl)}`),
    admission.kind === 'admitted'
      ? '  the gate admits it'
      : `  the gate refuses it: ${admission.code}: ${sanitiseLine(admission.because)}. ${admission.fix}`,
  ].join('\n')
}

async function importOne(flags: FeedFlags, place: string): Promise<void> {
  const { folder } = imageFolders(flags)

  using store = openImageStore(folder)
  const facts = await importFeed({
    place,
    name: flags.name,
    asOf: dateGiven(flags),
    store,
    now: Date.now,
  })
  if (flags.json) return printJson(facts)
  note(
    flags,
    `"${facts.name}": ${facts.records} records, ${facts.advisories} vulnerabilities of ${facts.ecosystems.join(', ') || 'no ecosystem of images'}, ${ageOf(facts.asOf)} old`,
  )
}

function dateGiven({ asOf }: FeedFlags): number | undefined {
  if (asOf === undefined) return undefined
  const time = Date.parse(asOf)
  if (!Number.isNaN(time) && time <= Date.now()) return time
  throw new MayflyError('USAGE', `Cannot use "${asOf}" as the date of a feed`, {
    hint: 'Give a date such as 2026-11-20, not in the future',
  })
}

async function listAll(flags: FeedFlags): Promise<void> {
  const { folder, policy } = imageFolders(flags)
  const feeds = listFeeds(folder)
  if (flags.json)
    return printJson({
      feeds: feeds.map(({ facts }) => ({ ...facts, isOld: isOld(facts, policy) })),
    })
  if (feeds.length === 0) return note(flags, 'No feed was imported')
  const rows = feeds.map(({ facts }) => [
    facts.name,
    facts.kind,
    `${ageOf(facts.asOf)}${isOld(facts, policy) ? ' (too old)' : ''}`,
    String(facts.advisories),
    facts.ecosystems.join(', '),
  ])
  printText(table([['name', 'kind', 'age', 'vulnerabilities', 'of'], ...rows]))
}

async function remove(flags: FeedFlags, name: string): Promise<void> {
  const { folder } = imageFolders(flags)

  using store = openImageStore(folder)
  if (!imageName.safeParse(name).success || !store.remove({ kind: 'feeds', name }))
    throw new MayflyError('NOT_FOUND', `Cannot find feed "${name}"`)
  if (flags.json) return printJson({ feed: name })
  note(flags, `Feed "${name}" is gone`)
}
