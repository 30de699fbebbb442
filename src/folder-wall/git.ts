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
 * - Hooks may be in any folder (`core.hooksPath`), configuration in any file (`include.path`), and programs that git
 *   starts by itself in any place (`core.fsmonitor`, filters, merge drivers): all are protected like `.git/hooks` and
 *   `.git/config`, whichever configuration names them, of the repository, a worktree, the user or the system.
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
const SYSTEM_CONFIG = '/etc/gitconfig'
/** Settings whose values are commands that git runs. */
const COMMANDS =
  /^(?:core\.(?:fsmonitor|sshcommand|editor|pager|askpass|gitproxy)|sequence\.editor|pager\..+|alias\..+|filter\..+\.(?:clean|smudge|process)|interactive\.difffilter|diff\.external|(?:diff|merge)\..+\.(?:command|textconv|driver)|(?:diff|merge)tool\..+\.cmd|credential\.(?:.+\.)?helper|gpg\.(?:.+\.)?program|hook\..+\.command|trailer\..+\.(?:command|cmd))$/s
const WORDS_MAX = 64

/** Folders and variables by which git's configuration is found. */
export interface GitOrigin extends PathOrigin {
  readonly environment?: Readonly<Record<string, string | undefined>>
}

export function gitSurroundings(origin: GitOrigin): GitSurroundings {
  const { folder } = origin
  const dotGit = join(folder, '.git')
  const own = isFolder(dotGit) ? dotGit : worktreeFolderOf(folder)
  const common = own === undefined || own === dotGit ? own : dirname(dirname(own))
  const files =
    own === undefined ? [] : [join(common!, 'config'), ...[common!, own].map(worktreeConfig)]
  const user = userConfig(origin)
  const all = [SYSTEM_CONFIG, ...new Set(files)].flatMap((file) => readConfig(file, origin))
  const worktree = common !== undefined && common !== dotGit ? [common] : []
  return {
    binds: worktree.map((path) => ({ path, isWritable: true })),
    closed: closedBy([...all, ...user], origin),
    variables: variablesOf(user),
  }
}

const worktreeConfig = (folder: string) => join(folder, 'config.worktree')

/** Folder of a linked worktree in its repository, if both refer to each other. */
function worktreeFolderOf(folder: string): string | undefined {
  const text = readSmall(join(folder, '.git'))
  const named = /^gitdir: ([^\r\n]+)$/m.exec(text ?? '')?.[1]
  const own = named === undefined ? undefined : existingPath(resolve(folder, named))
  if (own === undefined || !/\/\.git\/worktrees\/[^/]+$/.test(own)) return undefined
  const back = readSmall(join(own, 'gitdir'))?.trim()
  const isOurs = back !== undefined && existingPath(resolve(own, back)) === join(folder, '.git')
  return isOurs ? own : undefined
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
  return key === 'include.path' || /^includeif\..*\.path$/s.test(key)
}

function includedBy({ value, file }: ConfigLine, origin: PathOrigin): string {
  return value.startsWith('~/') ? absolutePath(value, origin) : resolve(dirname(file), value)
}

function linesOf(text: string, file: string): ConfigLine[] {
  let section = ''
  const lines: ConfigLine[] = []
  for (const line of text.replaceAll('\r\n', '\n').replaceAll('\\\n', '').split('\n')) {
    const [, name, sub] = /^\s*\[\s*([\w.-]+)(?:\s+"((?:[^"\\]|\\.)*)")?\s*\]/.exec(line) ?? []
    if (name !== undefined) section = [name, ...(sub === undefined ? [] : [sub])].join('.')
    const [, key, value = ''] =
      /^\s*(?:\[[^\]]*\]\s*)?([A-Za-z][\w-]*)\s*=\s*(.*)$/s.exec(line) ?? []
    if (key !== undefined)
      lines.push({ key: `${section}.${key}`.toLowerCase(), value: plain(value), file })
  }
  return lines
}

/** Without quotes and a comment, wherever they stand, as git reads a value. */
function plain(value: string): string {
  const part = /"((?:[^"\\]|\\.)*)"?|[#;].*|(\\.)/gs
  return value
    .replace(part, (_, quoted = '', escaped = '') => (quoted + escaped).replace(/\\(.)/gs, '$1'))
    .trim()
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
  return [...hooks, ...included, ...programsOf(config, origin)]
    .flatMap((path) => [...new Set([path, canonicalPath(path)])])
    .filter((path) => isBelow(path, origin.folder) && path !== origin.folder)
    .map((path) => ({ path, to: 'write' }))
}

/** Words of commands that are paths of files, or of names with a folder that are not there. */
function programsOf(config: readonly ConfigLine[], origin: PathOrigin): readonly string[] {
  const commands = config.filter(({ key }) => COMMANDS.test(key))
  const words = commands.flatMap(({ value }) => value.split(/[ \t\n\v\f\r"'|&;<>()=!$`]+/))
  const paths = words
    .filter((word) => word !== '' && (origin.home !== undefined || !word.startsWith('~')))
    .map((word) => ({ path: absolutePath(word, origin), hasFolder: /[^/]\/[^/]/.test(word) }))
  const isProgram = (path: string, hasFolder: boolean) =>
    attempt(() => statSync(path))?.isFile() ?? hasFolder
  return paths
    .filter(({ path, hasFolder }) => isBelow(path, origin.folder) && isProgram(path, hasFolder))
    .map(({ path }) => path)
    .slice(0, WORDS_MAX)
}

function userConfig(origin: GitOrigin): readonly ConfigLine[] {
  const { home, environment = {} } = origin
  if (home === undefined) return []
  const global = environment['GIT_CONFIG_GLOBAL']
  const shared = environment['XDG_CONFIG_HOME'] || join(home, '.config')
  const files = global ? [global] : [join(shared, 'git/config'), join(home, '.gitconfig')]
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
