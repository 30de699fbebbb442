// An outcome, or a problem in its place, as elements. Everything a job says goes in as text, never as markup.
import { titleText, wholeText } from './picture/caption.js'
import { lifeOf } from './picture/life.js'
import { pictureOf } from './picture/picture.js'
import { svgOf } from './picture/svg.js'

/** Characters that fit beside each other in the outcome. */
const LINE = 64

const meanings = {
  ok: ['good', 'It ran to its end.'],
  error: ['bad', 'The code threw.'],
  blocked: ['bad', 'It was refused before it ran.'],
  timeout: ['warn', 'Its time was over.'],
  limit: ['warn', 'It hit a ceiling.'],
  terminated: ['warn', 'It was ended while it ran.'],
  unavailable: ['warn', 'No wall here can hold it safely enough.'],
  refused: ['bad', 'What it returned broke its contract.'],
  failed: ['bad', 'The wall or the server broke, not the code.'],
  cancelled: ['warn', 'It was cancelled.'],
}

/** The line on top: how it ended, in a word and a sentence. */
export function headlineOf(answer) {
  const outcome = answer.outcome ?? answer
  if (typeof outcome.status === 'number') {
    return [badge('bad', answer.code ?? 'Problem'), element('span', '', answer.message)]
  }
  const [tone, meaning] = meanings[outcome.status] ?? ['warn', '']
  return [badge(tone, outcome.status), element('span', '', meaning)]
}

/** Everything below it. `jump(line, column)` shows a place of the source. */
export function detailOf(answer, jump) {
  const outcome = answer.outcome ?? answer
  const parts =
    typeof outcome.status === 'number' ? problemParts(answer) : outcomeParts(outcome, jump)
  return [...parts.filter(Boolean), raw(answer)]
}

function problemParts({ details }) {
  if (!Array.isArray(details)) return [details && section('Details', block(pretty(details)))]
  const rows = details.map(({ path, message }) => [path, message])
  return [section('What is wrong', table(['Where', 'Why'], rows))]
}

function outcomeParts(outcome, jump) {
  const { error, stdout, stderr, truncated, security, timeline } = outcome
  return [
    facts(outcome),
    error && section('Error', block(errorText(error), 'wrong')),
    outcome.status === 'ok' &&
      section(
        `Result${outcome.encoding === 'tagged' ? ', tagged' : ''}`,
        block(pretty(outcome.result)),
      ),
    stdout && section(truncated.stdout ? 'Output, cut short' : 'Output', block(stdout)),
    stderr &&
      section(truncated.stderr ? 'Errors printed, cut short' : 'Errors printed', block(stderr)),
    outcome.provider && section('Time', ...steps(outcome.metrics)),
    security.findings.length > 0 && section('Findings', findings(security.findings, jump)),
    timeline.length > 0 && section('Life', lifeImage(outcome), lifeTable(timeline)),
  ]
}

function facts({ tier, provider, security, metrics, profile }) {
  const memory = metrics.memoryUsage
  const entries = [
    ['Wall', tier && `${tier}, ${provider}`],
    ['Memory, peak', memory && `${(memory.peak / 2 ** 20).toFixed(1)} MB`],
    ['Processor', tier && milliseconds(metrics.cpuTime)],
    ['Threat', `${security.threatScore}`],
    ['Risk', `${security.risk}, ${security.severity}`],
    ['Behavior', tier && `${security.behaviorScore}`],
    ['Spare', metrics.pool === 'none' ? undefined : metrics.pool],
    ['Network', networkOf(profile)],
  ]
  const list = element('dl', 'facts')
  for (const [name, value] of entries) {
    if (!value) continue
    const pair = element('div')
    pair.append(element('dt', '', name), element('dd', '', value))
    list.append(pair)
  }
  return list
}

function networkOf({ explain }) {
  const value = explain.find((line) => line.field === 'controls.network')?.value
  return typeof value === 'string' ? value : undefined
}

function errorText({ code, name, message, stack, details }) {
  const first = [name ?? code, message].filter(Boolean).join(': ')
  const trace = stack && (stack.startsWith(first) ? stack.slice(first.length).trimStart() : stack)
  const place = details?.line ? `at line ${details.line}, column ${details.column}` : ''
  return [first, trace, place, name && code !== name ? `Code: ${code}` : '']
    .filter(Boolean)
    .join('\n')
}

function steps({ queueTime, startTime, executionTime, teardownTime }) {
  const parts = [
    ['queue', 'Waiting', queueTime],
    ['start', 'Making the wall', startTime],
    ['run', 'Running', executionTime],
    ['end', 'Tearing down', teardownTime],
  ]
  const bar = element('div', 'steps')
  bar.setAttribute('aria-hidden', 'true')
  const legend = element('ul', 'legend')
  for (const [kind, name, time] of parts) {
    const share = element('i', kind)
    share.style.flexGrow = String(Math.max(time, 0.001))
    bar.append(share)
    const item = element('li')
    item.append(element('i', kind), element('span', '', `${name} `), milliseconds(time))
    legend.append(item)
  }
  return [bar, legend]
}

function findings(list, jump) {
  const rows = list.map(({ name, severity, line, column, description, kind }) => {
    const place = element('button', 'place', `${line}:${column}`)
    place.type = 'button'
    place.title = 'Show in the editor'
    place.addEventListener('click', () => jump(line, column))
    return [place, name, kind === 'need' ? `${severity}, a need` : severity, description]
  })
  return table(['Where', 'What', 'How bad', 'Why'], rows)
}

/** The picture of its life, as an image: there nothing in it can run or reach the page. */
function lifeImage(outcome) {
  const picture = pictureOf(lifeOf(outcome))
  const { clientWidth } = document.getElementById('detail')
  const made = element('img', 'life')
  const svg = svgOf(picture, { width: clientWidth })
  made.src = `data:image/svg+xml,${encodeURIComponent(svg)}`
  made.alt = `${titleText(picture)}. ${wholeText(picture)}`
  return made
}

function lifeTable(timeline) {
  const rows = timeline.map(({ at, event, zone, ...more }) => [
    milliseconds(at),
    more.phase ? `${event} ${more.phase}` : event,
    zone,
    [more.reason, more.controls && compact(more.controls), more.fields && compact(more.fields)]
      .filter(Boolean)
      .join(' '),
  ])
  const details = element('details')
  details.append(element('summary', '', 'The same as a table'))
  details.append(table(['After', 'What happened', 'Zone', ''], rows))
  return details
}

function raw(answer) {
  const details = element('details')
  details.append(element('summary', '', 'The whole answer as JSON'), block(pretty(answer)))
  return details
}

function section(title, ...children) {
  const made = element('section')
  made.append(element('h3', '', title), ...children)
  return made
}

function table(names, rows) {
  const made = element('table', 'rows')
  const head = made.createTHead().insertRow()
  for (const name of names) {
    const cell = element('th', '', name)
    cell.scope = 'col'
    head.append(cell)
  }
  const body = made.createTBody()
  for (const row of rows) {
    const line = body.insertRow()
    for (const value of row) line.insertCell().append(value ?? '')
  }
  return made
}

function block(text, kind = '') {
  const made = element('pre', `block ${kind}`, text)
  made.tabIndex = 0
  return made
}

function badge(tone, text) {
  return element('strong', `badge ${tone}`, text)
}

function element(tag, className = '', text = '') {
  const made = document.createElement(tag)
  if (className) made.className = className
  if (text) made.textContent = text
  return made
}

function milliseconds(time) {
  if (time >= 1000) return `${(time / 1000).toFixed(2)} s`
  return `${time >= 10 || Number.isInteger(time) ? Math.round(time) : time.toFixed(1)} ms`
}

/** JSON with a line for each member, save where the whole of it fits on one. */
function pretty(value, indent = '') {
  const flat = JSON.stringify(value) ?? 'undefined'
  if (typeof value !== 'object' || value === null || flat.length + indent.length <= LINE)
    return spaced(value, flat)
  const deeper = `${indent}  `
  const members = Array.isArray(value)
    ? value.map((member) => deeper + pretty(member, deeper))
    : Object.entries(value).map(
        ([key, member]) => `${deeper}${JSON.stringify(key)}: ${pretty(member, deeper)}`,
      )
  const [open, close] = Array.isArray(value) ? '[]' : '{}'
  return `${open}\n${members.join(',\n')}\n${indent}${close}`
}

/** A short value on one line, with room to breathe. */
function spaced(value, flat) {
  if (typeof value !== 'object' || value === null || flat.length <= 2) return flat
  if (Array.isArray(value))
    return `[${value.map((member) => spaced(member, JSON.stringify(member))).join(', ')}]`
  const members = Object.entries(value).map(
    ([key, member]) => `${JSON.stringify(key)}: ${spaced(member, JSON.stringify(member))}`,
  )
  return `{ ${members.join(', ')} }`
}

const compact = (value) => JSON.stringify(value)
