import path from 'node:path'
import type { Command } from 'commander'
import { MayflyError } from '../contract/error.ts'
import { exportOci } from '../images/export-oci.ts'
import { importOci } from '../images/import-oci.ts'
import { imageName } from '../images/recipe.ts'
import { findImage, openImageStore } from '../images/store.ts'
import { imageKey, openImageSigner } from '../warden/image-signer.ts'
import { shownSize } from './format-value.ts'
import { imageFolders, imageTools, packagesOption } from './image-folders.ts'
import { note, printJson, type Globals } from './print.ts'
import { verb } from './verb.ts'

interface OciFlags extends Globals {
  readonly name?: string
  readonly ref?: string
  readonly packages?: string
}

/** `mayfly images import` and `mayfly images export`. */
export function registerOci(images: Command): void {
  images
    .command('import <path>')
    .description('import an OCI image layout: a folder, or a tar archive of one')
    .option('--name <name>', 'name of the image; default: from the file name')
    .option('--ref <ref>', 'image to import, if the index names several')
    .option(...packagesOption)
    .action(verb(importOne))
  images
    .command('export <name> <path>')
    .description('write an image as an OCI image layout; as a tar archive if the path ends in .tar')
    .option(...packagesOption)
    .action(verb(exportOne))
}

async function importOne(flags: OciFlags, place: string): Promise<void> {
  const { folder, keys } = imageFolders(flags)
  const own = path
    .basename(path.resolve(place))
    .replace(/(?:\.(?:tar|tgz|gz|zst))+$/, '')
    .toLowerCase()
  const name = flags.name ?? own
  if (!imageName.safeParse(name).success)
    throw new MayflyError('USAGE', `Cannot name an image "${name}"`, {
      hint: 'Give a name of a-z, 0-9, ".", "_" and "-" with --name',
    })
  using store = openImageStore(folder)
  const { manifest } = await importOci({
    ...imageTools(flags),
    place,
    name,
    ref: flags.ref,
    store,
    signer: openImageSigner(keys),
    now: Date.now,
  })
  note(flags, `${name}: sha256:${manifest.digest}, ${shownSize(manifest.size)}`)
  if (flags.json) printJson(manifest)
}

async function exportOne(flags: OciFlags, name: string, to: string): Promise<void> {
  const { folder, keys } = imageFolders(flags)

  using store = openImageStore(folder)
  const digest = await exportOci({
    ...imageTools(flags),
    image: findImage(folder, name),
    key: imageKey(keys),
    to,
    name,
    store,
  })
  if (flags.json) return printJson({ path: to, manifest: digest })
  note(flags, `${to}: manifest ${digest}`)
}
