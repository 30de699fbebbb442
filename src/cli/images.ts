import type { Command } from 'commander'
import { MayflyError } from '../contract/error.ts'
import { buildImage } from '../images/build.ts'
import { imageName, ownRecipes, recipeNames } from '../images/recipe.ts'
import { findImage, listImages, openImageStore, readSbom, whyImageBroken } from '../images/store.ts'
import { removeRoots, unpackImage, whyRootBroken } from '../images/unpack.ts'
import { type WasmRuntime, wasmRuntime } from '../images/wasm-runtime.ts'
import { cacheFolder } from '../lib/cache-folder.ts'
import { imageKey, openImageSigner } from '../warden/image-signer.ts'
import { shownSize } from './format-value.ts'
import { imageFolders as placesOf, imageTools, packagesOption } from './image-folders.ts'
import { registerOci } from './images-oci.ts'
import { registerScans } from './images-scan.ts'
import { note, printJson, printText, table, type Globals } from './print.ts'
import { failedExitCode, verb } from './verb.ts'

/** `mayfly images …`: builds and keeps read-only file systems. Needs no server. */
export function register(program: Command): void {
  const images = program
    .command('images')
    .description('read-only root file systems, built from Debian packages or imported')
    .addHelpText('after', examples)
  const add = (words: string, about: string) => images.command(words).description(about)
  add('build [name...]', 'build images from these recipes, or from all; builds are reproducible')
    .option('--tag <name...>', 'additional tags; the name of the recipe is always one')
    .option('--recipes <folder>', 'folder of recipes and locks; default: those of Mayfly')
    .option(...packagesOption)
    .action(verb(build))
  add('list', 'list images, newest first, and the runtime of WebAssembly').action(verb(list))
  add('show <name>', 'show recipe, packages, sizes and digest of an image')
    .option('--sbom', 'print the bill of materials only, as CycloneDX JSON')
    .action(verb(show))
  add(
    'verify [name...]',
    'check that images, or all, are as built and signed here; exits 0 or 1',
  ).action(verb(verify))
  add(
    'unpack <name...>',
    'unpack images into the folder from which walls of this user take their root',
  )
    .option(...packagesOption)
    .action(verb(unpack))
  add('tag <name> <tag>', 'add a tag to an image').action(verb(tag))
  add('untag <tag>', 'remove a tag; its image is deleted by "gc"').action(verb(untag))
  add('gc', 'delete images without a tag').action(verb(collect))
  registerScans(images)
  registerOci(images)
}

const examples = `
Examples:
  mayfly images build python
  mayfly images list
  mayfly images verify
  mayfly images feeds import debian.json && mayfly images scan python
  mayfly images untag python && mayfly images gc

A name is a tag, a digest, or the first eight characters of one or more.`

interface Flags extends Globals {
  readonly tag?: readonly string[]
  readonly recipes?: string
  readonly packages?: string
  readonly sbom?: boolean
}

async function build(flags: Flags, ...names: string[]): Promise<void> {
  const recipes = flags.recipes ?? ownRecipes
  const wanted = names.length > 0 ? names : recipeNames(recipes)
  const tags = flags.tag ?? []
  for (const one of tags) assertTag(one)
  if (tags.length > 0 && wanted.length > 1)
    throw new MayflyError('USAGE', 'Cannot use --tag with several images')
  const { folder, keys } = placesOf(flags)

  using store = openImageStore(folder)
  const parts = {
    ...imageTools(flags),
    recipes,
    store,
    tags,
    signer: openImageSigner(keys),
    now: Date.now,
  }
  const built = []
  for (const name of wanted) {
    const start = performance.now()
    const { manifest } = await buildImage({ ...parts, name })
    const seconds = ((performance.now() - start) / 1000).toFixed(1)
    note(flags, `${name}: sha256:${manifest.digest}, ${shownSize(manifest.size)}, ${seconds} s`)
    built.push(manifest)
  }
  if (flags.json) printJson({ images: built })
}

async function list(flags: Flags): Promise<void> {
  const { folder } = placesOf(flags)
  const { images, faults } = listImages(folder)
  for (const fault of faults) note(flags, fault)
  if (faults.length > 0) process.exitCode = failedExitCode
  const runtime = wasmRuntime()
  if (flags.json)
    return printJson({
      images: images.map(({ tags, signed }) => ({ tags, ...signed.manifest })),
      runtimes: [runtime],
    })
  const rows = images.map(({ tags, signed: { manifest } }) => [
    tags.join(', ') || '(no tag)',
    'linux',
    manifest.digest.slice(0, 12),
    shownSize(manifest.size),
    manifest.origin ? 'imported' : `${manifest.packages.length} packages`,
    new Date(manifest.at).toISOString(),
    manifest.function,
  ])
  const head = ['tags', 'kind', 'digest', 'size', 'of', 'built', 'for']
  printText(table([head, ...rows, runtimeRow(runtime)]))
  if (images.length === 0) note(flags, 'No images of Linux; "mayfly images build" builds them')
}

function runtimeRow(runtime: WasmRuntime): string[] {
  const { name, kind, digest, size, engine } = runtime
  const about = `modules of WebAssembly: ${runtime.interface}`
  return [name, kind, digest.slice(0, 12), shownSize(size), engine, 'with Mayfly', about]
}

async function show(flags: Flags, name: string): Promise<void> {
  const { folder, keys } = placesOf(flags)
  const image = findImage(folder, name)
  const { tags, file, signed } = image
  if (flags.sbom) return void process.stdout.write(readSbom(image, imageKey(keys)))
  const { manifest, key, signature } = signed
  if (flags.json) return printJson({ tags, file, ...manifest, key, signature })
  const facts = [
    ['image', `sha256:${manifest.digest}`],
    ['tags', tags.join(', ')],
    ['for', manifest.function],
    ...(manifest.form ? [['form', 'archive (newc), which machines boot from']] : []),
    [
      'size',
      `${shownSize(manifest.size)} of ${shownSize(manifest.unpacked)}, ${manifest.files} files`,
    ],
    ['system', `${manifest.suite} ${manifest.architecture}, written by ${manifest.maker}`],
    [manifest.origin ? 'imported' : 'built', new Date(manifest.at).toISOString()],
    ...(manifest.origin ? [['from', `OCI manifest sha256:${manifest.origin.manifest}`]] : []),
    ['file', file],
    ...manifest.packages.map((one) => ['package', `${one.name} ${one.version}`]),
    ...manifest.programs.map((one) => ['program', `${one.package} ${one.version} ${one.file}`]),
  ]
  printText(table(facts))
}

/** Unpacks images; of those unpacked before the ones whose files were changed. */
async function unpack(flags: Flags, ...names: string[]): Promise<void> {
  const { folder, keys } = placesOf(flags)

  using store = openImageStore(folder)
  const parts = {
    ...imageTools(flags),
    key: imageKey(keys),
    roots: cacheFolder('image-roots'),
    store,
  }
  const unpacked = []
  for (const name of names) {
    const image = findImage(folder, name)
    const target = await unpackImage({ ...parts, image })
    const { unpacked: bytes } = image.signed.manifest
    note(flags, `${name}: ${target}, ${shownSize(bytes)}`)
    unpacked.push({ digest: image.digest, path: target, bytes })
  }
  if (flags.json) printJson({ images: unpacked })
}

interface Verified {
  readonly digest: string
  readonly tags: readonly string[]
  readonly ok: boolean
  readonly why?: string
}

async function verify(flags: Flags, ...names: string[]): Promise<void> {
  const { folder, keys } = placesOf(flags)
  const key = imageKey(keys)
  const { images, faults } =
    names.length > 0
      ? { images: names.map((name) => findImage(folder, name)), faults: [] }
      : listImages(folder)
  const verified: readonly Verified[] = images.map((image) => {
    const why = whyImageBroken(image, key) ?? whyRootBroken(image, cacheFolder('image-roots'))
    return { digest: image.digest, tags: image.tags, ok: why === undefined, ...(why && { why }) }
  })
  if (faults.length > 0 || verified.some(({ ok }) => !ok)) process.exitCode = failedExitCode
  if (flags.json) return printJson({ images: verified, faults })
  const lines = verified.map((one) => {
    const text = `${one.tags.join(', ') || '(no tag)'} sha256:${one.digest}`
    return one.ok ? `ok: ${text}` : `bad: ${text}: ${one.why}`
  })
  const all = [...lines, ...faults.map((fault) => `bad: ${fault}`)]
  if (all.length > 0) printText(all.join('\n'))
}

async function tag(flags: Flags, name: string, wanted: string): Promise<void> {
  const { folder } = placesOf(flags)
  assertTag(wanted)
  using store = openImageStore(folder)
  const { digest } = findImage(folder, name)
  store.tag(digest, wanted)
  if (flags.json) return printJson({ tag: wanted, digest })
  note(flags, `"${wanted}" names sha256:${digest}`)
}

async function untag(flags: Flags, wanted: string): Promise<void> {
  const { folder } = placesOf(flags)
  assertTag(wanted)

  using store = openImageStore(folder)
  if (!store.untag(wanted)) throw new MayflyError('NOT_FOUND', `Cannot find tag "${wanted}"`)
  if (flags.json) return printJson({ tag: wanted, digest: null })
  note(flags, `"${wanted}" names no image any more`)
}

async function collect(flags: Flags): Promise<void> {
  const { folder } = placesOf(flags)

  using store = openImageStore(folder)
  const { digests, bytes } = store.collect()
  removeRoots(cacheFolder('image-roots'), digests)
  if (flags.json) return printJson({ removed: digests, bytes })
  note(flags, `${digests.length} images removed, ${shownSize(bytes)}`)
}

function assertTag(given: string): void {
  if (!imageName.safeParse(given).success)
    throw new MayflyError('USAGE', `Cannot use "${given}" as a tag`, {
      hint: 'A tag has up to 63 characters of a-z, 0-9, ".", "_" and "-", and begins with a letter or a digit',
    })
}
