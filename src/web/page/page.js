import { block, element } from './display.js'
import { examples, inputPlaces, languages, lives } from './examples.js'
import { LiveRun } from './live.js'
import { detailOf, headlineOf, returnedBy, runningHeadline } from './outcome.js'
import { snippetsOf } from './snippets.js'

const byId = (id) => document.getElementById(id)
const [job, example, about, tabs] = ['job', 'example', 'about', 'languages'].map(byId)
const [lifeKind, lifeAbout, code, gutter] = ['life-kind', 'life-about', 'code', 'gutter'].map(byId)
const [input, inputPart, inputPlace, inputError] = [
  'input',
  'input-part',
  'input-place',
  'input-error',
].map(byId)
const [run, stop, notice, same, snippets] = ['run', 'stop', 'notice', 'same', 'snippets'].map(byId)
const [outcome, headline, printed, output, returned, life, detail] = [
  'outcome',
  'headline',
  'printed',
  'output',
  'returned',
  'life',
  'detail',
].map(byId)

const jobView = byId('job-view')

const TICK_MS = 250
const api = document.querySelector('meta[name="mayfly-api"]').content
const narrow = matchMedia('(max-width: 900px)')

/** Current run, if any. */
let current
let chosen = examples[0]

fillChoices()
example.addEventListener('change', () => choose(examples[example.value]))
tabs.addEventListener('change', () => changeLanguage(tabs.querySelector(':checked').value))
lifeKind.addEventListener('change', describeLife)
code.addEventListener('input', edited)
code.addEventListener('scroll', () => (gutter.scrollTop = code.scrollTop))
input.addEventListener('input', () => {
  inputError.textContent = ''
  showSnippets()
})
same.addEventListener('toggle', showSnippets)
stop.addEventListener('click', () => current?.abort())
job.addEventListener('submit', (event) => {
  event.preventDefault()
  void start()
})
document.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey) || jobView.hidden) return
  event.preventDefault()
  void start()
})
choose(examples[0])
if (!document.querySelector('meta[name="mayfly-session"]')) {
  run.disabled = true
  tell('This server issues no session tokens to visitors: running code needs an API key.')
}

function fillChoices() {
  for (const [index, { name, group }] of examples.entries()) {
    let options = example.querySelector(`optgroup[label="${group}"]`)
    if (!options) {
      options = element('optgroup', '', '', { label: group })
      example.append(options)
    }
    options.append(new Option(name, index))
  }
  for (const [value, name] of lives) lifeKind.add(new Option(name, value))
  for (const [value, name] of languages) {
    const label = element('label')
    label.append(element('input', '', '', { type: 'radio', name: 'language', value }), name)
    tabs.append(label)
  }
}

function choose(one) {
  chosen = one
  example.value = examples.indexOf(one)
  about.textContent = one.about
  code.value = one.code
  input.value = one.input === undefined ? '' : JSON.stringify(one.input, null, 2)
  inputPart.open = one.input !== undefined && Object.keys(one.input).length > 0
  inputError.textContent = ''
  lifeKind.value = one.life ?? ''
  code.scrollTop = 0
  describeLife()
  setLanguage(one.language)
  edited()
}

/** A language switch loads its first example, unless the visitor has edited the code. */
function changeLanguage(language) {
  const isUntouched = code.value === chosen.code || code.value.trim() === ''
  if (isUntouched) return choose(examples.find((one) => one.language === language))
  setLanguage(language)
  showSnippets()
}

function setLanguage(language) {
  tabs.querySelector(`[value="${language}"]`).checked = true
  inputPlace.textContent = inputPlaces[language]
}

function languageNow() {
  return tabs.querySelector(':checked').value
}

function describeLife() {
  lifeAbout.textContent = lives.find(([value]) => value === lifeKind.value)[2]
  showSnippets()
}

/** Updates line numbers, which errors and findings refer to. */
function edited() {
  const lines = code.value.split('\n').length
  gutter.textContent = Array.from({ length: lines }, (_, i) => i + 1).join('\n')
  gutter.scrollTop = code.scrollTop
  showSnippets()
}

function jump(line, column) {
  const before = code.value.split('\n').slice(0, line - 1)
  const at = before.reduce((sum, text) => sum + text.length + 1, 0) + column - 1
  code.focus()
  code.setSelectionRange(at, at + 1)
  code.scrollTop = (line - 4) * parseFloat(getComputedStyle(code).lineHeight)
}

async function start() {
  if (current || run.disabled) return
  const value = readInput()
  if (!value) return
  const { signal } = (current = new AbortController())
  const live = new LiveRun({ printed, output, life })
  returned.replaceChildren()
  detail.replaceChildren()
  busy(true)
  // Announced once a second; tenths would be read aloud ten times a second.
  const timer = setInterval(() => age(live), TICK_MS)
  age(live)
  if (narrow.matches) outcome.scrollIntoView({ block: 'start' })
  try {
    const options = {
      language: languageNow(),
      input: value.json,
      ...(lifeKind.value && { schedule: lifeKind.value }),
      artifacts: 'inline',
      signal,
      on: (name, data) => live.hear(name, data),
    }
    const answer = await runActiveContent(code.value, options)
    clearInterval(timer)
    await show(answer, live)
  } catch (error) {
    clearInterval(timer)
    await show(failure(error, signal), live)
  } finally {
    current = undefined
    busy(false)
  }
}

function age(live) {
  headline.replaceChildren(...runningHeadline(live.age))
}

function readInput() {
  try {
    return { json: input.value.trim() === '' ? undefined : JSON.parse(input.value) }
  } catch (error) {
    inputError.textContent = `This is not JSON: ${error.message}`
    inputPart.open = true
    input.focus()
    return undefined
  }
}

function failure(error, signal) {
  if (signal.aborted)
    return {
      status: 499,
      code: 'stopped',
      message: 'You stopped it, and the server destroys its sandbox',
    }
  return {
    status: 0,
    code: 'unreachable',
    message: `The server does not answer: ${error.message}`,
  }
}

function busy(is) {
  run.disabled = is
  run.textContent = is ? 'Running…' : 'Run'
  stop.hidden = !is
  outcome.setAttribute('aria-busy', String(is))
  headline.setAttribute('aria-live', is ? 'off' : 'polite')
}

async function show(answer, live) {
  const ended = answer.outcome ?? answer
  const isOutcome = typeof ended.status === 'string'
  headline.setAttribute('aria-live', 'polite')
  headline.replaceChildren(...headlineOf(answer))
  if (isOutcome) live.printRest(ended)
  returned.replaceChildren(...returnedBy(answer).filter(Boolean))
  await live.end(isOutcome ? ended : undefined)
  detail.replaceChildren(...detailOf(answer, jump))
  if (answer.status === 401) tell('The token of this page has expired. Reload the page.')
}

function showSnippets() {
  if (!same.open) return
  const { makesFiles } = chosen
  const asked = { code: code.value, language: languageNow(), life: lifeKind.value, makesFiles }
  const made = snippetsOf({ ...asked, input: inputOrNothing() }, api)
  snippets.replaceChildren(...made.flatMap(({ name, text }) => snippet(name, text)))
}

function inputOrNothing() {
  try {
    return input.value.trim() === '' ? undefined : JSON.parse(input.value)
  } catch {
    return undefined
  }
}

function snippet(name, text) {
  const head = element('div', 'bar')
  const about = { type: 'button', 'aria-label': `Copy: ${name}` }
  const copy = element('button', 'small', 'Copy', about)
  const shown = block(text)
  copy.addEventListener('click', () => void copied(copy, shown))
  head.append(element('h2', '', name), copy)
  return [head, shown]
}

/** Without clipboard access, selects the text for the keyboard. */
async function copied(button, shown) {
  try {
    await navigator.clipboard.writeText(shown.textContent)
    button.textContent = 'Copied'
  } catch {
    getSelection().selectAllChildren(shown)
    button.textContent = 'Selected'
  }
}

function tell(text) {
  notice.textContent = text
  notice.hidden = false
}
