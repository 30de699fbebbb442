/** Units of a line that are read and quoted. */
const LINE_MAX = 200
const QUOTED_MAX = 40

const INSTALL = /^[!%]?\s*((?:pip3?|conda|npm|yarn|pnpm)\s+(?:install|add|i))\b/
const COMMAND = /^!\s*(\w[^"\\]*)/
const MAGIC = /^%%?[a-z]\w*/
const HELP = /^\?{0,2}([\w.]+)\?{0,2}$/

/**
 * Names notebook or shell syntax in a line at which a parser failed, and what to write in its place; undefined for any other line.
 */
export function notebookHint(text: string, language: 'python' | 'js'): string | undefined {
  const line = text.trim().slice(0, LINE_MAX).replace(/;$/, '')
  const [, install] = INSTALL.exec(line) ?? []
  if (install !== undefined)
    return `"${install}" is a command of a shell, and packages come with the job or its image: code does not install them`
  const [, command = ''] = COMMAND.exec(line) ?? []
  if (command !== '')
    return `"!" is notebook syntax for a command: ${byCommand[language](command.slice(0, QUOTED_MAX))}`
  const [magic = ''] = MAGIC.exec(line) ?? []
  if (magic !== '')
    return `"${magic.slice(0, QUOTED_MAX)}" is notebook syntax: leave it out (figures are shown without it)`
  const [, name = ''] = line.includes('?') ? (HELP.exec(line) ?? []) : []
  if (name === '') return undefined
  const write = language === 'python' ? 'help' : 'console.log'
  return `"?" is notebook syntax: write ${write}(${name.slice(0, QUOTED_MAX)})`
}

const byCommand = {
  python: (command: string) => `write subprocess.run("${command}", shell=True)`,
  js: () => 'run it as code of language "bash"',
} as const
