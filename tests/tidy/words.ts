import { posix } from 'node:path'
import type { Source } from './tree.ts'

interface Rule {
  readonly why: string
  readonly in: RegExp
  /** Files that may. */
  readonly except?: RegExp
  readonly pattern: RegExp
}

const rules: readonly Rule[] = [
  {
    why: 'only .ci/run knows where contracts of others lie',
    in: /./,
    except: /^(\.ci\/run|tests\/tidy)/,
    pattern: /shared\/contracts/,
  },
  {
    why: 'the number of an issue says nothing to a reader; say what it was about',
    in: /./,
    except: /^tests\/tidy/,
    pattern: /\b(issue|pull request|PR) #?\d+|(^|\s)\(?#\d{1,5}\b/i,
  },
  {
    why: 'TypeScript that does not erase',
    in: /\.ts$/,
    except: /^tests\/tidy/,
    pattern: /^\s*(export\s+)?(declare\s+)?(const\s+)?(enum|namespace)\s+\w/m,
  },
  {
    why: 'work left for later goes into a decision note or is not there',
    in: /\.(ts|js)$/,
    except: /^tests\/tidy/,
    pattern: /\b(TODO|FIXME|XXX|HACK)\b/,
  },
  {
    why: 'V8 takes a key for another where an earlier text had one with a backslash; use parseJson',
    in: /^src\/(?!web\/).*\.ts$/,
    except: /\.test\.ts$/,
    pattern: /\bJSON\.parse\(|\.json\(\)/,
  },
  {
    why: 'a drawing is data or text: servers and terminals have no page',
    in: /^src\/picture\//,
    pattern: /\b(document|window|navigator|location)\.|\bHTMLElement\b/,
  },
]
/** A wait for something that never comes holds its process, and with it the whole run. */
const boundlessWait =
  /while \((?![^\n]*(?:performance\.now|deadline|tries|left|aborted))[^\n]*\)\s*\{?\s*await (?:sleep|pause|nap)\(/
const emptyNames = /^(utils?|helpers?|managers?|common|types|misc|shared)$/

/** Words and names the project does without, as `path:line: why`; `checkout` is where it lies on this machine. */
export function wordFaults(sources: readonly Source[], checkout: string): readonly string[] {
  return sources.flatMap((source) => [
    ...nameFaults(source),
    ...ruleFaults(source),
    ...waitFaults(source),
    ...(source.text.includes(checkout) ? [`${source.path}: a path of this machine`] : []),
  ])
}

function nameFaults({ path }: Source): readonly string[] {
  const [stem = ''] = posix.basename(path).split('.')
  return emptyNames.test(stem) ? [`${path}: "${stem}" names no idea`] : []
}

function waitFaults({ path, text }: Source): readonly string[] {
  if (!/\.(ts|js)$/.test(path) || path.startsWith('tests/tidy')) return []
  const match = boundlessWait.exec(text)
  return match
    ? [`${path}:${lineOf(text, match)}: a wait without a deadline: "${match[0].trim()}"`]
    : []
}

function ruleFaults({ path, text }: Source): readonly string[] {
  const applying = rules.filter((rule) => rule.in.test(path) && !rule.except?.test(path))
  return applying.flatMap(({ why, pattern }) => {
    const match = pattern.exec(text)
    return match ? [`${path}:${lineOf(text, match)}: ${why}: "${match[0].trim()}"`] : []
  })
}

function lineOf(text: string, match: RegExpExecArray): number {
  const start = match.index + match[0].length - match[0].trimStart().length
  return text.slice(0, start).split('\n').length
}
