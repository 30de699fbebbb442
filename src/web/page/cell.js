// A cell of a notebook: editor, count, output, result, error. Content from a job is inserted as text, never as markup.
import { appendEnds, block, displayed, element, files } from './display.js'
import { errorText, milliseconds, pretty } from './outcome.js'

/** Maximum characters of output shown of a cell; the outcome has the rest. */
const CHARS_MAX = 100_000
const ROWS_MIN = 2
const ROWS_MAX = 24

const endings = {
  timeout: 'Interrupted at its timeout.',
  cancelled: 'Interrupted.',
  limit: 'Ended at a resource limit.',
  blocked: 'Refused before it ran.',
  unavailable: 'No sandbox of this server is strong enough for it.',
  refused: 'Its output was rejected by the output checks.',
  failed: 'The sandbox or the server failed, not the code.',
  terminated: 'Its session ended while it ran.',
}

export class Cell {
  #parts
  #chars = 0
  #wrongLine = 0
  /** In the queue, or running. */
  isWaiting = false

  /** `on(event, cell)` receives `run`, `next`, `insert`, `up`, `down`, `add`, `delete`, `above`, `below` and `edit`. */
  constructor(text, on) {
    this.#parts = build()
    const { area, item, gutter } = this.#parts
    area.value = text
    area.addEventListener('input', () => {
      this.#wrongLine = 0
      this.#sized()
      on('edit', this)
    })
    area.addEventListener('scroll', () => (gutter.scrollTop = area.scrollTop))
    area.addEventListener('keydown', (event) => {
      if (isPlainEnter(event) && indented(area)) return event.preventDefault()
      const what = meaning(event, area)
      if (!what) return
      event.preventDefault()
      event.stopPropagation()
      on(what, this)
    })
    item.addEventListener('click', ({ target }) => {
      const what = target.closest('button[data-does]')?.dataset.does
      if (what) on(what, this)
    })
    this.#sized()
    this.count = undefined
  }

  get element() {
    return this.#parts.item
  }

  get code() {
    return this.#parts.area.value
  }

  focus() {
    this.#parts.area.focus()
  }

  /** Sets its position, for screen readers. */
  place(n, of) {
    const { item, area, buttons } = this.#parts
    item.setAttribute('aria-label', `Cell ${n} of ${of}`)
    area.setAttribute('aria-label', `Code of cell ${n}`)
    for (const [name, button] of Object.entries(buttons))
      button.setAttribute('aria-label', `${labels[name][1]} ${n}`)
    buttons.up.disabled = n === 1
    buttons.down.disabled = n === of
  }

  /** `[n]` after a run, `[*]` while it waits or runs, `[ ]` before. */
  set count(value) {
    const { count } = this.#parts
    count.textContent = `[${value ?? ' '}]`
    const said =
      value === '*' ? 'running or waiting' : value === undefined ? 'not run' : `run ${value}`
    count.setAttribute('aria-label', said)
  }

  waits() {
    this.count = '*'
    this.isWaiting = true
    this.element.setAttribute('aria-busy', 'true')
    this.clear()
  }

  clear() {
    this.#chars = 0
    this.#wrongLine = 0
    this.#numbered()
    for (const name of ['between', 'printed', 'returned']) this.#parts[name].replaceChildren()
    this.#parts.printed.hidden = true
    this.#parts.said.textContent = ''
  }

  hear(name, data) {
    if (name === 'stdout' || name === 'stderr') this.#print(name, data.text)
  }

  /** Shows how its exec ended. */
  show(outcome, n) {
    this.count = n
    this.isWaiting = false
    this.element.removeAttribute('aria-busy')
    const { between, printed, returned, said } = this.#parts
    if (this.#chars === 0) for (const name of ['stdout', 'stderr']) this.#print(name, outcome[name])
    if (this.#chars > CHARS_MAX) appendEnds(printed, outcome)
    between.replaceChildren(...betweenParts(outcome.session?.between))
    returned.replaceChildren(...this.#returnedBy(outcome, n))
    said.textContent = saidOf(outcome)
  }

  /** Marks the cell as not run, because it was refused or an earlier cell failed. */
  refused(message) {
    this.count = undefined
    this.isWaiting = false
    this.element.removeAttribute('aria-busy')
    if (!message) return
    this.#parts.said.textContent = message
  }

  #returnedBy(outcome, n) {
    const { status, error, result, encoding, artifacts = [], artifactsLeftOut = [] } = outcome
    const figures = displayed(outcome)
    const isShown = figures.length > 0 && encoding === 'text'
    const hasResult = status === 'ok' && !isShown && result !== null && result !== undefined
    const left = artifactsLeftOut.map(({ path, because }) => `${path} (${because})`)
    return [
      status === 'error' && error && this.#errorOf(outcome, n),
      hasResult && block(encoding === 'text' ? String(result) : pretty(result), 'result', 'Result'),
      ...figures,
      artifacts.length > 0 && files(artifacts),
      left.length > 0 && element('p', 'hint', `Omitted files: ${left.join(', ')}`),
    ].filter(Boolean)
  }

  /** Marks the line in the editor. */
  #errorOf({ error, stderr = '' }, n) {
    const made = element('div')
    const line = lineOf(error)
    if (line > 0 && line <= this.code.split('\n').length) {
      this.#wrongLine = line
      this.#numbered()
      const jump = element('button', 'place', `line ${line}`, {
        type: 'button',
        title: 'Show in the editor',
        'aria-label': `Show line ${line} of the cell that failed`,
      })
      jump.addEventListener('click', () => this.#jump(line))
      made.append(jump)
    }
    const { stack, ...short } = error
    const isPrinted = stack && stderr.includes(stack.trim().split('\n').at(-1))
    const text = errorText({ ...(isPrinted ? short : error), code: error.name ?? error.code })
    made.prepend(block(text, 'wrong', `Error of run ${n}`))
    return made
  }

  #jump(line) {
    const { area } = this.#parts
    const lines = area.value.split('\n')
    const at = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0)
    area.focus()
    area.setSelectionRange(at, at + lines[line - 1].length)
  }

  #print(name, text) {
    if (!text) return
    const room = CHARS_MAX - this.#chars
    this.#chars += text.length
    if (room <= 0) return
    const { printed } = this.#parts
    const isAtEnd = printed.scrollTop + printed.clientHeight >= printed.scrollHeight - 8
    printed.hidden = false
    const shown = text.slice(0, room)
    if (printed.lastChild?.className === name) printed.lastChild.append(shown)
    else printed.append(element('span', name, shown))
    if (isAtEnd) printed.scrollTop = printed.scrollHeight
  }

  #sized() {
    const lines = this.code.split('\n').length
    this.#parts.area.rows = Math.min(ROWS_MAX, Math.max(ROWS_MIN, lines))
    this.#numbered()
  }

  #numbered() {
    const { gutter, area } = this.#parts
    const lines = this.code.split('\n').length
    const numbers = Array.from({ length: lines }, (_, n) =>
      element('span', n + 1 === this.#wrongLine ? 'wrong-line' : '', String(n + 1)),
    )
    gutter.replaceChildren(...numbers)
    gutter.scrollTop = area.scrollTop
    area.classList.toggle('has-wrong-line', this.#wrongLine > 0)
    area.style.setProperty('--wrong-line', String(this.#wrongLine - 1))
  }
}

const labels = {
  run: ['Run', 'Run cell'],
  up: ['↑', 'Move up cell'],
  down: ['↓', 'Move down cell'],
  add: ['+', 'Add a cell below cell'],
  delete: ['×', 'Delete cell'],
}

function build() {
  const item = element('li', 'cell')
  const count = element('span', 'count', '', { role: 'img' })
  const gutter = element('pre', 'gutter', '', { 'aria-hidden': true })
  const plain = { spellcheck: false, autocapitalize: 'off', autocomplete: 'off', wrap: 'off' }
  const area = element('textarea', '', '', plain)
  const editor = element('div', 'editor')
  editor.append(gutter, area)
  const bar = element('div', 'cell-bar')
  const buttons = {}
  for (const [name, [text, title]] of Object.entries(labels)) {
    const about = { type: 'button', title: title.replace(/ cell$/, ''), 'data-does': name }
    buttons[name] = element('button', 'small', text, about)
    bar.append(buttons[name])
  }
  const between = element('div', 'between')
  const printed = block('', 'printed', 'Output')
  printed.setAttribute('role', 'log')
  printed.setAttribute('aria-live', 'off')
  printed.hidden = true
  const returned = element('div', 'returned')
  const said = element('p', 'hint said', '', { role: 'status' })
  const output = element('div', 'cell-output')
  output.append(between, printed, returned, said)
  item.append(count, editor, bar, output)
  return { item, count, gutter, area, buttons, between, printed, returned, said }
}

function isPlainEnter({ key, shiftKey, ctrlKey, metaKey, altKey, isComposing }) {
  return key === 'Enter' && !(shiftKey || ctrlKey || metaKey || altKey || isComposing)
}

/** Inserts a new line with the indentation of the current one, deeper after a block opener; false without indentation. */
function indented(area) {
  const line = area.value.slice(0, area.selectionStart).split('\n').at(-1)
  const [depth] = /^[ \t]*/.exec(line)
  const deeper = /:\s*$/.test(line) ? '    ' : /[{([]\s*$/.test(line) ? '  ' : ''
  // Deprecated, but the only way to insert text with undo in a textarea.
  return depth + deeper !== '' && document.execCommand('insertText', false, `\n${depth}${deeper}`)
}

/** Keys as in other notebooks; an arrow leaves the editor at its first and last character. */
function meaning(event, { value, selectionStart, selectionEnd }) {
  const { key, shiftKey, ctrlKey, metaKey, altKey } = event
  if (event.isComposing) return undefined
  if (key === 'Enter') {
    if (ctrlKey || metaKey) return 'run'
    if (shiftKey) return 'next'
    return altKey ? 'insert' : undefined
  }
  if (altKey && shiftKey && (key === 'ArrowUp' || key === 'ArrowDown'))
    return key === 'ArrowUp' ? 'up' : 'down'
  if (shiftKey || ctrlKey || metaKey || altKey || selectionStart !== selectionEnd) return undefined
  if (key === 'ArrowUp' && selectionStart === 0) return 'above'
  return key === 'ArrowDown' && selectionEnd === value.length ? 'below' : undefined
}

function betweenParts(between) {
  if (!between || (!between.stdout && !between.stderr)) return []
  const shown = block('', 'printed', 'Output of background work before this run')
  for (const name of ['stdout', 'stderr'])
    if (between[name]) shown.append(element('span', name, between[name].slice(0, CHARS_MAX)))
  return [element('p', 'hint', 'Printed in the background since the previous run:'), shown]
}

/** Line of the cell at which an error was thrown; 0 if unknown. */
function lineOf({ stack = '', details }) {
  if (details?.line) return details.line
  const last = [...stack.matchAll(/cell-\d+\.\w+(?:", line |:)(\d+)/g)]
  const place = /^Traceback/m.test(stack) ? last.at(-1) : last[0]
  return Number(place?.[1] ?? 0)
}

function saidOf({ status, error, metrics, session }) {
  const took = metrics?.executionTime > 0 ? milliseconds(metrics.executionTime) : ''
  const isStopped = status === 'cancelled' || status === 'timeout'
  const isTold = isStopped || status === 'ok' || status === 'error'
  const why = [endings[status], isTold || !error ? '' : `${error.message}.`]
    .filter(Boolean)
    .join(' ')
  const state =
    session?.state === 'lost'
      ? 'Its interpreter was restarted: variables are lost, files are kept.'
      : isStopped
        ? 'Variables are kept.'
        : ''
  return [why, session?.ended ? '' : state, took].filter(Boolean).join(' ')
}
