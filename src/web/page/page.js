import { examples } from './examples.js'
import { detailOf, headlineOf } from './outcome.js'

const byId = (id) => document.getElementById(id)
const [job, example, about, language] = ['job', 'example', 'about', 'language'].map(byId)
const [code, gutter, input, inputError] = ['code', 'gutter', 'input', 'input-error'].map(byId)
const [run, stop, headline, detail, notice] = ['run', 'stop', 'headline', 'detail', 'notice'].map(
  byId,
)

/** The run under way, if one is. */
let current

for (const { name } of examples) example.add(new Option(name))
example.addEventListener('change', () => choose(examples[example.selectedIndex]))
code.addEventListener('input', number)
code.addEventListener('scroll', () => (gutter.scrollTop = code.scrollTop))
input.addEventListener('input', () => (inputError.textContent = ''))
stop.addEventListener('click', () => current?.abort())
job.addEventListener('submit', (event) => {
  event.preventDefault()
  void start()
})
document.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return
  event.preventDefault()
  void start()
})
choose(examples[0])
if (!document.querySelector('meta[name="mayfly-session"]')) {
  run.disabled = true
  tell('This server gives visitors no session tokens: code can be run with an API key alone.')
}

function choose({ about: text, code: source, input: value }) {
  about.textContent = text
  code.value = source
  input.value = JSON.stringify(value, null, 2)
  inputError.textContent = ''
  code.scrollTop = 0
  number()
}

/** Line numbers, since errors and findings name lines. */
function number() {
  const lines = code.value.split('\n').length
  gutter.textContent = Array.from({ length: lines }, (_, i) => i + 1).join('\n')
  gutter.scrollTop = code.scrollTop
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
  current = new AbortController()
  busy(true)
  try {
    const options = { language: language.value, input: value.json, signal: current.signal }
    show(await runActiveContent(code.value, options))
  } catch (error) {
    show(failure(error))
  } finally {
    current = undefined
    busy(false)
  }
}

function readInput() {
  try {
    return { json: input.value.trim() === '' ? null : JSON.parse(input.value) }
  } catch (error) {
    inputError.textContent = `This is not JSON: ${error.message}`
    input.focus()
    return undefined
  }
}

function failure(error) {
  if (error.name === 'AbortError')
    return { status: 499, code: 'STOPPED', message: 'You stopped it; the server ends the job.' }
  return { status: 0, code: 'UNREACHABLE', message: `The server does not answer: ${error.message}` }
}

function busy(is) {
  run.disabled = is
  run.textContent = is ? 'Running…' : 'Run'
  stop.hidden = !is
  headline.parentElement.setAttribute('aria-busy', String(is))
}

function show(answer) {
  headline.replaceChildren(...headlineOf(answer))
  detail.replaceChildren(...detailOf(answer, jump))
  if (answer.status === 401) tell('The token of this page no longer holds. Load the page again.')
}

function tell(text) {
  notice.textContent = text
  notice.hidden = false
}
