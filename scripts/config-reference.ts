/**
 * Writes docs/configuration.md from the configuration schema: `node scripts/config-reference.ts`. With `--check` it
 * writes nothing and exits 1 if the page is out of date.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { inputSchema } from '../src/config/check.ts'
import { settings } from '../src/config/variables.ts'

const page = new URL('../docs/configuration.md', import.meta.url)

/** Renders the page. */
export function reference(): string {
  const schema = inputSchema() as Node
  return `${[intro, table('Top level', '', plain(schema)), ...sections(schema, ''), values, variables()].join('\n\n')}\n`
}

/** Subset of JSON Schema used here. */
interface Node {
  readonly title?: string
  readonly description?: string
  readonly type?: string | readonly string[]
  readonly enum?: readonly string[]
  readonly const?: unknown
  readonly anyOf?: readonly Node[]
  readonly default?: unknown
  readonly minimum?: number
  readonly maximum?: number
  readonly items?: Node
  readonly properties?: Readonly<Record<string, Node>>
  readonly additionalProperties?: Node | boolean
  readonly required?: readonly string[]
}

const intro = `# Configuration

This page is written by \`node scripts/config-reference.ts\` from the schema that reads the configuration.

The file is \`--config\`, else \`MAYFLY_CONFIG\`, else \`./mayfly.toml\`, else none. With \`MAYFLY_ENV=NAME\` the file
beside it whose name ends in \`.NAME.toml\` lies over it; variables lie over both, and flags over all. Tables are merged
key by key; lists, an escalation and a network replace what was there as a whole. A key that is not on this page is an
error that names file, line and column. A file that another spelling of NAME would read (\`Production\`, \`prod\`) is a warning.
\`mayfly policy check\` says whether a configuration can be used, with the files and names in it,
\`mayfly policy explain\` prints every value in force and where it came from.

## The file of the current folder

A \`./mayfly.toml\` that nobody named came with whatever was cloned or unpacked there. It may take and not give: one that
is anywhere looser than the defaults ends every command with exit code 2, \`CONFIG_UNTRUSTED\` and a line for each key that
loosens, the file of \`MAYFLY_ENV\` beside it too. \`mayfly policy trust\` takes it as it is now: its absolute path and
SHA-256 are kept in the state folder, so that a change takes the trust away. \`policy trust --list\` prints what is trusted,
\`policy trust --remove\` takes it back. \`--config FILE\` and \`MAYFLY_CONFIG\` need no trust: they were given by name. Each
key has a rule in \`src/config/loosens.ts\`; what has no rule, or cannot be compared, counts as looser.`

const values = `## Values

| word | written as |
|---|---|
| duration | milliseconds as a number, or text: \`"250ms"\`, \`"5s"\`, \`"2m"\`, \`"1h"\` |
| age | milliseconds as a number, or text: \`"12h"\`, \`"7d"\`, up to \`"365d"\` |
| size | bytes as a number, or text: \`"512KB"\`, \`"64MB"\`, \`"1GB"\`; 1 KB is 1,024 bytes |
| network | \`"none"\`, \`"open"\` (every public address), \`{ allow = ["api.example.com", "*.example.net", "https://a.example:8443"] }\` or \`{ deny = […] }\`. A bare host to allow is https on 443; a bare host to deny is every port of it. Where a configuration grants or bounds one, a host to allow may also be \`{ host = "https://registry.corp.example", private = true }\`: docs/how-to/network.md. With \`sent = "64KB"\` and \`received = "1MB"\` beside the hosts, no more bytes of one run |
| network policy | \`"None"\`, \`"Full"\`, \`{ AllowList = ["api.github.com"] }\` or \`{ DenyList = […] }\`; bare names to allow are ports 80 and 443 |
| files | \`"none"\` or \`{ read = ["/folder"], write = ["/folder"] }\`, absolute, each with all below it |
| fs policy | \`"None"\`, \`{ ReadOnly = ["/folder"] }\` or \`{ ReadWrite = ["/folder"] }\` |
| names | \`"any"\`, \`"none"\` or a list |
| escalation | a table from risk (0 to 100) to the least tier from there on, or \`"block"\`; a higher risk may not get a weaker tier |
| restraint | a table from risk (0 to 100) to what a job has from there on: \`cpu\`, \`memory\` and \`processes\` as a share (above 0, up to 1) of what it would have had, \`io\` in bytes a second as a size; a key left out stays as at the risk below, and none may be looser than there |`

function variables(): string {
  const rows = settings.map(({ variable, path }) => `| \`${variable}\` | \`${path.join('.')}\` |`)
  const more = [
    '| `MAYFLY_CONFIG` | the file, where `--config` is not given |',
    '| `MAYFLY_ENV` | the environment; `production` (or `prod`) refuses the mock |',
    '| `MAYFLY_ADMIN_KEY` | the first API key of a server, with scope admin unless it has an entry of its own; 32 characters or more |',
    '| `MAYFLY_API_KEY` | the key of a client; a server without `MAYFLY_ADMIN_KEY` takes it as its first, and says so |',
    '| `MAYFLY_SERVER` | the API that `mayfly sandbox` asks, where `--server` is not given |',
    '| `MAYFLY_SENTINEL` | `off`: walls have no sentinel; `all`: it is asked about every class of calls in every wall |',
    '| `MAYFLY_TEMPLATES` | `off`: no program is forked from a template; `all`: the first one waits for it |',
  ]
  return `## Variables

An unknown variable that starts with \`MAYFLY_\` is a warning. The flags of \`mayfly serve\` have the same names as the
variables that set a key of \`[server]\`.

| variable | sets |
|---|---|
${[...rows, ...more].join('\n')}`
}

function sections(node: Node, path: string): string[] {
  return Object.entries(node.properties ?? {}).flatMap(([name, inner]) => {
    const found = tableOf(inner, path ? `${path}.${name}` : name)
    if (!found) return []
    const { heading, fields } = found
    const text = inner.description ? `${inner.description}.` : ''
    return [table(heading, text, plain(fields), fields.required), ...sections(fields, heading)]
  })
}

/** Separate table on the page: a TOML table, a table by name, or a list of tables. */
function tableOf(
  { title, properties, additionalProperties, items }: Node,
  path: string,
): { readonly heading: string; readonly fields: Node } | undefined {
  if (title !== undefined) return undefined
  if (properties) return { heading: path, fields: { properties } }
  if (typeof additionalProperties === 'object' && additionalProperties.properties)
    return { heading: `${path}.NAME`, fields: additionalProperties }
  return items?.properties ? { heading: `${path}[]`, fields: items } : undefined
}

function plain({ properties = {} }: Node): readonly (readonly [string, Node])[] {
  return Object.entries(properties).filter(([name, inner]) => !tableOf(inner, name))
}

function table(
  heading: string,
  text: string,
  rows: readonly (readonly [string, Node])[],
  required: readonly string[] = [],
): string {
  const title = heading === 'Top level' ? `## ${heading}` : `## \`${heading}\``
  const lines = rows.map(
    ([name, node]) =>
      `| \`${name}\` | ${typeOf(node)} | ${required.includes(name) ? 'required' : defaultOf(node)} | ${cell(node.description ?? '')} |`,
  )
  const head = '| key | value | default | meaning |\n|---|---|---|---|'
  const body = lines.length > 0 ? [`${head}\n${lines.join('\n')}`] : []
  return [title, ...(text ? [text] : []), ...body].join('\n\n')
}

function typeOf(node: Node): string {
  if (node.title !== undefined) return node.title
  if (node.enum) return node.enum.map((word) => `\`"${word}"\``).join(', ')
  if (node.anyOf) return [...new Set(node.anyOf.map(typeOf))].join(' or ')
  if (node.items) return `list of ${typeOf(node.items)}`
  const { minimum, maximum } = node
  const isBounded = maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER
  const range = isBounded ? ` ${minimum === undefined ? 'up to' : `${minimum} to`} ${maximum}` : ''
  return `${typeof node.type === 'string' && node.type !== 'object' ? node.type : 'table'}${range}`
}

function defaultOf({ default: value }: Node): string {
  if (value === undefined) return 'none'
  const isTable = typeof value === 'object' && value !== null && !Array.isArray(value)
  if (!isTable) return `\`${JSON.stringify(value)}\``
  const members = Object.entries(value).map(([key, inner]) => `${key} = ${JSON.stringify(inner)}`)
  return `\`{ ${members.join(', ')} }\``
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|')
}

if (import.meta.main) {
  const text = reference()
  if (!process.argv.includes('--check')) writeFileSync(page, text)
  else if (readFileSync(page, 'utf8') !== text) {
    console.error('docs/configuration.md differs: run "node scripts/config-reference.ts"')
    process.exitCode = 1
  }
}
