// The life of a session: its picture, the rights that it still has, and its deadline. Its rights shrink while the visitor works.
import { spanText } from '../../picture/caption.js'
import { stepsPlanned } from '../../picture/bands.js'
import { lifeOf } from '../../picture/life.js'
import { pictureOf } from '../../picture/picture.js'
import { durationText } from '../../picture/words.js'
import { lifeImage } from './life-image.js'

const DRAW_MS = 1000
/** Maximum timeline entries, and execs, drawn. */
const LINES_MAX = 1000
const EXECS_MAX = 1000

export class SessionLife {
  #parts
  #session
  #timeline = []
  #execs = []
  #timer
  #drawing = false
  #isOver = false
  #announced

  /** `parts`: the elements `picture`, `rights`, `deadline` and `phase`, which it fills, and `renew`. */
  constructor(session, parts) {
    this.#session = session
    this.#parts = parts
    this.#timer = setInterval(() => {
      this.#tick()
      this.#announce()
    }, DRAW_MS)
    this.#tick()
  }

  hear(entry) {
    if (this.#timeline.length < LINES_MAX) this.#timeline.push(entry)
    this.#tick()
  }

  /** An exec begins; call the result with its status at its end. */
  begin() {
    const exec = { from: this.#session.age, to: this.#session.age, status: 'running' }
    if (this.#execs.length < EXECS_MAX) this.#execs.push(exec)
    this.#tick()
    return (status) => {
      Object.assign(exec, { to: this.#session.age, status })
      this.#tick()
    }
  }

  /** Stops; shows the complete life if there is an outcome, else its state so far. */
  async end(outcome) {
    clearInterval(this.#timer)
    this.#isOver = true
    const told = this.#life()
    const life = outcome ? { ...lifeOf(outcome), plan: told.plan, execs: told.execs } : told
    for (const name of ['rights', 'deadline']) this.#parts[name].textContent = ''
    await this.#show({ ...life, ...(outcome ? {} : { status: 'cancelled' }) })
  }

  /** Announces a new phase to screen readers, once its controls have been reported too. */
  #announce() {
    const last = this.#timeline.findLast(({ event }) => event === 'phase')
    if (!last || last === this.#announced || this.#session.age - last.at < DRAW_MS) return
    if (last.at > 0) this.#parts.phase.textContent = this.#parts.rights.textContent
    this.#announced = last
  }

  #life() {
    const { wall, plan } = this.#session.row
    const { age } = this.#session
    const execs = this.#execs.map((one) => (one.status === 'running' ? { ...one, to: age } : one))
    return { wall, plan, status: 'running', timeline: this.#timeline, age, network: [], execs }
  }

  #tick() {
    if (this.#isOver) return
    const life = this.#life()
    const { rights, deadline, renew } = this.#parts
    setText(rights, rightsOf(pictureOf(life)))
    const { left } = this.#session
    setText(deadline, `${deadlineOf(left)} ${nextOf(life)}`)
    renew.disabled = isLast(left)
    if (this.#drawing) return
    this.#drawing = true
    void this.#show(life).finally(() => (this.#drawing = false))
  }

  async #show(life) {
    const { picture: place } = this.#parts
    const made = await lifeImage(life, place.clientWidth)
    if (life.status === 'running' && this.#isOver) return
    place.replaceChildren(made)
  }
}

/** Sets a text only if it changed: setting it would clear a selection, and make screen readers read it again. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text
}

/** Text of the current phase and rights. */
function rightsOf({ lanes: [lane] }) {
  if (!lane) return ''
  const phase = lane.bands.at(-1)?.name
  const now = lane.rows.map(
    ({ name, spans }) => `${name} ${spanText({ ...spans.at(-1), took: undefined })}`,
  )
  if (!phase) return ''
  return now.length > 0 ? `Phase ${phase}: ${now.join(', ')}.` : `Phase ${phase}.`
}

/** True if a renewal cannot extend its life. */
function isLast({ ms, lastMs }) {
  return lastMs - ms < 1000
}

function deadlineOf(left) {
  const { ms, lastMs } = left
  const end = wholeSeconds(ms)
  if (isLast(left)) return `It ends in ${end}.`
  return `It ends in ${end} unless a cell runs, and in ${wholeSeconds(lastMs)} in any case.`
}

/** Text of the next phase of the plan and its start. */
function nextOf({ plan, timeline, age }) {
  const begun = timeline.filter(({ event }) => event === 'phase')
  const { at = 0, phase } = begun.at(-1) ?? {}
  const steps = stepsPlanned(plan)
  const place = steps.findIndex(({ name }) => name === phase)
  const [now, next] = [steps[place], steps[place + 1]]
  if (!now || !next) return ''
  return `Phase ${next.name} begins in ${wholeSeconds(Math.max(0, at + now.to - now.from - age))}.`
}

function wholeSeconds(ms) {
  return ms < 1000 ? 'less than a second' : durationText(Math.floor(ms / 1000) * 1000)
}
