// Live view of a run: its output, and its life so far.
import { appendEnds, element } from './display.js'
import { lifeOf, noPlan } from '../../picture/life.js'
import { lifeImage } from './life-image.js'

const DRAW_MS = 250
/** Maximum characters of output in the page; the outcome has the rest, up to its own limit. */
const CHARS_MAX = 200_000
/** Maximum timeline entries drawn. */
const LINES_MAX = 1000

export class LiveRun {
  #parts
  #planned = { plan: noPlan, wall: '' }
  #timeline = []
  #began
  #chars = 0
  #timer
  #drawing = false
  #isOver = false

  /** `parts`: the elements `printed`, `output` and `life`, which it empties. */
  constructor(parts) {
    this.#parts = parts
    parts.printed.hidden = true
    parts.output.replaceChildren()
    parts.life.replaceChildren()
    this.#timer = setInterval(() => this.#tick(), DRAW_MS)
  }

  hear(name, data) {
    if (name === 'plan') this.#planned = { plan: data.plan, wall: data.wall }
    if (name === 'stdout' || name === 'stderr') this.#print(name, data.text)
    if (name !== 'event') return
    this.#began ??= performance.now() - data.at
    if (this.#timeline.length < LINES_MAX) this.#timeline.push(data)
    this.#tick()
  }

  /** Milliseconds since the release; undefined before. */
  get age() {
    return this.#began === undefined ? undefined : performance.now() - this.#began
  }

  /** Shows the complete life, once there is an outcome; otherwise its state so far. */
  async end(outcome) {
    clearInterval(this.#timer)
    this.#isOver = true
    if (outcome) return this.#show(outcome.timeline.length > 0 ? lifeOf(outcome) : undefined)
    if (this.#began !== undefined) await this.#show({ ...this.#life(), status: 'cancelled' })
  }

  /** Prints output that was not streamed, and the end of output that is too long. */
  printRest(outcome) {
    const { stdout, stderr } = outcome
    if (this.#chars === 0) {
      this.#print('stdout', stdout)
      this.#print('stderr', stderr)
    }
    if (this.#chars > CHARS_MAX) appendEnds(this.#parts.output, outcome)
  }

  #print(name, text) {
    if (!text) return
    const room = CHARS_MAX - this.#chars
    this.#chars += text.length
    if (room <= 0) return
    const { printed, output } = this.#parts
    const isAtEnd = output.scrollTop + output.clientHeight >= output.scrollHeight - 8
    printed.hidden = false
    const shown = text.slice(0, room)
    if (output.lastChild?.className === name) output.lastChild.append(shown)
    else output.append(element('span', name, shown))
    if (isAtEnd) output.scrollTop = output.scrollHeight
  }

  #life() {
    return {
      ...this.#planned,
      status: 'running',
      timeline: this.#timeline,
      age: this.age ?? 0,
      network: [],
    }
  }

  #tick() {
    if (this.#began === undefined || this.#drawing) return
    this.#drawing = true
    void this.#show(this.#life()).finally(() => (this.#drawing = false))
  }

  async #show(life) {
    const { life: place } = this.#parts
    if (!life) return place.replaceChildren()
    const made = await lifeImage(life, place.clientWidth)
    // Race: this image of the running state was decoded after the end.
    if (life.status === 'running' && this.#isOver) return
    place.replaceChildren(made)
  }
}
