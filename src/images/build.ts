import { fstatSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { arch } from 'node:process'
import type { Readable } from 'node:stream'
import { MayflyError } from '../contract/error.ts'
import { canonicalJson } from '../lib/canonical-json.ts'
import { openDescriptor } from '../lib/file-descriptor.ts'
import { sha256 } from '../lib/hash.ts'
import { addImage } from './add-image.ts'
import { archiveOf, type ArchiveEntry } from './archive.ts'
import { compilePython } from './compile-python.ts'
import { imageError } from './image-error.ts'
import { makeFileSystem, MAKER } from './make-file-system.ts'
import type { StatementSigner, SignedManifest } from './manifest.ts'
import { copyHashed, type PackageCache } from './package-cache.ts'
import {
  readLock,
  readRecipe,
  type Architecture,
  type ImageLock,
  type LockedPackage,
  type LockedProgram,
  type Recipe,
} from './recipe.ts'
import { runTool } from './run-program.ts'
import { contentsOf, sbomOf } from './sbom.ts'
import { openSpool, type Spool } from './spool.ts'
import { fileDigest, type ImageStore } from './store.ts'
import { TarReader } from './tar.ts'
import { ImageTree, modeOf, type ImageNode } from './tree.ts'

/**
 * Builds an image: locked packages → one tree of checked paths → a canonical tar stream → erofs.
 *
 * No file of a package is extracted under its own name: all bytes go into one spool file, and mkfs.erofs gets a tar
 * stream with owner 0, a fixed time, modes without setuid, and entries sorted by path. So the result does not depend
 * on the user, umask, file system or time of the build. mkfs.erofs itself comes from locked packages too
 * (`images/maker.lock.json`).
 */
export interface ImageBuild extends ImageWork {
  readonly name: string
  /** Folder of recipes and locks. */
  readonly recipes: string
  readonly signer: StatementSigner
  /** Tags in addition to the name of the recipe. */
  readonly tags: readonly string[]
  /** Milliseconds since 1970; used in the manifest only. */
  readonly now: () => number
}

/** Surroundings of a command that makes or reads images. */
export interface ImageWork {
  /** Recipe and lock of mkfs.erofs. */
  readonly makers: string
  readonly store: ImageStore
  readonly cache: PackageCache
  readonly note: (text: string) => void
  readonly signal?: AbortSignal
}

const unpackMsMax = 600_000

/** A build with a scratch folder of its own. */
interface ImageBuildIn extends ImageBuild {
  readonly work: string
}

/** Inputs for fetching and unpacking packages. */
type PackageWork = Pick<ImageBuildIn, 'name' | 'work' | 'cache' | 'note' | 'signal'>

/** Throws MayflyError; the store then has no new name. */
export async function buildImage(given: ImageBuild): Promise<SignedManifest> {
  const work = mkdtempSync(path.join(given.store.work, 'build-'))
  try {
    return await buildIn({ ...given, work })
  } catch (thrown) {
    throw imageError(`build image "${given.name}"`, thrown)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

async function buildIn(build: ImageBuildIn): Promise<SignedManifest> {
  const { name, work, note } = build
  const architecture = ownArchitecture()
  const recipe = readRecipe(build.recipes, name)
  const lock = readLock(build.recipes, recipe, architecture)
  const makers = recipe.form === 'archive' ? [] : makerPackages(build.makers, architecture)
  await fetchMissing(build, [...lock.packages, ...makers])
  const image = path.join(work, 'image')
  using spool = openSpool(path.join(work, 'spool'))
  const tree = await treeOf(build, recipe, lock, spool)
  await compileSources(build, { sources: recipe.compile, tree, spool, architecture })
  const entries = tree.sorted()
  note(`${name}: ${entries.length} files, ${megabytes(spool.size)}`)
  if (recipe.form === 'archive') {
    writeFileSync(image, archiveOf(archived(entries, spool)), { flag: 'wx' })
  } else {
    const makerTree = await packagesTree(build, makers, spool)
    await makeFileSystem({ entries, spool, makerTree, architecture, image, signal: build.signal })
  }
  const [digest, at] = [fileDigest(image), build.now()]
  const sbom = sbomOf({ digest, name, about: recipe.function, at, contents: contentsOf(lock) })
  const tags = [name, ...build.tags]
  return addImage(
    { ...build, file: image, entries, sbom, tags },
    {
      name,
      ...(recipe.form && { form: recipe.form }),
      function: recipe.function,
      digest,
      suite: lock.suite,
      architecture,
      recipe: sha256(canonicalJson(recipe)),
      packages: lock.packages.map(({ source: _source, file: _file, ...one }) => one),
      programs: lock.programs,
      maker: recipe.form === 'archive' ? 'Mayfly, as a newc archive' : makerName(makers),
      at,
    },
  )
}

/**
 * List of module names, one per line, which the runner of the image imports ahead (guest/process/mayfly_imports.py).
 */
const importsFile = 'usr/share/mayfly/imports'

async function compileSources(
  { name, work, note, signal }: ImageBuildIn,
  parts: Pick<Parameters<typeof compilePython>[0], 'tree' | 'spool' | 'architecture' | 'sources'>,
): Promise<void> {
  if (parts.sources.length === 0) return
  const [folder, spoolFile] = [path.join(work, 'python'), path.join(work, 'spool')]
  const failed = await compilePython({ ...parts, spoolFile, folder, signal })
  if (failed > 0) note(`${name}: ${failed} sources do not compile`)
}

function archived(
  entries: readonly (readonly [place: string, node: ImageNode])[],
  spool: Spool,
): readonly ArchiveEntry[] {
  return entries.map(([place, node]) => ({
    kind: node.kind,
    path: place,
    mode: modeOf(node),
    body: node.kind === 'file' ? spool.read(node.at, node.size) : textOf(node),
  }))
}

const textOf = (node: ImageNode) => Buffer.from(node.kind === 'link' ? node.target : '')

/** Throws MayflyError UNAVAILABLE. */
export function ownArchitecture(): Architecture {
  if (arch === 'x64') return 'amd64'
  if (arch === 'arm64') return 'arm64'
  throw new MayflyError('UNAVAILABLE', `Cannot build images on "${arch}"`)
}

/** Fetches and unpacks mkfs.erofs. Throws MayflyError PACKAGE_BROKEN, UNAVAILABLE and DISK_FULL. */
export async function openMaker(
  work: PackageWork & Pick<ImageWork, 'makers'>,
  architecture: Architecture,
  spool: Spool,
): Promise<{ readonly makerTree: ImageTree; readonly maker: string }> {
  const packages = makerPackages(work.makers, architecture)
  await fetchMissing(work, packages)
  return { makerTree: await packagesTree(work, packages, spool), maker: makerName(packages) }
}

function makerPackages(makers: string, architecture: Architecture): readonly LockedPackage[] {
  return readLock(makers, readRecipe(makers, MAKER), architecture).packages
}

/** Program that writes file systems, with its version, as manifests name it. */
function makerName(packages: readonly LockedPackage[]): string {
  return `erofs-utils ${packages.find(({ name }) => name === 'erofs-utils')?.version}`
}

/** Downloads packages that the cache lacks. Throws MayflyError PACKAGE_BROKEN, UNAVAILABLE and DISK_FULL. */
async function fetchMissing(build: PackageWork, wanted: readonly LockedPackage[]): Promise<void> {
  const { cache, work, note, signal } = build
  const missing = wanted.filter((one) => !cache.has(one))
  const bytes = missing.reduce((sum, { size }) => sum + size, 0)
  note(
    missing.length === 0
      ? `${build.name}: ${wanted.length} packages, all cached`
      : `${build.name}: ${missing.length} of ${wanted.length} packages to download, ${megabytes(bytes)}`,
  )
  for (const [at, one] of missing.entries()) {
    note(`  ${at + 1}/${missing.length} ${one.name} ${one.version}, ${megabytes(one.size)}`)
    await cache.fetch(one, work, signal)
  }
}

async function treeOf(
  build: ImageBuildIn,
  recipe: Recipe,
  lock: ImageLock,
  spool: Spool,
): Promise<ImageTree> {
  const tree = await packagesTree(build, lock.packages, spool)
  for (const [at, one] of lock.programs.entries())
    addProgram(tree, one, recipe.programs[at]!.to, spool)
  try {
    addOwn(tree, recipe, spool)
    tree.leaveOut(recipe.leaveOut, recipe.keep)
    tree.sorted()
  } catch (thrown) {
    throw imageError(`build image "${recipe.name}"`, thrown, 'INVALID')
  }
  return tree
}

/** Merges the files of packages into one tree, and their bytes into the spool. Throws MayflyError PACKAGE_BROKEN. */
async function packagesTree(
  { cache, work, signal }: PackageWork,
  packages: readonly LockedPackage[],
  spool: Spool,
): Promise<ImageTree> {
  const tree = new ImageTree()
  for (const one of packages) {
    const file = path.join(work, 'package.deb')
    cache.take(one, file)
    await unpack(one, file, tree, spool, signal)
    rmSync(file)
  }
  try {
    tree.sorted()
  } catch (thrown) {
    throw imageError('put the packages together', thrown, 'PACKAGE_BROKEN')
  }
  return tree
}

/** Adds the files of a package. Throws MayflyError PACKAGE_BROKEN for an entry that packages must not have. */
async function unpack(
  one: LockedPackage,
  file: string,
  tree: ImageTree,
  spool: Spool,
  signal: AbortSignal | undefined,
): Promise<void> {
  const reader = new TarReader({
    entry: (entry) => tree.add(entry, spool.size),
    data: (bytes) => spool.write(bytes),
  })
  const read = async (stdout: Readable) => {
    for await (const chunk of stdout) reader.push(chunk as Buffer)
    reader.end()
  }
  const action = `unpack package "${one.name}"`
  try {
    const command = ['dpkg-deb', '--fsys-tarfile', file] as const
    const { code, stderr } = await runTool({
      command: [...command],
      msMax: unpackMsMax,
      read,
      signal,
    })
    if (code !== 0) throw new Error(stderr.split('\n')[0] || `dpkg-deb ended with ${code}`)
  } catch (thrown) {
    throw imageError(action, thrown, 'PACKAGE_BROKEN')
  }
}

/** Copies a file of an installed npm package. Throws MayflyError UNAVAILABLE and PACKAGE_BROKEN. */
function addProgram(tree: ImageTree, one: LockedProgram, to: string, spool: Spool): void {
  const at = spool.size
  using input = openDescriptor(installed(one), 'r')
  const { size, sha256: found } = copyHashed(input, spool.descriptor, one.size + 1)
  if (!fstatSync(input.fd).isFile() || size !== one.size || found !== one.sha256)
    throw new MayflyError(
      'PACKAGE_BROKEN',
      `Cannot use "${one.file}" of npm package "${one.package}": it differs from the lock`,
      { hint: `The lock names version ${one.version}: run "npm ci"` },
    )
  spool.skip(size)
  tree.add({ kind: 'file', path: to, mode: 0o755, size, target: '' }, at)
}

function installed(one: LockedProgram): string {
  try {
    const manifest = createRequire(import.meta.url).resolve(`${one.package}/package.json`)
    return path.join(path.dirname(manifest), one.file)
  } catch (cause) {
    throw new MayflyError('UNAVAILABLE', `Cannot find npm package "${one.package}"`, {
      hint: 'It is installed with Mayfly on supported platforms',
      cause,
    })
  }
}

/** Adds the links, files and folders of the recipe itself. */
function addOwn(tree: ImageTree, recipe: Recipe, spool: Spool): void {
  const entry = { mode: 0o644, size: 0, target: '' }
  const addFile = (place: string, bytes: Buffer) =>
    tree.add({ ...entry, kind: 'file', path: place, size: bytes.length }, spool.write(bytes))
  for (const { from, to } of recipe.join) {
    const nodes = tree.matching(from)
    if (nodes.length === 0) throw new RangeError(`no file is at "${from}"`)
    addFile(to, Buffer.concat(nodes.map(({ at, size }) => spool.read(at, size))))
  }
  for (const [place, text] of Object.entries(recipe.files)) addFile(place, Buffer.from(text))
  for (const { folder, to, names } of recipe.links)
    for (const name of names)
      tree.add({ ...entry, kind: 'link', path: `${folder}/${name}`, target: to }, 0)
  if (recipe.imports.length > 0)
    addFile(importsFile, Buffer.from(recipe.imports.map((one) => `${one}\n`).join('')))
  for (const place of recipe.folders) tree.add({ ...entry, kind: 'folder', path: place }, 0)
}

function megabytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MB`
}
