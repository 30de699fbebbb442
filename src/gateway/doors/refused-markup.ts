/** Part of a page that its policy refuses, with the line of the first one of its kind. */
export interface RefusedMarkup {
  readonly line: number
  readonly what: string
}

const ATTRIBUTE = /([^\s"'<>/=]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+)))?/gy
const GAP = /[\s/]*/y
const loads: Readonly<Record<string, string>> = {
  script: 'src',
  img: 'src',
  audio: 'src',
  video: 'src',
  source: 'src',
  link: 'href',
  form: 'action',
}
const loadingLink = /\b(?:stylesheet|icon|manifest|preload|modulepreload)\b/i

/** Inline handlers and styles, `javascript:` addresses, frames, and files of other hosts; see `pagePolicy`. Each kind once. */
export function refusedMarkup(html: string): readonly RefusedMarkup[] {
  const found = new Map<string, RefusedMarkup>()
  for (const { at, name, attributes } of tagsOf(html))
    for (const what of refusedOf(name, attributes))
      if (!found.has(what)) found.set(what, { line: lineAt(html, at), what })
  return [...found.values()]
}

interface Tag {
  readonly at: number
  readonly name: string
  readonly attributes: ReadonlyMap<string, string>
}

function refusedOf(name: string, attributes: ReadonlyMap<string, string>): readonly string[] {
  const refused = [...attributes].flatMap(([key, value]) => {
    if (/^on[a-z]{3,}$/.test(key)) return [`"${key}" of <${name}>`]
    if (key === 'style') return [`"style" of <${name}>`]
    return /^\s*javascript:/i.test(value) ? [`a "javascript:" address of <${name}>`] : []
  })
  if (name === 'iframe' || name === 'object' || name === 'embed') return [...refused, `<${name}>`]
  const address = attributes.get(loads[name] ?? '') ?? ''
  const isLoaded = name !== 'link' || loadingLink.test(attributes.get('rel') ?? '')
  const [, host] = /^\s*(?:https?:)?\/\/([\w.:-]{1,100})/i.exec(address) ?? []
  return host !== undefined && isLoaded ? [...refused, `<${name}> of ${host}`] : refused
}

/** Start tags outside of comments, scripts and styles, in one pass. */
function* tagsOf(html: string): Generator<Tag> {
  const opening = /<(?:!--|([a-z][a-z0-9-]*))/gi
  for (let match = opening.exec(html); match; match = opening.exec(html)) {
    const name = match[1]?.toLowerCase()
    if (name === undefined) {
      opening.lastIndex = after(html, '-->', opening.lastIndex)
      continue
    }
    const { attributes, end } = attributesAt(html, opening.lastIndex)
    yield { at: match.index, name, attributes }
    const isText = name === 'script' || name === 'style'
    opening.lastIndex = isText ? closeOf(html, name, end) : end
  }
}

function attributesAt(html: string, from: number) {
  const attributes = new Map<string, string>()
  let end = from
  for (;;) {
    GAP.lastIndex = end
    GAP.exec(html)
    ATTRIBUTE.lastIndex = GAP.lastIndex
    const [, key, ...values] = ATTRIBUTE.exec(html) ?? []
    if (key === undefined) return { attributes, end: Math.max(end, GAP.lastIndex) }
    end = ATTRIBUTE.lastIndex
    attributes.set(key.toLowerCase(), values.find((value) => value !== undefined) ?? '')
  }
}

function closeOf(html: string, name: string, from: number): number {
  const close = new RegExp(`</${name}`, 'gi')
  close.lastIndex = from
  return close.exec(html) ? close.lastIndex : html.length
}

function after(html: string, text: string, from: number): number {
  const at = html.indexOf(text, from)
  return at < 0 ? html.length : at + text.length
}

function lineAt(html: string, at: number): number {
  return html.slice(0, at).split('\n').length
}
