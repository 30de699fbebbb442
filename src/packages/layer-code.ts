import { readFileSync } from 'node:fs'
import path from 'node:path'
import { isCodePath } from '../contract/files.ts'
import { contentOf, layerName } from '../contract/layer.ts'
import type { LayerCode } from '../contract/pipeline.ts'
import { attempt } from '../lib/attempt.ts'
import { openToRead } from '../lib/file-descriptor.ts'
import { replaceFile } from '../lib/replace-file.ts'
import { walkFolder } from '../lib/walk-folder.ts'
import { Layers } from './layers.ts'

const FOUND_BYTES_MAX = 2 ** 20

/** Reads the code of layers for analysis, and caches the findings. */
export function codeOfLayers(folder: () => string | undefined): LayerCode {
  const placeOf = (layer: string, more: string) => {
    const below = folder()
    if (below === undefined) return undefined
    return path.join(below, `${layerName.parse(layer)}${more}`)
  }
  return {
    codeBytes(layer) {
      const below = folder()
      return below === undefined ? undefined : new Layers({ folder: below }).about(layer)?.codeBytes
    },
    read(layer) {
      const root = placeOf(layer, '')
      return root === undefined ? [] : readCode(root)
    },
    recall(layer) {
      const file = placeOf(layer, '.found.json')
      if (file === undefined) return undefined
      const text = attempt(() => readFileSync(file, 'utf8'))
      return text !== undefined && text.length <= FOUND_BYTES_MAX ? text : undefined
    },
    keep(layer, text) {
      const file = placeOf(layer, '.found.json')
      if (file === undefined) return
      try {
        replaceFile(file, text)
      } catch {
        // Cache write failed: analysed again next time.
      }
    },
  }
}

/** Paths as a program sees them. Symlinks are skipped; the copy contains regular files only. */
function readCode(root: string) {
  const below = path.join(root, contentOf.node)
  const found = [...walkFolder(below)].filter(
    ({ entry }) => entry.isFile() && isCodePath(entry.name),
  )
  return found.map(({ place }) => {
    using code = openToRead(path.join(below, place))
    return { path: path.join(contentOf.node, place), content: readFileSync(code.fd, 'utf8') }
  })
}
