// Ordered cells of a notebook, with navigation between them. Their text is stored in this browser.
import { Cell } from './cell.js'
import { samples } from './notebook-samples.js'

const CELLS_MAX = 100
const STORED_CHARS_MAX = 200_000

export class CellList {
  #parts
  #cells = []
  #language = ''
  #deleted

  /** `parts`: the elements `list`, `add`, `undo` and `undoPart`; `onRun(cell)` and `onDelete(cell)`. */
  constructor(parts) {
    this.#parts = parts
    parts.add.addEventListener('click', () => this.#addAt(this.#cells.length))
    parts.undo.addEventListener('click', () => this.#restore())
  }

  get all() {
    return this.#cells
  }

  /** Loads the cells stored in this browser, else the sample cells of the language. */
  load(language) {
    this.#language = language
    this.#parts.list.replaceChildren()
    this.#cells = []
    for (const text of stored(language) ?? samples[language]) this.#insert(this.#cells.length, text)
    this.#forget(undefined)
  }

  #onCell(what, cell) {
    const at = this.#cells.indexOf(cell)
    const does = {
      edit: () => this.#store(),
      run: () => this.#parts.onRun(cell),
      next: () => {
        this.#parts.onRun(cell)
        const next = this.#cells[at + 1]
        if (next) next.focus()
        else this.#addAt(at + 1)
      },
      insert: () => {
        this.#parts.onRun(cell)
        this.#addAt(at + 1)
      },
      add: () => this.#addAt(at + 1),
      delete: () => this.#remove(at),
      up: () => this.#move(at, at - 1),
      down: () => this.#move(at, at + 1),
      above: () => this.#cells[at - 1]?.focus(),
      below: () => this.#cells[at + 1]?.focus(),
    }
    does[what]()
  }

  #insert(at, text) {
    const cell = new Cell(text, (what, one) => this.#onCell(what, one))
    this.#cells.splice(at, 0, cell)
    this.#parts.list.insertBefore(cell.element, this.#parts.list.children[at] ?? null)
    this.#placed()
    return cell
  }

  #addAt(at) {
    if (this.#cells.length < CELLS_MAX) this.#insert(at, '').focus()
  }

  #remove(at) {
    const [cell] = this.#cells.splice(at, 1)
    this.#parts.onDelete(cell)
    cell.element.remove()
    if (this.#cells.length === 0) this.#insert(0, '')
    this.#placed()
    this.#forget({ at, text: cell.code })
    this.#cells[Math.min(at, this.#cells.length - 1)].focus()
  }

  #forget(one) {
    this.#deleted = one
    this.#parts.undoPart.hidden = !one
  }

  #restore() {
    if (!this.#deleted || this.#cells.length >= CELLS_MAX) return
    const { at, text } = this.#deleted
    this.#forget(undefined)
    this.#insert(Math.min(at, this.#cells.length), text).focus()
  }

  #move(from, to) {
    if (to < 0 || to >= this.#cells.length) return
    const [cell] = this.#cells.splice(from, 1)
    this.#cells.splice(to, 0, cell)
    const { list } = this.#parts
    const { activeElement } = document
    list.insertBefore(cell.element, list.children[from < to ? to + 1 : to] ?? null)
    this.#placed()
    // Moving an element in the DOM removes its focus.
    if (cell.element.contains(activeElement) && !activeElement.disabled) activeElement.focus()
    else cell.focus()
  }

  #placed() {
    const { length } = this.#cells
    for (const [n, cell] of this.#cells.entries()) cell.place(n + 1, length)
    this.#parts.add.disabled = length >= CELLS_MAX
    this.#store()
  }

  #store() {
    const text = JSON.stringify(this.#cells.map(({ code }) => code))
    try {
      if (text.length <= STORED_CHARS_MAX) localStorage.setItem(storageKey(this.#language), text)
    } catch {
      // localStorage is full or disabled: the cells are lost when the page is closed.
    }
  }
}

function stored(language) {
  try {
    const texts = JSON.parse(localStorage.getItem(storageKey(language)))
    const isFit = Array.isArray(texts) && texts.length > 0 && texts.length <= CELLS_MAX
    return isFit && texts.every((text) => typeof text === 'string') ? texts : undefined
  } catch {
    return undefined
  }
}

const storageKey = (language) => `mayfly-notebook-${language}`
