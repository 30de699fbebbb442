import { readFileSync, statSync } from 'node:fs'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import type { ClosedPath, FolderBind } from '../contract/folder.ts'
import { attempt } from '../lib/attempt.ts'
import { isBelow } from '../lib/is-below.ts'
import { canonicalPath } from '../lib/real-path.ts'
import { absolutePath, existingPath, isFolder, type PathOrigin } from './paths.ts'

/**
 * Paths outside the folder that git needs, and paths inside from which git would run programs.
 *
 * - The `.git` of a linked worktree is a file that names a folder of the repository. That folder is mounted only if it
 *   names this worktree in turn: the file alone is untrusted, since it comes with the folder.
 * - Hooks may be in any folder (`core.hooksPath`), and configuration in any file (`include.path`): both are protected
 *   like `.git/hooks` and `.git/config`.
 * - The user's own configuration is hidden with HOME; its name, e-mail address and line-ending settings are passed as
 *   variables.
 *
 * The files are parsed as bounded text and git is never started, because its configuration can name programs to run.
 */
export interface GitSurroundings {
  readonly binds: readonly FolderBind[]
  readonly closed: readonly ClosedPath[]
  readonly variables: Readonly<Record<string, string>>
}

const FILE_BYTES_MAX = 2 ** 20
const INCLUDES_MAX = 16
/** Settings of the user that are no secrets and affect the content of a commit. */
const PASSED = ['user.name', 'user.email', 'core.autocrlf', 'core.eol', 'init.defaultbranch']
/** Signing needs a key, which is not inside the wall. */
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

/** Folder of the repository of a linked worktree, if both refer to each other. */
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

/** Lines of a configuration and of all files it includes; conditions of includes are ignored. */
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

/** Removes quotes and a trailing comment. */
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
    // Hooks in husky's generated folder run the scripts in its parent.
    return place.endsWith('/_') ? [place, dirname(place)] : [place]
  })
  const included = config.filter(isInclude).map((line) => includedBy(line, origin))
  // As written too: its links, and names that are missing, could come to lead elsewhere.
  return [...hooks, ...included]
    .flatMap((path) => [...new Set([path, canonicalPath(path)])])
    .filter((path) => isBelow(path, origin.folder) && path !== origin.folder)
    .map((path) => ({ path, to: 'write' }))
}

function userConfig(origin: PathOrigin): readonly ConfigLine[] {
  const { home } = origin
  if (home === undefined) return []
  const files = [join(home, '.config/git/config'), join(home, '.gitconfig')]
  return files.flatMap((file) => readConfig(file, origin))
}

/** Passes settings by GIT_CONFIG_COUNT, which takes precedence over git's files. */
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
  const facts = isAbsolute(file) ? attempt(() => statSync(file)) : undefined
  if (!facts?.isFile() || facts.size > FILE_BYTES_MAX) return undefined
  return attempt(() => readFileSync(file, 'utf8'))
}
