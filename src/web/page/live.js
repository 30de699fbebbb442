// A run as it goes: what it prints, and its life as far as it has come.
import { titleText, wholeText } from './picture/caption.js'
import { lifeOf, noPlan } from './picture/life.js'
import { pictureOf } from './picture/picture.js'
import { svgOf } from './picture/svg.js'

const DRAW_MS = 250
/** Characters of output in the page; the outcome has the rest, as far as its limit goes. */
const CHARS_MAX = 200_000
/** Lines of a timeline that are drawn. */
const LINES_MAX = 1000

export class LiveRun {
  #parts
  #told = { plan: noPlan, wall: '' }
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
    if (name === 'plan') this.#told = { plan: data.plan, wall: data.wall }
    if (name === 'stdout' || name === 'stderr') this.#print(name, data.text)
    if (name !== 'event') return
    this.#began ??= performance.now() - data.at
    if (this.#timeline.length < LINES_MAX) this.#timeline.push(data)
    this.#tick()
  }

  /** Milliseconds since its code was released; undefined before. */
  get age() {
    return this.#began === undefined ? undefined : performance.now() - this.#began
  }

  /** The whole life, once there is an outcome; without one, as far as it came. */
  async end(outcome) {
    clearInterval(this.#timer)
    this.#isOver = true
    if (outcome) return this.#show(outcome.timeline.length > 0 ? lifeOf(outcome) : undefined)
    if (this.#began !== undefined) await this.#show({ ...this.#life(), status: 'cancelled' })
  }

  /** Output that was not streamed, and whether any was cut. */
  printRest({ stdout, stderr, truncated }) {
    if (this.#chars === 0) {
      this.#print('stdout', stdout)
      this.#print('stderr', stderr)
    }
    const isCut = truncated.stdout || truncated.stderr || this.#chars > CHARS_MAX
    if (isCut) this.#parts.output.append(span('cut', '\n… more was printed than is shown'))
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
    else output.append(span(name, shown))
    if (isAtEnd) output.scrollTop = output.scrollHeight
  }

  #life() {
    return {
      ...this.#told,
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

  /** As an image: there nothing in it can run or reach the page. It is decoded before it is put in place, or it flickers. */
  async #show(life) {
    const { life: place } = this.#parts
    if (!life) return place.replaceChildren()
    const picture = pictureOf(life)
    const made = document.createElement('img')
    made.className = 'life'
    made.src = `data:image/svg+xml,${encodeURIComponent(svgOf(picture, { width: place.clientWidth }))}`
    made.alt = `${titleText(picture)}. ${wholeText(picture)}`
    await made.decode().catch(() => undefined)
    // A picture of it running that is ready late.
    if (life.status === 'running' && this.#isOver) return
    place.replaceChildren(made)
  }
}

function span(className, text) {
  const made = document.createElement('span')
  made.className = className
  made.textContent = text
  return made
}
