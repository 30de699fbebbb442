import { pagePolicy } from './page.ts'
import { headerExamples, pathExamples, queryExamples, rawBodyExamples } from './examples.ts'
import { openApi } from '../openapi.ts'

interface Described {
  readonly $ref?: string
  readonly type?: string | readonly string[]
  readonly const?: unknown
  readonly enum?: readonly unknown[]
  readonly description?: string
  readonly properties?: Readonly<Record<string, Described>>
  readonly required?: readonly string[]
  readonly items?: Described
  readonly anyOf?: readonly Described[]
  readonly oneOf?: readonly Described[]
  readonly default?: unknown
}
interface Operation {
  readonly operationId: string
  readonly tags: readonly string[]
  readonly summary: string
  readonly description: string
  readonly security?: readonly unknown[]
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: { readonly content: Content }
  readonly responses: Readonly<
    Record<string, { readonly description?: string; readonly content?: Content }>
  >
}
interface Parameter {
  readonly name: string
  readonly in: string
  readonly description?: string
}
type Content = Readonly<Record<string, { readonly schema: Described; readonly example?: unknown }>>
interface Description {
  readonly info: { readonly title: string; readonly version: string; readonly description: string }
  readonly tags: readonly { readonly name: string; readonly description: string }[]
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, Described>> }
}

/** Nesting depth of the tables of body fields. */
const DEPTH_MAX = 3

const style = `:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#16211e;background:#fff}
h2{margin-top:2.2rem;border-top:1px solid #dbe2df;padding-top:1rem;font-size:1.1rem}
code,pre,h3[id]{font-family:ui-monospace,Menlo,Consolas,monospace;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%;margin:.5rem 0}
td,th{text-align:left;vertical-align:top;padding:.25rem .5rem .25rem 0;border-bottom:1px solid #e6ebe9;overflow-wrap:anywhere}
td:first-child{min-width:6.5rem}
pre{padding:.6rem .8rem;overflow-x:auto;background:#f3f5f4;border-radius:8px;font-size:13px;white-space:pre-wrap}
nav{columns:2 20rem}nav section{break-inside:avoid}nav h3{margin:.6rem 0 .2rem}nav ul{margin:0;padding-left:1.1rem}
h3[id]{margin-top:1.8rem}summary{cursor:pointer;color:#566762}a{color:#0b7468}.in{color:#566762}
@media(prefers-color-scheme:dark){body{color:#e4ebe8;background:#10151a}td,th,h2{border-color:#2b3640}pre{background:#182027}
.in,summary{color:#95a5a0}a{color:#3ecfb9}}`

/** Renders the API description as one page without scripts or external resources; `origin` is the API's own. */
export function docsPage(version: string, origin: string) {
  if (made?.version !== version) {
    const page = pageOf(version, ORIGIN)
    const pieces = page.split(ORIGIN).map((piece) => Buffer.from(piece))
    made = { version, pieces, policy: pagePolicy(page, []) }
  }
  const { pieces, policy } = made
  const own = Buffer.from(origin)
  const page = Buffer.concat(pieces.flatMap((piece, at) => (at === 0 ? [piece] : [own, piece])))
  return { page, policy }
}

const ORIGIN = '%ORIGIN%'
/** Made once: it takes 15 ms of the server's only thread, and on the static port no key. */
let made:
  | { readonly version: string; readonly pieces: readonly Buffer[]; readonly policy: string }
  | undefined

function pageOf(version: string, origin: string): string {
  const { info, tags, paths, components } = openApi(version) as unknown as Description
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([method]) => method !== 'parameters')
      .map(([method, operation]) => ({ method, path, operation })),
  )
  const groups = tags.map((tag) => ({
    ...tag,
    calls: operations.filter(({ operation }) => operation.tags.includes(tag.name)),
  }))
  const contents = groups.map(
    ({ name, calls }) =>
      `<section><h3>${text(name)}</h3><ul>${calls.map(contentOf).join('')}</ul></section>`,
  )
  const bodies = groups.map(
    ({ name, description, calls }) =>
      `<h2>${text(name)}</h2><p>${text(description)}.</p>${calls.map((one) => callOf(one, origin)).join('')}`,
  )
  const schemas = Object.entries(components.schemas).map(
    ([name, schema]) => `<h3 id="${text(name)}">${text(name)}</h3>${table(schema)}`,
  )
  return (
    `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${text(info.title)} API</title>` +
    '<meta name="viewport" content="width=device-width,initial-scale=1">' +
    `<link rel="icon" href="data:,"><style>${style}</style></head><body>` +
    `<h1>${text(info.title)} API ${text(info.version)}</h1><p>${text(info.description)}</p>` +
    '<p>Keys go in <code>Authorization: Bearer mfy_…</code>; the first start prints one, <code>mayfly access create</code> ' +
    'makes more. The same as data: <code>/openapi.json</code>. Each example runs as it stands where ' +
    '<code>MAYFLY_API_KEY</code> holds a key, and <code>ID</code> the id of an execution.</p>' +
    `<nav aria-label="Calls">${contents.join('')}</nav>` +
    `${bodies.join('')}<h2>Bodies</h2>${schemas.join('')}</body></html>\n`
  )
}

interface Call {
  readonly method: string
  readonly path: string
  readonly operation: Operation
}

function contentOf({ method, path, operation }: Call): string {
  const name = `<a href="#${text(operation.operationId)}">${text(operation.summary)}</a>`
  return `<li>${name} <span class="in">${method.toUpperCase()} ${text(path)}</span></li>`
}

function callOf({ method, path, operation }: Call, origin: string): string {
  const { parameters = [], requestBody, responses } = operation
  const needs = operation.security?.length === 0 ? ' Needs no key.' : ''
  const asked = parameters.map(({ name, in: where, description = '' }) =>
    row([`<code>${text(name)}</code> <span class="in">${text(where)}</span>`, text(description)]),
  )
  const body = requestBody ? row(['body', typesOf(requestBody.content)]) : ''
  const answers = Object.entries(responses).map(([status, { description = '', content = {} }]) =>
    row([status, `${text(description)} ${typesOf(content)}`]),
  )
  return (
    `<h3 id="${text(operation.operationId)}">${method.toUpperCase()} ${text(path)}</h3>` +
    `<p><b>${text(operation.summary)}.</b> ${text(operation.description)}.${needs}</p>` +
    `<pre tabindex="0">${text(curlOf(method, path, operation, origin))}</pre>` +
    `<details><summary>Request and responses</summary><table>${asked.join('')}${body}${answers.join('')}</table></details>`
  )
}

/** The call as a shell command: values known only to the caller are shell variables. */
function curlOf(method: string, path: string, operation: Operation, origin: string): string {
  const { operationId, security, requestBody } = operation
  const example = requestBody?.content['application/json']?.example
  const named = path.replace(/\{(\w+)\}/g, (_, word: string) => `$${word.toUpperCase()}`)
  const query = queryExamples[operationId]
  const at = pathExamples[path] ?? named
  const where = query === undefined ? at : `"${origin}${at}${query}"`
  const raw = rawBodyExamples[operationId]
  const headers = [
    ...(security?.length === 0 ? [] : ['"Authorization: Bearer $MAYFLY_API_KEY"']),
    ...(headerExamples[operationId] ?? []).map((header) => `"${header}"`),
    ...(example === undefined ? [] : ["'Content-Type: application/json'"]),
  ]
  const verb =
    method === 'get' || (method === 'post' && example !== undefined)
      ? ''
      : ` -X ${method.toUpperCase()}`
  const lines = [
    `curl -s${verb} ${query === undefined ? origin : ''}${where}`,
    ...headers.map((header) => `-H ${header}`),
    ...(example === undefined
      ? []
      : [`-d '${JSON.stringify(example).replaceAll("'", String.raw`'\''`)}'`]),
    ...(raw === undefined ? [] : [`--data-binary '${raw}'`]),
  ]
  return lines.join(' \\\n  ')
}

function typesOf(content: Content): string {
  return Object.entries(content)
    .map(([type, { schema }]) => `<span class="in">${text(type)}</span> ${typeOf(schema)}`)
    .join(', ')
}

function table(schema: Described): string {
  const rows = rowsOf(schema, '', 0)
  return rows.length > 0 ? `<table>${rows.join('')}</table>` : `<p>${typeOf(schema)}</p>`
}

function rowsOf(schema: Described, before: string, depth: number): readonly string[] {
  if (depth === DEPTH_MAX) return []
  return Object.entries(schema.properties ?? {}).flatMap(([name, inner]) => {
    const mark = schema.required?.includes(name) ? '' : ' <span class="in">optional</span>'
    const { default: given } = inner
    const unless =
      given === undefined ? '' : ` Default <code>${text(JSON.stringify(given))}</code>.`
    const label = `<code>${text(before + name)}</code>${mark}`
    const inside = inner.items ?? inner
    return [
      row([label, typeOf(inner), text(inner.description ?? '') + unless]),
      ...rowsOf(inside, `${before}${name}${inner.items ? '[]' : ''}.`, depth + 1),
    ]
  })
}

function typeOf(schema: Described): string {
  if (schema.$ref) {
    const name = text(schema.$ref.split('/').at(-1)!)
    return `<a href="#${name}">${name}</a>`
  }
  const choices = schema.anyOf ?? schema.oneOf
  if (choices) return choices.map(typeOf).join(' or ')
  if (schema.enum)
    return schema.enum.map((one) => `<code>${text(JSON.stringify(one))}</code>`).join(' ')
  if (schema.const !== undefined) return `<code>${text(JSON.stringify(schema.const))}</code>`
  if (schema.items) return `list of ${typeOf(schema.items)}`
  return text([schema.type ?? 'anything'].flat().join(' or '))
}

function row(cells: readonly string[]): string {
  return `<tr>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>`
}

function text(value: string): string {
  return value.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`)
}
