/**
 * Picture of a life as data: everything drawn, with its texts, independent of the output format. Each zone is a lane;
 * its phases are bands whose height is the remaining share of all controls that this life gives up, so the shape only
 * narrows; behind it lies the planned shape, which shows the cut. Bounded in size for any input, and every foreign
 * text has passed `plain`.
 *
 * @typedef {import('./life.js').Life} Life
 * @typedef {import('./life.js').Entry} Entry
 * @typedef {import('./life.js').Plan} Plan
 * @typedef {import('./controls.js').Reading} Reading
 * @typedef {import('./events.js').Happening} Happening
 * @typedef {import('./bands.js').Stretch} Stretch
 * @typedef {import('./bands.js').Band} Band
 * @typedef {Stretch & { share: number }} Step how much is left, from 0 to 1
 * @typedef {Stretch & Reading & { took?: number }} Span `took` is how long it took to get there, where that is known
 * @typedef {{ name: string, spans: Span[] }} Row
 * @typedef {{
 *   zone: string, bands: Band[], shape: Step[], planned: Step[], rows: Row[], frozen: Stretch[], steady: Row[],
 * }} Lane
 * @typedef {{
 *   mark: string, tone: string, status: string, text: string, wall: string, isOver: boolean, age: number,
 *   plannedEnd: number, lanes: Lane[], zonesLeftOut: number, happenings: Happening[],
 *   execs: Exec[], sums: (readonly [string, string])[],
 * }} Picture
 * @typedef {Stretch & { tone: string }} Exec
 */
import { bandsOf, isEnd, stepsPlanned } from './bands.js'
import { drawnControls, readControl } from './controls.js'
import { happeningsOf } from './events.js'
import { bytesText, durationText, ends, finite, listText, moment, plain, whyText } from './words.js'

export const lanesMax = 6
export const spansMax = 24
/** Maximum of drawn execs, the last ones. */
export const execsMax = 300
const DENIED_SHOWN = 2

/**
 * @param {Life} life
 * @returns {Picture}
 */
export function pictureOf(life) {
  const isOver = life.status !== 'running'
  const timeline = ordered(life.timeline)
  const age = Math.max(moment(life.age), timeline.at(-1)?.at ?? 0)
  const zones = zonesOf(timeline, life)
  const drawn = zones.slice(0, lanesMax)
  const status = Object.hasOwn(ends, life.status) ? life.status : 'failed'
  const [mark, tone, meaning] = ends[/** @type {keyof typeof ends} */ (status)]
  const plannedEnd = stepsPlanned(life.plan).at(-1)?.to ?? 0
  return {
    mark,
    tone,
    status: status === 'running' ? 'running' : status,
    text: headline({ ...life, status, age }, meaning, plannedEnd),
    wall: plain(life.wall, 60),
    isOver,
    age,
    plannedEnd,
    lanes: drawn.map((zone) => laneOf(zone, timeline, { ...life, age })),
    zonesLeftOut: zones.length - drawn.length,
    happenings: happeningsOf(timeline),
    execs: execsOf(life),
    sums: sumsOf(life),
  }
}

/** @param {Life} life @param {string} meaning @param {number} plannedEnd */
function headline({ status, reason, age, timeline }, meaning, plannedEnd) {
  const said = whyText(reason || meaning)
  if (timeline.length === 0) return said
  if (status !== 'running') return `after ${durationText(age)}: ${said}`
  return plannedEnd > 0 ? `${durationText(age)} of ${durationText(plannedEnd)}` : durationText(age)
}

/** Execs of a session. @param {Life} life @returns {Exec[]} */
function execsOf({ execs = [] }) {
  return execs.slice(-execsMax).map(({ from, to, status }) => {
    const start = moment(from)
    return { from: start, to: Math.max(start, moment(to)), tone: toneOf(status) }
  })
}

/** @param {string} status */
function toneOf(status) {
  const known = Object.hasOwn(ends, status) ? status : 'failed'
  return ends[/** @type {keyof typeof ends} */ (known)][1]
}

/** Sorted by time, since entries may arrive in any order. @param {readonly Entry[]} timeline @returns {Entry[]} */
function ordered(timeline) {
  return timeline
    .map((entry) => ({ ...entry, at: moment(entry.at), zone: plain(entry.zone, 40) || 'main' }))
    .sort((a, b) => a.at - b.at)
}

/** @param {readonly Entry[]} timeline @param {Life} life */
function zonesOf(timeline, { plan }) {
  const first = timeline.length > 0 || plan.phases.length > 0 ? ['main'] : []
  return [...new Set([...first, ...timeline.map(({ zone }) => zone)])]
}

/** @param {string} zone @param {readonly Entry[]} timeline @param {Life} life @returns {Lane} */
function laneOf(zone, timeline, { plan, age, status }) {
  const entries = timeline.filter((entry) => entry.zone === zone)
  const isMain = zone === 'main'
  const own = isMain ? plan : planOfZone(entries, plan)
  const opens = isMain ? 0 : (entries[0]?.at ?? 0)
  const ended = entries.findLast(isEnd)
  // Events of a zone may follow its end.
  const closes = isMain ? age : Math.max(ended?.at ?? age, entries.at(-1)?.at ?? 0)
  const bands = bandsOf({ zone, entries, plan: own, opens, closes, status })
  const rows = rowsOf(entries, own, { from: opens, to: closes })
  const changing = rows.filter(({ name, spans }) => spans.length > 1 || isPlanned(own, name))
  const steady = rows.filter((row) => !changing.includes(row))
  return {
    zone,
    bands,
    shape: bands.length === 0 ? [] : shapeOf(changing, bands, { from: opens, to: closes }),
    planned: shapePlanned(own, changing, opens),
    rows: changing,
    frozen: frozenIn(entries, closes),
    steady,
  }
}

/**
 * Plan for zones of its kind; unknown otherwise. @param {readonly Entry[]} entries @param {Plan} plan @returns
 * {Plan}
 */
function planOfZone(entries, { zones = {} }) {
  const kind = entries.find(({ event }) => event === 'zone')?.fields?.['kind']
  const phases = typeof kind === 'string' && Object.hasOwn(zones, kind) ? zones[kind] : undefined
  return { controls: {}, phases: phases ?? [], msMax: Infinity }
}

/** @param {Plan} plan @param {string} control */
function isPlanned({ phases }, control) {
  return phases.some(({ controls }) => Object.hasOwn(controls, control))
}

/**
 * Periods of each control's values. @param {readonly Entry[]} entries @param {Plan} plan @param {Stretch} life
 */
function rowsOf(entries, plan, { from, to }) {
  const changes = entries.filter(({ controls }) => controls !== undefined)
  return drawnControls.flatMap((name) => {
    const first =
      plan.controls[name] ??
      changes.find(({ controls }) => hasOwn(controls, name))?.controls?.[name]
    if (first === undefined) return []
    /** @type {Span[]} */
    let spans = [{ from, to, ...readControl(name, first, first) }]
    for (const { at, controls, took } of changes) {
      if (hasOwn(controls, name))
        spans = changed(spans, at, readControl(name, controls?.[name], first), took)
    }
    return [{ name, spans }]
  })
}

/** @param {readonly Span[]} spans @param {number} at @param {Reading} reading @param {number | undefined} took */
function changed(spans, at, reading, took) {
  const last = /** @type {Span} */ (spans.at(-1))
  if (last.text === reading.text && last.state === reading.state) return [...spans]
  const timed = took === undefined ? {} : { took: moment(took) }
  const next = { from: Math.min(at, last.to), to: last.to, ...reading, ...timed }
  // Values of zero duration are dropped, and a row beyond the maximum ends with the final value.
  const isReplaced = next.from <= last.from || spans.length === spansMax
  if (isReplaced) return [...spans.slice(0, -1), { ...next, from: last.from }]
  return [...spans.slice(0, -1), { ...last, to: next.from }, next]
}

/** @param {Readonly<Record<string, unknown>> | undefined} record @param {string} name */
function hasOwn(record, name) {
  return record !== undefined && Object.hasOwn(record, name)
}

/** @param {readonly Row[]} rows @param {readonly Band[]} bands @param {Stretch} life @returns {Step[]} */
function shapeOf(rows, bands, { to }) {
  const first = bands[0]?.from ?? 0
  const borders = [
    ...bands.map(({ from }) => from),
    ...rows.flatMap(({ spans }) => spans.map(({ from }) => from)),
  ]
  const starts = [...new Set(borders.filter((at) => at >= first && at < to))].sort((a, b) => a - b)
  if (starts.length === 0) starts.push(first)
  return starts.map((from, n) => ({
    from,
    to: starts[n + 1] ?? to,
    share: meanOf(
      rows.map(({ spans }) =>
        left(
          spans,
          spans.findLast((span) => span.from <= from),
        ),
      ),
    ),
  }))
}

/** @param {readonly Span[]} spans @param {Span | undefined} now */
function left([first], now) {
  return first && first.share > 0 ? Math.min(1, (now?.share ?? first.share) / first.share) : 1
}

/** The planned shape. @param {Plan} plan @param {readonly Row[]} rows @param {number} opens @returns {Step[]} */
function shapePlanned(plan, rows, opens) {
  const held = new Map(rows.map(({ name }) => [name, plan.controls[name]]))
  return stepsPlanned(plan).map(({ from, to }, place) => {
    for (const [name, value] of Object.entries(plan.phases[place]?.controls ?? {}))
      held.set(name, value)
    const shares = rows.map(({ name, spans: [first] }) => {
      const granted = plan.controls[name]
      const { share } = readControl(name, held.get(name), granted)
      return first && first.share > 0 ? Math.min(1, share / first.share) : 1
    })
    return { from: opens + from, to: opens + to, share: meanOf(shares) }
  })
}

/** @param {readonly number[]} shares */
function meanOf(shares) {
  return shares.length === 0 ? 1 : shares.reduce((sum, share) => sum + share, 0) / shares.length
}

/** @param {readonly Entry[]} entries @param {number} closes @returns {Stretch[]} */
function frozenIn(entries, closes) {
  /** @type {Stretch[]} */
  const stretches = []
  let from = -1
  for (const { event, at } of entries) {
    if (event === 'frozen' && from < 0) from = at
    if (event !== 'thawed' || from < 0) continue
    stretches.push({ from, to: at })
    from = -1
  }
  if (from >= 0) stretches.push({ from, to: closes })
  return stretches.slice(0, spansMax)
}

/** @param {Life} life @returns {(readonly [string, string])[]} */
function sumsOf({ execs = [], out, cpu, memory, network }) {
  return [
    ...(execs.length === 0 ? [] : [/** @type {const} */ (['execs', execsText(execs)])]),
    ...(out === undefined ? [] : [/** @type {const} */ (['output', bytesText(finite(out))])]),
    ...(cpu === undefined ? [] : [/** @type {const} */ (['cpu', durationText(moment(cpu))])]),
    ...(memory === undefined
      ? []
      : [/** @type {const} */ (['memory', `${bytesText(finite(memory))} at its peak`])]),
    ...(network.length === 0 ? [] : [/** @type {const} */ (['network', networkText(network)])]),
  ]
}

/** @param {readonly import('./life.js').Exec[]} execs */
function execsText(execs) {
  const failed = execs.filter(({ status }) => toneOf(status) !== 'good').length
  return `${execs.length.toLocaleString('en')}${failed > 0 ? ` (${failed} not ok)` : ''}`
}

/** @param {Life['network']} attempts */
function networkText(attempts) {
  const sum = (/** @type {'sent' | 'received'} */ name) =>
    bytesText(attempts.reduce((total, attempt) => total + finite(attempt[name]), 0))
  const denied = attempts.filter(({ verdict }) => verdict === 'denied')
  const hosts = [...new Set(denied.map(({ host, port }) => `${plain(host, 60)}:${finite(port)}`))]
  const refused =
    denied.length === 0 ? '' : `, ${denied.length} denied: ${listText(hosts, DENIED_SHOWN)}`
  return `${attempts.length - denied.length} let out, ${sum('sent')} sent, ${sum('received')} received${refused}`
}
