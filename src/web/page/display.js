// Rich output, figures and files, all untrusted: images are shown as images, which run no script and load
// nothing; of HTML only text, lists and tables are rebuilt, without attributes.

const IMAGES_MAX = 12
/** Characters of the end of a stream that is too long to be shown. */
const END_CHARS = 10_000
const TEXT_MAX = 200_000
/** Maximum elements built from one HTML. */
const ELEMENTS_MAX = 20_000
const DEPTH_MAX = 64

/** Magic bytes in base64: the type declared by a job is not trusted. */
const beginnings = [
  ['iVBORw0KGgo', 'image/png'],
  ['/9j/', 'image/jpeg'],
  ['R0lGOD', 'image/gif'],
  ['UklGR', 'image/webp'],
]

/** Elements for an outcome's rich output, then for image files that it does not show. */
export function displayed({ display = [], artifacts = [] }) {
  const byPath = new Map(artifacts.map((artifact) => [artifact.path, artifact]))
  const shown = new Set()
  const parts = display.slice(0, IMAGES_MAX).map(({ type, path, text }) => {
    if (path !== undefined) shown.add(path)
    return shownAs(type, path === undefined ? undefined : byPath.get(path), text)
  })
  const others = artifacts
    .filter(({ path, content }) => !shown.has(path) && imageType(content) !== undefined)
    .slice(0, IMAGES_MAX)
    .map((artifact) => picture(artifact))
  return [...parts, ...others].filter(Boolean)
}

/** Download list of artifacts. */
export function files(artifacts) {
  const list = element('ul', 'files')
  for (const { path, size, content } of artifacts) {
    const item = element('li')
    if (content === undefined) item.append(element('span', '', shownName(path)))
    else item.append(saved(path, content))
    item.append(element('span', 'hint', sizeText(size)))
    list.append(item)
  }
  return list
}

function shownAs(type, artifact, given) {
  if (artifact && (imageType(artifact.content) || type === 'image/svg+xml'))
    return picture(artifact)
  const text = artifact?.content === undefined ? given : textOf(artifact.content)
  if (typeof text !== 'string' || text === '') return undefined
  if (type === 'text/html') return rebuilt(text.slice(0, TEXT_MAX))
  if (type === 'image/svg+xml')
    return image(`data:image/svg+xml,${encodeURIComponent(text)}`, 'A figure')
  return block(text.slice(0, TEXT_MAX))
}

/** Text of an artifact, whose content is base64. */
function textOf(content) {
  const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0))
  return new TextDecoder().decode(bytes)
}

/** Adds a note, and the end of each stream whose beginning alone was shown: what failed is said last. */
export function appendEnds(to, outcome) {
  for (const name of ['stdout', 'stderr']) {
    const end = outcome[name].slice(-END_CHARS)
    if (outcome[name].length <= END_CHARS) continue
    to.append(element('span', 'cut', `\n… not all of ${name} is shown; its end:\n`))
    to.append(element('span', name, end.slice(end.indexOf('\n') + 1)))
  }
}

function picture({ path, content }) {
  const type = imageType(content)
  if (type) return image(`data:${type};base64,${content}`, `Figure ${path}`)
  if (content !== undefined && /\.svg$/i.test(path))
    return image(`data:image/svg+xml;base64,${content}`, `Figure ${path}`)
  return undefined
}

function imageType(content) {
  return beginnings.find(([beginning]) => content?.startsWith(beginning))?.[1]
}

function image(src, alt) {
  return element('img', 'figure', '', { src, alt })
}

/** Download link with a safe type: never navigated to, never opened by the browser. */
function saved(path, content) {
  const link = element('a', '', shownName(path), { href: '#' })
  link.addEventListener('click', (event) => {
    event.preventDefault()
    save(path, Uint8Array.fromBase64?.(content) ?? bytesIn(content))
  })
  return link
}

/** Name of a file of a job, with the marks escaped that would show its letters in another order. */
export function shownName(path) {
  return path.replace(
    /[\p{Cc}\p{Bidi_Control}]/gu,
    (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** Saves bytes as a file, of a type that a browser does not open. */
export function save(path, bytes) {
  const blob = new Blob([bytes], { type: 'application/octet-stream' })
  const address = URL.createObjectURL(blob)
  const download = shownName(path.split('/').at(-1) || 'file')
  element('a', '', '', { href: address, download }).click()
  setTimeout(() => URL.revokeObjectURL(address), 10_000)
}

function bytesIn(content) {
  return Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))
}

const kept = new Set(
  'table thead tbody tfoot tr th td caption p div span b strong i em u s small sub sup br hr h1 h2 h3 h4 h5 h6 ul ol li dl dt dd pre code blockquote'.split(
    ' ',
  ),
)
const left = new Set(
  'script style template iframe object embed svg math head title noscript'.split(' '),
)

/**
 * Parsed without loading or running anything, then rebuilt from allowed elements; `colspan` and `rowspan` stay.
 */
function rebuilt(html) {
  const { body } = new DOMParser().parseFromString(html, 'text/html')
  const whole = element('div', 'rich', '', { tabindex: 0 })
  let count = 0
  const copy = (from, to, depth) => {
    for (const node of from.childNodes) {
      if (++count > ELEMENTS_MAX || depth > DEPTH_MAX) return
      if (node.nodeType === Node.TEXT_NODE) to.append(node.data)
      if (node.nodeType !== Node.ELEMENT_NODE || left.has(node.localName)) continue
      if (!kept.has(node.localName)) {
        copy(node, to, depth + 1)
        continue
      }
      const made = document.createElement(node.localName)
      for (const span of ['colSpan', 'rowSpan'])
        if (node[span] > 1) made[span] = Math.min(node[span], 1000)
      copy(node, made, depth + 1)
      to.append(made)
    }
  }
  copy(body, whole, 0)
  return whole
}

export function sizeText(size) {
  if (size < 1024) return `${size} B`
  return size < 2 ** 20 ? `${(size / 1024).toFixed(1)} KB` : `${(size / 2 ** 20).toFixed(1)} MB`
}

export function element(tag, className = '', text = '', attributes = {}) {
  const made = document.createElement(tag)
  if (className) made.className = className
  if (text) made.textContent = text
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value)
  return made
}

/** Text that can be scrolled by keys. */
export function block(text, kind = '', label) {
  const named = label === undefined ? {} : { 'aria-label': label }
  return element('pre', `block ${kind}`, text, { tabindex: 0, ...named })
}
