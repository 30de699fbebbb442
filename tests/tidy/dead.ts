import { posix, type ParsedPath } from 'node:path'
import { importsOf } from './imports.ts'
import { isTest, type Source } from './tree.ts'

const code = /\.(ts|js)$/
const mustBeReached = /^(src|guest|policies|scripts|bin)\//
/** A file named in a string: a worker that is started, a policy that is read. */
const quoted = /['"`]([\w./-]+?)\/?['"`]/g
/** A file whose name is put together: `./${name}.ts`. */
const template = /`([\w./-]*\/)\$\{\w+\}(\.\w+)`/g
const named = /([\w.-]+\.(?:ts|js|json|c|html|css))['"`]/g

/** Files that no root leads to, by an import or by their name in a string. Tests do not keep a file alive. */
export function deadFiles(sources: readonly Source[], roots: readonly string[]): readonly string[] {
  const byPath = new Map(sources.map((source) => [source.path, source]))
  const places = sources.map(({ path }) => ({ path, ...posix.parse(path) }))
  const reached = new Set<string>()
  const open = [...roots]
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    const source = byPath.get(path)
    if (!source || reached.has(path)) continue
    reached.add(path)
    open.push(...leadsTo(source, places))
  }
  const all = sources.map(({ path }) => path)
  return all.filter((path) => mustBeReached.test(path) && !isTest(path) && !reached.has(path))
}

interface PathOfFile extends ParsedPath {
  readonly path: string
}

function leadsTo(source: Source, places: readonly PathOfFile[]): readonly string[] {
  if (!code.test(source.path)) return []
  const imports = importsOf(source)
  const paths = imports.flatMap(({ path }) => (path ? [path] : []))
  const rest = imports.reduce((text, { specifier }) => text.replaceAll(specifier, ''), source.text)
  const isNamed = namedIn(rest, source.path)
  return [...paths, ...places.filter(isNamed).map(({ path }) => path)]
}

/** Named whole, by a template that fits and its stem in quotes, or, what is data, by its folder. */
function namedIn(text: string, from: string): (place: PathOfFile) => boolean {
  const names = new Set([...text.matchAll(named)].map(([, name]) => name))
  const words = new Set([...text.matchAll(quoted)].map(([, word = '']) => posix.basename(word)))
  const templates = [...text.matchAll(template)].map(([, folder = '', extension = '']) => ({
    folder: posix.join(posix.dirname(from), folder).replace(/\/$/, ''),
    extension,
  }))
  return ({ dir, base, name, ext }) => {
    if (names.has(base)) return true
    if (templates.some(({ folder, extension }) => folder === dir && extension === ext))
      return ext !== '.ts' || words.has(name)
    return ext !== '.ts' && words.has(posix.basename(dir))
  }
}
