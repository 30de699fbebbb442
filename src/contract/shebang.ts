import type { Language } from './job.ts'

/** Longer first lines are no shebang: Linux reads 256 bytes (BINPRM_BUF_SIZE). */
const LINE_CHARS_MAX = 255
const LINE = /^#![ \t]*(\S+)(?:[ \t]+(.*))?$/s

const languageOfInterpreter: readonly (readonly [RegExp, Language])[] = [
  [/^bash$/, 'bash'],
  [/^(sh|dash|ash)$/, 'sh'],
  [/^python(3(\.\d+)?)?$/, 'python'],
  [/^(node|nodejs)$/, 'node'],
]

/** Program named by the first line of a script, without its folder; undefined without a shebang. */
export function interpreterOf(source: string): string | undefined {
  if (!source.startsWith('#!')) return undefined
  const line = source.slice(0, LINE_CHARS_MAX + 1).split('\n', 1)[0]!
  const [, file = '', rest = ''] =
    (line.length <= LINE_CHARS_MAX && LINE.exec(line.trimEnd())) || []
  const name = baseOf(file)
  if (name !== 'env') return name || undefined
  const words = rest.split(/[ \t]+/)
  const program = words.find((word) => !word.startsWith('-') && !word.includes('='))
  return program === undefined ? undefined : baseOf(program) || undefined
}

/** Language of that program, if supported. */
export function languageOfShebang(source: string): Language | undefined {
  const name = interpreterOf(source)
  if (name === undefined) return undefined
  return languageOfInterpreter.find(([pattern]) => pattern.test(name))?.[1]
}

function baseOf(file: string): string {
  return file.slice(file.lastIndexOf('/') + 1)
}
