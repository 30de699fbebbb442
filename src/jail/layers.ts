import { lstatSync } from 'node:fs'
import path from 'node:path'
import { contentOf, type PackageLayer } from '../contract/layer.ts'
import { MayflyError } from '../contract/error.ts'
import { serverUid } from '../contract/uids.ts'
import type { MountedLayer } from './whole.ts'
import { layerFolder, layerFolderFor } from '../lib/cache-folder.ts'

/** Name of a layer in a start request, never a path. */
export type NamedLayer = Pick<PackageLayer, 'kind' | 'layer'>

/**
 * Paths of named layers, below this warden's own folders. The server may write there, so a path is trusted no further
 * than its user: a launcher that is root opens it without following symlinks and checks its owner.
 * Throws MayflyError NOT_FOUND.
 */
export function findLayers(named: readonly NamedLayer[]): readonly MountedLayer[] {
  return named.map(({ kind, layer }, index) => {
    const found = places().find(({ folder, uid }) => isOurs(path.join(folder, layer), uid))
    if (!found)
      throw new MayflyError('NOT_FOUND', `Cannot find the layer "${layer.slice(0, 12)}…"`, {
        hint: 'It was evicted or never made; run it again',
      })
    const { folder, uid: owner } = found
    const content = contentOf[kind]
    return {
      kind,
      root: path.join(folder, layer),
      content,
      owner,
      at: insideOf(kind, index, named),
    }
  })
}

/** Mount point of the layer at `index`: the first `node_modules` is in the working folder, the next in its parent. */
function insideOf(kind: NamedLayer['kind'], index: number, named: readonly NamedLayer[]): string {
  if (kind !== 'node') return `/packages/${index}`
  return named.findIndex((one) => one.kind === 'node') === index
    ? '/work/node_modules'
    : '/node_modules'
}

function places(): readonly { readonly folder: string; readonly uid: number }[] {
  const uid = process.getuid?.() ?? 0
  if (uid !== 0) return [{ folder: layerFolder(), uid }]
  return [serverUid, 0].map((owner) => ({ folder: layerFolderFor(owner), uid: owner }))
}

function isOurs(place: string, owner: number): boolean {
  const facts = lstatSync(place, { throwIfNoEntry: false })
  return facts?.isDirectory() === true && facts.uid === owner && (facts.mode & 0o022) === 0
}
