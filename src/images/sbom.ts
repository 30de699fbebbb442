import { sha256 } from '../lib/hash.ts'
import { uuidOf } from './make-file-system.ts'
import type { ImageLock } from './recipe.ts'

/** Part of an image with a known name and version. */
export interface ImagePart {
  readonly kind: 'deb' | 'npm'
  readonly name: string
  readonly version: string
  /** Architecture of a Debian package: `amd64`, `all`. */
  readonly architecture?: string
  readonly source?: { readonly name: string; readonly version: string }
  /** SHA-256 of the package, or of its only used file. */
  readonly sha256?: string
  readonly file?: string
}

/** Complete content of an image. */
export interface ImageContents {
  /** Release of Debian, such as `trixie`. */
  readonly suite: string
  readonly parts: readonly ImagePart[]
  /** False if the image may contain files of no known part. */
  readonly isComplete: boolean
}

export interface SbomOf {
  readonly digest: string
  readonly name: string
  readonly about: string
  /** Milliseconds since 1970. */
  readonly at: number
  readonly contents: ImageContents
}

/** Parts of a built image: the packages and programs of its lock. */
export function contentsOf(lock: ImageLock): ImageContents {
  const packages = lock.packages.map(({ file, size: _size, ...one }) => {
    const architecture = /_([a-z0-9]+)\.deb$/.exec(file)?.[1] ?? lock.architecture
    return { kind: 'deb', ...one, architecture } as const
  })
  const programs = lock.programs.map(
    ({ package: name, size: _size, ...one }) => ({ kind: 'npm', name, ...one }) as const,
  )
  return { suite: lock.suite, parts: [...packages, ...programs], isComplete: true }
}

/**
 * Bill of materials as a CycloneDX 1.7 document. Debian packages have their source package as ancestor, because
 * Debian's vulnerabilities refer to source packages. Deterministic for the same image and time.
 */
export function sbomOf({ digest, name, about, at, contents }: SbomOf): string {
  const root = `sha256:${digest}`
  const components = contents.parts.map((part) => componentOf(part, contents.suite))
  const document = {
    $schema: 'http://cyclonedx.org/schema/bom-1.7.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.7',
    serialNumber: `urn:uuid:${uuidFor(`${root} ${at}`)}`,
    version: 1,
    metadata: {
      timestamp: new Date(at).toISOString(),
      lifecycles: [{ phase: contents.isComplete ? 'build' : 'post-build' }],
      tools: { components: [{ type: 'application', name: 'mayfly' }] },
      component: {
        type: 'container',
        'bom-ref': root,
        name,
        version: root,
        description: about,
        hashes: [{ alg: 'SHA-256', content: digest }],
      },
    },
    components,
    dependencies: [{ ref: root, dependsOn: components.map((one) => one['bom-ref']) }],
    compositions: [
      { aggregate: contents.isComplete ? 'complete' : 'incomplete', assemblies: [root] },
    ],
  }
  return `${JSON.stringify(document, undefined, 2)}\n`
}

/** Package URL: `pkg:deb/debian/libstdc%2B%2B6@14.2.0-19?arch=amd64&distro=trixie`. */
export function purlOf(
  part: Pick<ImagePart, 'kind' | 'name' | 'version' | 'architecture'>,
  suite: string,
): string {
  const head = `pkg:${part.kind === 'deb' ? 'deb/debian' : 'npm'}/${encoded(part.name)}`
  const named = `${head}@${encoded(part.version)}`
  if (part.kind === 'npm') return named
  return `${named}?arch=${part.architecture}&distro=${encoded(suite)}`
}

function componentOf(part: ImagePart, suite: string) {
  const { kind, name, version, source, sha256, file } = part
  const purl = purlOf(part, suite)
  const hashes = sha256 === undefined ? undefined : [{ alg: 'SHA-256', content: sha256 }]
  return {
    type: kind === 'npm' ? 'application' : 'library',
    'bom-ref': purl,
    name,
    version,
    purl,
    ...(hashes && file === undefined && { hashes }),
    ...(source && { pedigree: { ancestors: [sourceComponent(source, suite)] } }),
    ...(hashes && file !== undefined && { components: [{ type: 'file', name: file, hashes }] }),
  }
}

function sourceComponent(
  source: { readonly name: string; readonly version: string },
  suite: string,
) {
  const purl = purlOf({ kind: 'deb', ...source, architecture: 'source' }, suite)
  return { type: 'library', ...source, purl }
}

/** Percent-encoding of the package URL specification, which does not encode a colon. */
function encoded(text: string): string {
  return encodeURIComponent(text)
    .replace(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%3A', ':')
}

/** UUID of version 8 (RFC 9562), from a hash. */
function uuidFor(text: string): string {
  const hex = sha256(text)
  const variant = ((Number.parseInt(hex[16]!, 16) & 3) | 8).toString(16)
  return uuidOf(`${hex.slice(0, 12)}8${hex.slice(13, 16)}${variant}${hex.slice(17)}`)
}
