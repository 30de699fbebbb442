import { createHash } from 'node:crypto'
import { readTree, type Source } from '../tests/tidy/tree.ts'

/**
 * Seed of the draws of CI: a decimal integer below 2 ** 31 made of the content of the tree. The same tree draws the same
 * samples and the same random cases on each machine, so that a result of CI can be repeated; each change draws others.
 */
export function treeSeed(tree?: readonly Source[]): string {
  return String(treeDigest(tree).readUInt32BE() >>> 1)
}

/** SHA-256 of the content of the tree. */
export function treeDigest(tree: readonly Source[] = readTree()): Buffer {
  const hash = createHash('sha256')
  for (const { path, text } of tree) hash.update(`${path}\0${text.length}\0`).update(text)
  return hash.digest()
}
