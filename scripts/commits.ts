import { execFileSync } from 'node:child_process'
import { root } from '../tests/tidy/tree.ts'

/** Lines that a commit may change before its message needs a body. */
const plainLinesMax = 20
const subjectCharactersMax = 100
/** `room: imperative summary`; several rooms with commas. */
const subject = /^[a-z0-9][a-z0-9-]*(, [a-z0-9][a-z0-9-]*)*: [a-z]/

export interface Commit {
  readonly id: string
  readonly message: string
  readonly changedLines: number
}

/** Faults of messages that do not say what the commit does, or why. */
export function commitFaults(commits: readonly Commit[]): readonly string[] {
  return commits.flatMap(({ id, message, changedLines }) => {
    const [first = '', ...rest] = message.split('\n')
    const body = rest.join('\n').trim()
    const name = `${id.slice(0, 9)} "${first}"`
    const faults = []
    if (!subject.test(first) || first.length > subjectCharactersMax)
      faults.push(`${name}: the subject is not "room: imperative summary"`)
    if (changedLines > plainLinesMax && body === '')
      faults.push(`${name}: ${changedLines} lines changed and no body says why`)
    return faults
  })
}

/** Commits of a range, merges excepted; by default those that the remote main does not have. */
export function commitsIn(range: string | undefined): readonly Commit[] {
  const wanted = range ?? defaultRange()
  if (wanted === undefined) return []
  const ids = git('rev-list', '--no-merges', wanted).split('\n').filter(Boolean)
  return ids.map((id) => ({
    id,
    message: git('log', '-1', '--format=%B', id).trim(),
    changedLines: linesIn(git('show', '--numstat', '--format=', id)),
  }))
}

/** Range since the remote's main; undefined in a checkout without it, such as an archive or a shallow clone. */
function defaultRange(): string | undefined {
  try {
    git('rev-parse', '--verify', '--quiet', 'origin/main')
    return 'origin/main..HEAD'
  } catch {
    return undefined
  }
}

/** Binary files count as no lines. */
function linesIn(numstat: string): number {
  return numstat.split('\n').reduce((sum, line) => {
    const [added = '', removed = ''] = line.split('\t')
    return sum + (Number(added) || 0) + (Number(removed) || 0)
  }, 0)
}

function git(...args: readonly string[]): string {
  return execFileSync('git', args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
}
