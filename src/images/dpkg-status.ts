import type { LayerTree } from './layer-tree.ts'
import type { ImageContents, ImagePart } from './sbom.ts'
import type { Spool } from './spool.ts'

/** Limit of the files together. Debian's own has 1 KiB for each package; a hundred links to one file are as many files. */
const bytesMax = 2 ** 25
const partsMax = 20_000
/** Limit of stanzas, including those of removed packages. */
const stanzasMax = 2 * partsMax
const name = /^[a-z0-9][a-z0-9+.-]{1,127}$/
const version = /^[\w.+:~-]{1,128}$/

/**
 * Debian packages that an imported image declares: `var/lib/dpkg/status`, or `status.d` in images without dpkg.
 * Untrusted: the image may declare anything and contain more, so the list counts as incomplete. Undefined if the image
 * is not a Debian image, or lists no package, or beyond a limit.
 */
export function declaredContents(tree: LayerTree, spool: Spool): ImageContents | undefined {
  let bytesLeft = bytesMax
  const textOf = (place: string) => {
    const node = tree.get(place)
    if (node?.kind !== 'file') return ''
    bytesLeft -= node.size
    return bytesLeft < 0 ? '' : spool.read(node.at, node.size).toString('utf8')
  }
  const release = textOf('usr/lib/os-release') || textOf('etc/os-release')
  const suite = /^VERSION_CODENAME="?([a-z]{1,32})"?$/m.exec(release)?.[1]
  if (!/^ID="?debian"?$/m.test(release) || suite === undefined) return undefined
  const more = tree
    .sorted()
    .flatMap(([place]) =>
      /^var\/lib\/dpkg\/status\.d\/[^/]+$/.test(place) && !place.endsWith('.md5sums')
        ? [place]
        : [],
    )
  const texts = ['var/lib/dpkg/status', ...more].map(textOf)
  const stanzas = texts.flatMap((text) => text.split(/\n\n+/, stanzasMax + 1))
  if (bytesLeft < 0 || stanzas.length > stanzasMax) return undefined
  const parts = stanzas.flatMap(partOf)
  if (parts.length === 0 || parts.length > partsMax) return undefined
  return { suite, parts, isComplete: false }
}

/** Package of a stanza, unless its files are not there: of a half-installed, unpacked or not yet configured one they may be. */
function partOf(stanza: string): readonly ImagePart[] {
  const field = (key: string) => new RegExp(`^${key}: (.+)$`, 'm').exec(stanza)?.[1]?.trim() ?? ''
  const status = field('Status')
  if (/ (?:not-installed|config-files)$/.test(status)) return []
  const [own, ownVersion] = [field('Package'), field('Version')]
  const [, source = own, sourceVersion = ownVersion] =
    /^(\S+)(?: \((\S+)\))?$/.exec(field('Source')) ?? []
  const architecture = /^[a-z0-9-]{1,32}$/.exec(field('Architecture'))?.[0] ?? 'all'
  const isValid =
    [own, source].every((one) => name.test(one)) &&
    [ownVersion, sourceVersion].every((one) => version.test(one))
  if (!isValid) return []
  const part = { name: own, version: ownVersion, architecture }
  return [{ kind: 'deb', ...part, source: { name: source, version: sourceVersion } }]
}
