import type { Job } from './job.ts'
import { remedyText } from './remedy.ts'
import { stdinReaders } from './stdin-readers.ts'
import type { Verdict } from './verdict.ts'

/**
 * Warning of a job that ended well and did nothing with what it was given: its input was not read, or a function that waits for it,
 * such as a handler of cloud functions, was not called. Goes by the text of the source, so that it holds for each wall; where that
 * may read, there is none.
 */
export interface EndedQuietly {
  readonly resultText: string
  readonly hasOutput: boolean
}

/*
 * The sources of jobs are large and hostile, and the server's only thread reads them. So no pattern may begin again within text that it
 * has passed: a line begins with `[ \t]*`, because `\s*` would pass the lines after it, and braces hold no brace.
 */

/** Commands that read standard input, or may run one that does. */
const SHELL_READERS =
  /\b(?:awk|base64|bash|bc|cat|cut|dd|diff|env|exec|eval|fold|grep|gunzip|gzip|head|jq|less|mapfile|md5sum|more|node|nl|od|paste|perl|python\d?|read|readarray|rev|ruby|sed|select|sh|sha\d+sum|sort|source|stdin|sum|tac|tail|tar|tee|tr|uniq|wc|while|xargs|xxd|zcat)\b|<&|\.\/|\/dev\/fd/
const INPUT = /\binput\b/
const DEFAULT_EXPORT = /\bexport\s+default\b|\bexport\s*\{[^{}]*\bdefault\b/
const PYTHON_MAIN = /^(?:async\s+)?def\s+main\s*\(\s*[^)\s]/m

interface Reading {
  readonly reads: readonly RegExp[]
  /** Place of the input. */
  readonly place: string
}

const scripts: Reading = {
  reads: [INPUT, DEFAULT_EXPORT],
  place: 'it is the global "input", and the argument of a function that is the default export',
}
const shells: Reading = { reads: [SHELL_READERS], place: 'it is JSON on standard input' }
const readings: Readonly<Partial<Record<Verdict['language'], Reading>>> = {
  js: scripts,
  ts: scripts,
  node: {
    reads: [stdinReaders.node, DEFAULT_EXPORT],
    place:
      'it is JSON on standard input, and the argument of a function that is the default export',
  },
  python: {
    reads: [stdinReaders.python, INPUT, PYTHON_MAIN],
    place: 'it is the global "input", and JSON on standard input',
  },
  sh: shells,
  bash: shells,
}

/** Functions that an entry calls, as sources define them. */
const callees: readonly (readonly [entry: 'handler' | 'module', source: RegExp])[] = [
  ['handler', /^[ \t]*(?:module\.)?exports\.(handler)\s*=/m],
  ['handler', /^[ \t]*export\s+(?:const|let|var|(?:async\s+)?function\*?)\s+(handler)\b/m],
  ['handler', /^[ \t]*export\s*\{[^{}]*\b(handler)\b/m],
  ['handler', /^[ \t]*module\.exports\s*=\s*\{[^{}]*\b(handler)\b/m],
  ['module', /^[ \t]*(module\.exports)\s*=\s*(?:async\b|function\b|\(|[\w$]+\s*=>)/m],
]
const PYTHON_HANDLER = /^(?:async\s+)?def\s+((?:lambda_)?handler)\s*\(/m
/** Entries that call a function. */
const calling: ReadonlySet<string> = new Set(['function', 'main', 'handler'])

/** Undefined where there is nothing to say. */
export function unreadInput(
  { asked, session }: Pick<Job, 'asked' | 'session'>,
  { language, entry }: Pick<Verdict, 'language' | 'entry'>,
  { resultText, hasOutput }: EndedQuietly,
): string | undefined {
  const reading = readings[language]
  // Cells of a session share what they were given.
  if (!reading || session || asked.calls || calling.has(entry) || isDefault(asked, entry)) return
  const sources = [asked.code, ...asked.files.map(({ content }) => content)]
  const isGiven = asked.input !== undefined && asked.input !== null
  const isUnread = isGiven && !sources.some((text) => reading.reads.some((one) => one.test(text)))
  const callee = calleeIn(asked.code, language)
  if (callee && (isUnread || (!hasOutput && resultText === 'null')))
    return `${isUnread ? 'The input was not read: nothing' : 'Nothing'} calls "${callee.name}" (${remedyText({ field: 'entry', value: callee.entry })} does)`
  return isUnread ? `The input was not read: ${reading.place}` : undefined
}

/** True if the default export of a program of Node was called. */
const isDefault = ({ entry }: Job['asked'], own: string): boolean =>
  own === 'module' && entry === 'module'

/** A name that the source has once more is called by it, or given to what calls it. */
function calleeIn(code: string, language: Verdict['language']) {
  const defined = language === 'python' ? ([['handler', PYTHON_HANDLER]] as const) : callees
  for (const [entry, source] of defined) {
    const name = source.exec(code)?.[1]
    if (name !== undefined && code.split(name).length === 2) return { entry, name }
  }
  return undefined
}
