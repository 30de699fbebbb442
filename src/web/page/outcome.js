// An outcome, or a problem instead, as elements. Content from a job is inserted as text, never as markup.
import { block, displayed, element, files, shownName } from './display.js'

/** Maximum characters on one line of the outcome. */
const LINE = 64

const meanings = {
  ok: ['good', 'It completed'],
  error: ['bad', 'The code failed'],
  blocked: ['bad', 'It was blocked before it ran'],
  timeout: ['warn', 'It reached its timeout'],
  limit: ['warn', 'It reached a resource limit'],
  terminated: ['bad', 'It was terminated while it ran'],
  unavailable: ['warn', 'No sandbox of this server is strong enough for it'],
  refused: ['bad', 'Its output was rejected by the output checks'],
  failed: ['bad', 'The sandbox or the server failed, not the code'],
  cancelled: ['warn', 'It was cancelled'],
}
/** Statuses whose sentence includes the reason. */
const withReason = new Set(['limit', 'terminated', 'unavailable', 'refused', 'failed'])

/** Headline: status, as a badge and a sentence. */
export function headlineOf(answer) {
  const outcome = answer.outcome ?? answer
  if (typeof outcome.status === 'number') {
    return [badge('bad', answer.code ?? 'Problem'), element('span', '', answer.message)]
  }
  const [tone, meaning] = meanings[outcome.status] ?? ['warn', '']
  const { metrics, error } = outcome
  const when = outcome.status === 'ok' ? 'in' : 'after'
  const after = metrics.executionTime > 0 ? ` ${when} ${milliseconds(metrics.executionTime)}` : ''
  const why = withReason.has(outcome.status) && error ? `: ${reasonOf(error.message)}` : ''
  return [badge(tone, outcome.status), element('span', '', `${meaning}${after}${why}`)]
}

/** Headline of a running job, with its age. */
export function runningHeadline(age) {
  const text = age === undefined ? 'its sandbox is starting' : `for ${milliseconds(age)}`
  return [badge('live', 'running'), element('span', '', text)]
}

/** Error or result, figures, files. */
export function returnedBy(answer) {
  const outcome = answer.outcome ?? answer
  if (typeof outcome.status === 'number') return problemParts(answer)
  const {
    error,
    result,
    encoding,
    artifacts,
    pending,
    artifactsLeftOut = [],
    warnings = [],
  } = outcome
  const figures = displayed(outcome)
  const isShown = figures.length > 0 && encoding === 'text'
  return [
    error && section('Error', block(errorText(error), 'wrong')),
    outcome.status === 'ok' &&
      !isShown &&
      section(
        encoding === 'tagged' ? 'Result, with types' : 'Result',
        result === null
          ? element('p', 'empty', 'Nothing was returned.')
          : block(encoding === 'text' ? String(result) : pretty(result)),
      ),
    pending && element('p', 'hint', pendingText(pending)),
    ...warnings.map((text) => element('p', 'hint', text)),
    figures.length > 0 && section(figures.length > 1 ? 'Figures' : 'Figure', ...figures),
    artifacts.length > 0 && section('Created files', files(artifacts)),
    artifactsLeftOut.length > 0 &&
      section(
        'Omitted files',
        table(
          ['File', 'Why'],
          artifactsLeftOut.map(({ path, because }) => [shownName(path), because]),
        ),
      ),
  ].filter(Boolean)
}

/** Parts of the outcome below the picture. `jump(line, column)` shows a position in the source. */
export function detailOf(answer, jump) {
  const outcome = answer.outcome ?? answer
  if (typeof outcome.status === 'number') return [raw(answer)]
  const { security, timeline, provider, metrics } = outcome
  return [
    facts(outcome),
    security.findings.length > 0 && section('Findings in its source', ...findings(security, jump)),
    provider && section('Time per step', ...steps(metrics)),
    timeline.length > 0 && lifeTable(timeline),
    raw(answer),
  ].filter(Boolean)
}

function problemParts({ details }) {
  if (!Array.isArray(details)) return [details && section('Details', block(pretty(details)))]
  const rows = details.map(({ path, message }) => [path, message])
  return [section('Errors', table(['Where', 'Why'], rows))]
}

const risks = {
  low: 'no sign of an attack',
  medium: 'suspicious in part',
  high: 'suspicious',
  critical: 'probably an attack',
}

function facts({ tier, provider, security, metrics, profile, status }) {
  const memory = metrics.memoryUsage
  const limit = explained(profile, 'limits.memory')
  const most = typeof limit === 'number' ? ` of ${megabytes(limit)}` : ''
  const odd = security.behaviorScore
  const entries = [
    ['Wall', tier && `${tier}, by ${provider}`],
    ['Peak memory', memory && `${megabytes(memory.peak)}${most}`],
    ['CPU time', tier && milliseconds(metrics.cpuTime)],
    ['Network', networkText(explained(profile, 'controls.network'))],
    [
      'Risk of its source',
      security.judged
        ? `${security.risk} of 100: ${risks[security.severity]}`
        : 'not judged: nothing read it',
    ],
    [
      'Anomalies at run time',
      tier && status !== 'blocked' && (odd === 0 ? 'none' : `score ${odd} of 100`),
    ],
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

function explained({ explain }, field) {
  return explain.find((line) => line.field === field)?.value
}

function networkText(value) {
  if (typeof value === 'string') return value
  const hosts = value?.allow?.map((one) => (typeof one === 'string' ? one : one.host))
  return Array.isArray(hosts) && hosts.every(Boolean) ? `${hosts.join(', ')} alone` : undefined
}

function reasonOf(message) {
  return message.replace(/^anomaly \w+: /, '')
}

export function errorText({ code, name, message, stack, details }) {
  const first = [name ?? code, message].filter(Boolean).join(': ')
  const trace = stack && (stack.startsWith(first) ? stack.slice(first.length).trimStart() : stack)
  const column = details?.column ? `, column ${details.column}` : ''
  const place = details?.line ? `at line ${details.line}${column}` : ''
  return [first, trace, place, name && code !== name ? `Code: ${code}` : '', details?.hint]
    .filter(Boolean)
    .join('\n')
}

function pendingText({ timers, promises }) {
  const parts = [
    timers > 0 && `${timers} ${timers === 1 ? 'timer' : 'timers'}`,
    promises > 0 && `${promises} unanswered ${promises === 1 ? 'call' : 'calls'}`,
  ].filter(Boolean)
  return `It returned with pending work: ${parts.join(' and ')} dropped.`
}

function steps({ queueTime, startTime, executionTime, teardownTime }) {
  const parts = [
    ['queue', 'Waiting', queueTime],
    ['start', 'Starting the sandbox', startTime],
    ['run', 'Running', executionTime],
    ['end', 'Destroying it', teardownTime],
  ]
  const bar = element('div', 'steps', '', { 'aria-hidden': true })
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

/** A need selected the wall; a threat counts against the code. */
function findings({ findings: list }, jump) {
  const rows = list.map(({ name, severity, line, column, description, kind }) => {
    const about = { type: 'button', title: 'Show in the editor' }
    const place = element('button', 'place', `${line}:${column}`, about)
    place.addEventListener('click', () => jump(line, column))
    const words = name.replaceAll('_', ' ').toLowerCase()
    return [
      place,
      words,
      kind === 'need' ? 'no: its sandbox restricts that' : `yes: ${severity}`,
      description,
    ]
  })
  return [table(['Where', 'What', 'Counts against it', 'Why'], rows)]
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
  details.append(element('summary', '', 'Timeline as a table'))
  details.append(table(['Time', 'Event', 'Zone', ''], rows))
  return details
}

function raw(answer) {
  const details = element('details')
  details.append(element('summary', '', 'Complete response as JSON'), block(pretty(answer)))
  return details
}

function section(title, ...children) {
  const made = element('section')
  made.append(element('h2', '', title), ...children)
  return made
}

function table(names, rows) {
  const made = element('table', 'rows')
  const head = made.createTHead().insertRow()
  for (const name of names) head.append(element('th', '', name, { scope: 'col' }))
  const body = made.createTBody()
  for (const row of rows) {
    const line = body.insertRow()
    for (const value of row) line.insertCell().append(value ?? '')
  }
  return made
}

function badge(tone, text) {
  return element('strong', `badge ${tone}`, text)
}

function megabytes(bytes) {
  const size = bytes / 2 ** 20
  return `${Number(size.toFixed(size < 10 ? 1 : 0))} MB`
}

export function milliseconds(time) {
  if (time >= 1000) return `${(time / 1000).toFixed(2)} s`
  return `${time >= 10 || Number.isInteger(time) ? Math.round(time) : time.toFixed(1)} ms`
}

/** JSON with a line for each member, unless it fits on one. */
export function pretty(value, indent = '') {
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

/** A short value on one line, with spaces. */
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
