import { openApi } from './openapi.ts'

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
type Content = Readonly<Record<string, { readonly schema: Described }>>
interface Description {
  readonly info: { readonly title: string; readonly version: string; readonly description: string }
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, Described>> }
}

/** How deep a table shows what is inside of what. */
const DEPTH_MAX = 3

const style = `body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1f;background:#fff}
h2{margin-top:2.5rem;border-top:1px solid #ddd;padding-top:1rem}code,h3{font-family:ui-monospace,monospace}
table{border-collapse:collapse;width:100%;margin:.5rem 0}td,th{text-align:left;vertical-align:top;padding:.25rem .5rem;border-bottom:1px solid #eee}
.in{color:#666}@media(prefers-color-scheme:dark){body{color:#ddd;background:#16161a}td,th,h2{border-color:#333}.in{color:#999}a{color:#8ab4f8}}`

/** The description of the API as one page, without a script or anything from elsewhere. */
export function docsPage(version: string): string {
  const { info, paths, components } = openApi(version) as unknown as Description
  const calls = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([method]) => method !== 'parameters')
      .map(([method, operation]) => callOf(method, path, operation)),
  )
  const schemas = Object.entries(components.schemas).map(
    ([name, schema]) => `<h3 id="${text(name)}">${text(name)}</h3>${table(schema)}`,
  )
  return (
    `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${text(info.title)} API</title>` +
    `<meta name="viewport" content="width=device-width"><style>${style}</style></head><body>` +
    `<h1>${text(info.title)} API ${text(info.version)}</h1><p>${text(info.description)}</p>` +
    `<p>Keys go in <code>Authorization: Bearer mfy_…</code>. The same as data: <code>/openapi.json</code>.</p>` +
    `${calls.join('')}<h2>Bodies</h2>${schemas.join('')}</body></html>\n`
  )
}

function callOf(method: string, path: string, operation: Operation): string {
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
    `<h2><code>${method.toUpperCase()} ${text(path)}</code></h2>` +
    `<p><b>${text(operation.summary)}.</b> ${text(operation.description)}.${needs}</p>` +
    `<table>${asked.join('')}${body}${answers.join('')}</table>`
  )
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
