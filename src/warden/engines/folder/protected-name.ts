import { folderPolicy } from '../../../jail/folder.ts'

/**
 * Name of the rule that protects a path against changes, or undefined. The wall applies these rules at each call
 * (`guest/folder/judge.c`); a commit applies them again, more coarsely, because other programs of the same user may
 * write to a view.
 */
export function protectedName(path: string): string | undefined {
  const names = path.toLowerCase().split('/')
  const repository = nameInGit(names) ?? nameInOther(names)
  if (repository !== undefined) return repository
  const packages = names.findIndex((name) => PACKAGES.has(name))
  rules ??= folderPolicy().names.filter(({ rule }) => !/[xt]/.test(rule))
  for (const [at, name] of names.entries())
    for (const { name: pattern, rule } of rules) {
      const isOfPackage = packages >= 0 && packages < at && rule.includes('p')
      if (!isOfPackage && matches(name, pattern)) return pattern
    }
  return undefined
}

/** Rules that apply everywhere: without exceptions, and without those from which test folders are exempt. */
let rules: ReturnType<typeof folderPolicy>['names'] | undefined

/** Names of git's configuration, and of what leads git to another repository. */
export const gitNames = new Set(['config', 'config.worktree', 'commondir', 'gitdir', 'hooks'])
/** Folders of git in which a branch may have the same name as one of git's own files. */
const REFERENCES = new Set(['refs', 'logs', 'objects'])
/** Folders of other version control systems, with the files in them that name programs or lead to another repository. */
const OTHERS: Readonly<Record<string, ReadonlySet<string>>> = {
  '.hg': new Set(['hgrc', 'hgrc-not-shared', 'sharedpath']),
  '.jj': new Set(['config.toml', 'workspace-config.toml', 'repo']),
  '.sl': new Set(['config', 'sharedpath', 'requires']),
}
const PACKAGES = new Set(['node_modules', 'site-packages', 'dist-packages'])

function nameInGit(names: readonly string[]): string | undefined {
  const own = names.indexOf('.git')
  const [first, ...rest] = own < 0 ? [] : names.slice(own + 1)
  if (own >= 0 && first === undefined) return '.git'
  if (first === undefined || REFERENCES.has(first)) return undefined
  const found = [first, ...rest].find((name) => gitNames.has(name))
  return found === undefined ? undefined : `.git/${found}`
}

/** As in `guest/folder/judge.c`: the folder itself, and the last name of a path below it. */
function nameInOther(names: readonly string[]): string | undefined {
  return Object.keys(OTHERS).find((folder) => {
    const at = names.indexOf(folder)
    return at >= 0 && (at === names.length - 1 || OTHERS[folder]!.has(names.at(-1)!))
  })
}

/** A star matches any characters. */
function matches(name: string, pattern: string): boolean {
  const [start = '', ...rest] = pattern.split('*')
  if (rest.length === 0) return name === pattern
  const end = rest.at(-1)!
  return name.length >= start.length + end.length && name.startsWith(start) && name.endsWith(end)
}
