import { createHash } from 'node:crypto'
import { valueImports } from '../tests/tidy/chains.ts'
import { isTest, readTree, type Source } from '../tests/tidy/tree.ts'

/**
 * Seed of the draws of CI: a decimal integer below 2 ** 31 made of the content of the tree. The same tree draws the same
 * samples and the same random cases on each machine, so that a result of CI can be repeated; each change draws others.
 */
export function treeSeed(tree?: readonly Source[]): string {
  return String(treeDigest(tree).readUInt32BE() >>> 1)
}

/** Words of a test, or of a module of its own that it imports, whose result documents may change. */
const readsDocuments = /\bdocs\b|README|CHANGELOG|\.md\b|\bpack\b|readTree/

/**
 * Digests of all that may decide about the results of test files: documents do not, but for tests that read them, and no test
 * file decides about another one.
 */
export function digestsOfTests(
  tree: readonly Source[] = readTree(),
): (files: readonly string[]) => string {
  const texts = new Map(tree.map(({ path, text }) => [path, text]))
  const whole = treeDigest(tree)
  const isCommon = (path: string) => !isTest(path) && !/^docs\/|\.md$/.test(path)
  const common = treeDigest(tree.filter(({ path }) => isCommon(path)))
  const isOfTests = (path: string) => path.startsWith('tests/')
  return (files) => {
    const own = files.map((path) => ({ path, text: texts.get(path) ?? '' }))
    const imports = [...valueImports(tree, files, (path) => !isOfTests(path))]
    const helpers = imports.flatMap(({ imported }) => imported.path ?? []).filter(isOfTests)
    const reads = [...files, ...helpers].some((path) => readsDocuments.test(texts.get(path) ?? ''))
    const about = reads ? whole : common
    return createHash('sha256').update(about).update(treeDigest(own)).digest('hex')
  }
}

/** SHA-256 of the content of the tree. */
export function treeDigest(tree: readonly Source[] = readTree()): Buffer {
  const hash = createHash('sha256')
  for (const { path, text } of tree) hash.update(`${path}\0${text.length}\0`).update(text)
  return hash.digest()
}
