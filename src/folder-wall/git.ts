import { readFileSync, statSync } from 'node:fs'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import type { ClosedPath, FolderBind } from '../contract/folder.ts'
import { isBelow } from '../lib/is-below.ts'
import { absolutePath, canonicalPath, existingPath, isFolder, type PathOrigin } from './paths.ts'

/**
 * Places outside of the folder that git needs, and places inside whose programs it would run.
 *
 * - A linked worktree has a file in the place of `.git`, which leads to a folder of the repository. That is shown if the
 *   repository names this worktree as its own: the file alone is the folder's word, which a stranger may have written.
 * - Hooks may lie in any folder (`core.hooksPath`), and configuration in any file (`include.path`): both are protected as
 *   `.git/hooks` and `.git/config` are.
 * - The user's own configuration is hidden with HOME; name, address and line ends of it are passed on as variables.
 *
 * The files are read as text, bounded, and nothing of git is started: a configuration can name programs.
 */
export interface GitSurroundings {
  readonly binds: readonly FolderBind[]
  readonly closed: readonly ClosedPath[]
  readonly variables: Readonly<Record<string, string>>
}

const FILE_BYTES_MAX = 2 ** 20
const INCLUDES_MAX = 16
/** Settings of the user that are nobody's secret, and change what a commit has in it. */
const PASSED = ['user.name', 'user.email', 'core.autocrlf', 'core.eol', 'init.defaultbranch']
/** Signing takes a key, which is not in the wall. */
const SET = { 'commit.gpgsign': 'false', 'tag.gpgsign': 'false' }

export function gitSurroundings(origin: PathOrigin): GitSurroundings {
  const { folder } = origin
  const dotGit = join(folder, '.git')
  const common = isFolder(dotGit) ? dotGit : commonFolderOf(folder)
  const config = common === undefined ? [] : readConfig(join(common, 'config'), origin)
  const worktree = common !== undefined && common !== dotGit ? [common] : []
  return {
    binds: worktree.map((path) => ({ path, isWritable: true })),
    closed: closedBy(config, origin),
    variables: variablesOf(userConfig(origin)),
  }
}

/** Folder of the repository that a linked worktree belongs to, if both say so. */
function commonFolderOf(folder: string): string | undefined {
  const text = readSmall(join(folder, '.git'))
  const named = /^gitdir: (.+)$/m.exec(text ?? '')?.[1]
  const own = named === undefined ? undefined : existingPath(resolve(folder, named))
  if (own === undefined || !/\/\.git\/worktrees\/[^/]+$/.test(own)) return undefined
  const back = readSmall(join(own, 'gitdir'))?.trim()
  const isOurs = back !== undefined && existingPath(resolve(own, back)) === join(folder, '.git')
  return isOurs ? dirname(dirname(own)) : undefined
}

interface ConfigLine {
  /** Section and key, in lower case: `core.hookspath`. */
  readonly key: string
  readonly value: string
  readonly file: string
}

/** Lines of a configuration and of what it includes, whatever the conditions of that are. */
function readConfig(file: string, origin: PathOrigin, seen = new Set<string>()): ConfigLine[] {
  const text = seen.size < INCLUDES_MAX && !seen.has(file) ? readSmall(file) : undefined
  if (text === undefined) return []
  seen.add(file)
  return linesOf(text, file).flatMap((line) =>
    isInclude(line) ? [line, ...readConfig(includedBy(line, origin), origin, seen)] : [line],
  )
}

function isInclude({ key }: ConfigLine): boolean {
  return key === 'include.path' || /^includeif\..*\.path$/.test(key)
}

function includedBy({ value, file }: ConfigLine, origin: PathOrigin): string {
  return value.startsWith('~/') ? absolutePath(value, origin) : resolve(dirname(file), value)
}

function linesOf(text: string, file: string): ConfigLine[] {
  let section = ''
  const lines: ConfigLine[] = []
  for (const line of text.replaceAll('\\\n', '').split('\n')) {
    const [, name, sub] = /^\s*\[\s*([\w.-]+)(?:\s+"((?:[^"\\]|\\.)*)")?\s*\]/.exec(line) ?? []
    if (name !== undefined) section = [name, ...(sub === undefined ? [] : [sub])].join('.')
    const [, key, value = ''] =
      /^\s*(?:\[[^\]]*\]\s*)?([A-Za-z][\w-]*)\s*=\s*(.*)$/.exec(line) ?? []
    if (key !== undefined)
      lines.push({ key: `${section}.${key}`.toLowerCase(), value: plain(value), file })
  }
  return lines
}

/** Without quotes, and without a comment behind it. */
function plain(value: string): string {
  const quoted = /^"((?:[^"\\]|\\.)*)"/.exec(value)?.[1]
  return (quoted ?? value.replace(/\s+[#;].*$/, '')).replace(/\\(.)/g, '$1').trim()
}

function closedBy(config: readonly ConfigLine[], origin: PathOrigin): readonly ClosedPath[] {
  const hooks = config.flatMap(({ key, value }) => {
    if (key !== 'core.hookspath' || value === '') return []
    const place = value.startsWith('~/')
      ? absolutePath(value, origin)
      : resolve(origin.folder, value)
    // Husky's folder of generated hooks runs the scripts beside it.
    return place.endsWith('/_') ? [place, dirname(place)] : [place]
  })
  const included = config.filter(isInclude).map((line) => includedBy(line, origin))
  return [...hooks, ...included]
    .map((path) => canonicalPath(path))
    .filter((path) => isBelow(path, origin.folder) && path !== origin.folder)
    .map((path) => ({ path, to: 'write' }))
}

function userConfig(origin: PathOrigin): readonly ConfigLine[] {
  const { home } = origin
  if (home === undefined) return []
  const files = [join(home, '.config/git/config'), join(home, '.gitconfig')]
  return files.flatMap((file) => readConfig(file, origin))
}

/** Settings by GIT_CONFIG_COUNT, which git reads after its files. */
function variablesOf(config: readonly ConfigLine[]): Readonly<Record<string, string>> {
  const passed = PASSED.flatMap((key) => {
    const value = config.findLast((line) => line.key === key)?.value
    return value === undefined ? [] : [[key, value] as const]
  })
  const all = [...passed, ...Object.entries(SET)]
  const pairs = all.flatMap(([key, value], at) => [
    [`GIT_CONFIG_KEY_${at}`, key],
    [`GIT_CONFIG_VALUE_${at}`, value],
  ])
  return { GIT_CONFIG_COUNT: `${all.length}`, ...Object.fromEntries(pairs) }
}

function readSmall(file: string): string | undefined {
  try {
    const facts = isAbsolute(file) ? statSync(file) : undefined
    return facts?.isFile() && facts.size <= FILE_BYTES_MAX ? readFileSync(file, 'utf8') : undefined
  } catch {
    return undefined
  }
}
