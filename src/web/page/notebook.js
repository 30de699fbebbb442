// A notebook: cells that share one session, and its life beneath them.
import { CellList } from './cell-list.js'
import { element } from './display.js'
import { sessionLives } from './notebook-samples.js'
import { fileItems } from './session-files.js'
import { NotebookSession } from './session.js'
import { SessionLife } from './session-life.js'

const byId = (id) => document.getElementById(`nb-${id}`)
const [language, lifeKind, lifeAbout, state] = ['language', 'life', 'life-about', 'state'].map(byId)
const [runAll, interrupt, restart, end] = ['run-all', 'interrupt', 'restart', 'end'].map(byId)
const [notice, why, again] = ['notice', 'why', 'again'].map(byId)
const [filesPart, fileList] = ['files', 'file-list'].map(byId)
const [lifePart, renew] = ['life-part', 'renew'].map(byId)
const lifeParts = {
  picture: byId('picture'),
  rights: byId('rights'),
  deadline: byId('deadline'),
  phase: byId('phase'),
  renew,
}

/** A session that ended this close to its deadline counts as ended by the deadline. */
const NEAR_MS = 2000
/** Status of a wall without files. */
const NO_FILES = 422

const cells = new CellList({
  list: byId('cells'),
  add: byId('add'),
  undo: byId('undo'),
  undoPart: byId('undo-part'),
  onRun: (cell) => enqueue([cell]),
  onDelete: (cell) => {
    queue = queue.filter((one, n) => one !== cell || (n === 0 && isRunning))
  },
})
/** Session and its life; a promise while it opens. */
let session
let life
let opening
let following
/** Queue of cells; the first one is running. */
let queue = []
let isRunning = false
let runs = 0
/** False once a session has responded that its wall has no files. */
let hasFiles = true
/** Reason for the end, if the visitor caused it. */
let ending
/** False once the server has rejected the sample schedules, which are then not sent again. */
let isLifeKnown = true

for (const [value, name] of sessionLives) lifeKind.add(new Option(name, value))
lifeKind.addEventListener('change', describeLife)
language.addEventListener('change', () => void changeLanguage())
runAll.addEventListener('click', () => enqueue(cells.all))
interrupt.addEventListener('click', () => void stop())
restart.addEventListener('click', () => void restarted())
end.addEventListener('click', () => void closed('You ended it.'))
again.addEventListener('click', () => void open())
renew.addEventListener('click', () => void renewed())
addEventListener('pagehide', () => {
  ending = 'You left the page.'
  void session?.close(true).catch(() => undefined)
})
describeLife()
cells.load(language.value)
runAll.disabled = false
showState()

function describeLife() {
  lifeAbout.textContent = sessionLives.find(([value]) => value === lifeKind.value)[2]
}

async function changeLanguage() {
  await closed('The language was changed.')
  hideNotice()
  cells.load(language.value)
}

function enqueue(some) {
  for (const cell of some) {
    if (queue.includes(cell) || cell.code.trim() === '') continue
    cell.waits()
    queue.push(cell)
  }
  showState()
  if (!isRunning) void runQueue()
}

/** Runs cells one after another; after a failed one the others do not run. */
async function runQueue() {
  isRunning = true
  try {
    while (queue.length > 0) {
      const isGood = (await open()) && (await runOne(queue[0]))
      if (isGood) queue.shift()
      else drop()
      showState()
    }
  } finally {
    isRunning = false
    showState()
  }
}

function drop(message = '') {
  for (const cell of queue) if (cell.isWaiting) cell.refused(message)
  queue = []
}

/** Runs a cell; true if its status is ok. */
async function runOne(cell) {
  const ended = life.begin()
  const n = ++runs
  try {
    const outcome = await session.run(cell.code, (name, data) => cell.hear(name, data))
    ended(outcome.status)
    cell.show(outcome, n)
    if (!outcome.session?.ended) void afterRun()
    return outcome.status === 'ok'
  } catch (refused) {
    if (refused.outcome && refused.code !== 'SESSION_ENDED') {
      ended(refused.outcome.status)
      cell.show(refused.outcome, n)
    } else {
      ended('failed')
      cell.refused(messageOf(refused))
    }
    return false
  }
}

async function afterRun() {
  const one = session
  await Promise.allSettled([one.look(), hasFiles && showFiles(one)])
}

/** Opens a session unless one is open; false on failure. */
async function open() {
  if (session) return true
  opening ??= opened().finally(() => (opening = undefined))
  const isOpen = await opening
  showState()
  return isOpen
}

async function opened() {
  hideNotice()
  showState()
  ending = undefined
  try {
    const made = await asked()
    session = made
    runs = 0
    hasFiles = true
    lifePart.hidden = false
    life = new SessionLife(made, lifeParts)
    following = follow(made, life)
    return true
  } catch (refused) {
    tell(`No session: ${messageOf(refused)}`)
    return false
  }
}

/** Requests a session; falls back to the server's schedule if it does not have the sample schedules. */
async function asked() {
  const plain = { language: language.value }
  const schedule = isLifeKnown && lifeKind.value
  if (!schedule) return await NotebookSession.open(plain)
  try {
    return await NotebookSession.open({ ...plain, schedule })
  } catch (refused) {
    if (refused.details?.field !== 'schedule') throw refused
    isLifeKnown = false
    lifeKind.replaceChildren(new Option('as configured on this server', ''))
    lifeKind.disabled = true
    lifeAbout.textContent =
      'The schedule of this server determines how the rights of a session shrink.'
    return await NotebookSession.open(plain)
  }
}

async function follow(one, itsLife) {
  let outcome
  let lost = ''
  try {
    outcome = await one.watch((entry) => itsLife.hear(entry))
  } catch (refused) {
    lost = messageOf(refused)
  }
  const near = one.left
  await itsLife.end(outcome)
  if (session !== one) return
  session = undefined
  drop('Not run: the session has ended.')
  fileList.replaceChildren()
  filesPart.hidden = true
  showState()
  if (ending !== 'silent') tell(endedText(outcome, { near, lost }), true)
}

/** Explains the end of a session to the visitor. */
function endedText(outcome, { near, lost }) {
  const said =
    ending ?? (outcome ? reasonOf(outcome, near) : `The server no longer has it (${lost}).`)
  return `The session has ended. ${said} Its variables and files are gone; the cells keep their text.`
}

function reasonOf({ status, error }, { ms, lastMs }) {
  if (status === 'timeout' || (status === 'ok' && lastMs < NEAR_MS))
    return 'It reached its maximum lifetime.'
  if (status === 'ok' && ms < NEAR_MS) return 'No cell ran for five minutes.'
  if (status === 'ok' || status === 'cancelled') return 'The server or its operator ended it.'
  const message = error?.message?.replace(/^anomaly \w+: /, '')
  return `It ended as "${status}"${message ? `: ${message}` : ''}.`
}

/** Interrupts the running exec, and clears the queue. */
async function stop() {
  const [running, ...rest] = queue
  for (const cell of rest) cell.refused('Not run: interrupted.')
  queue = running ? [running] : []
  interrupt.disabled = true
  try {
    await session?.interrupt()
  } catch (refused) {
    tell(messageOf(refused))
  }
  showState()
}

async function closed(because) {
  await opening
  const one = session
  if (!one) return
  ending = because
  showState()
  await one.close().catch(() => undefined)
  // The event stream of the session ends with it.
  await following
}

async function restarted() {
  restart.disabled = true
  await closed('silent')
  for (const cell of cells.all) {
    cell.clear()
    cell.count = undefined
  }
  await open()
  restart.focus()
}

async function renewed() {
  try {
    await session?.renew()
  } catch (refused) {
    tell(messageOf(refused))
  }
}

async function showFiles(one) {
  const items = await fileItems(one, (refused) => tell(messageOf(refused))).catch((refused) => {
    if (session === one && refused.status === NO_FILES) hasFiles = false
    return []
  })
  if (session !== one) return
  filesPart.hidden = items.length === 0
  fileList.replaceChildren(...items)
}

function showState() {
  const [tone, word] = stateNow()
  state.replaceChildren(element('strong', `badge ${tone}`, word))
  const isOpen = session !== undefined
  interrupt.disabled = !isOpen || queue.length === 0
  restart.disabled = !isOpen
  end.disabled = !isOpen
  renew.hidden = !isOpen
  lifeKind.disabled = isOpen || opening !== undefined || !isLifeKnown
}

function stateNow() {
  if (opening) return ['live', 'opening']
  if (!session) return ['quiet', 'no session']
  const { language: its } = session.row
  const name = { python: 'Python', node: 'Node', js: 'JavaScript' }[its] ?? its
  return queue.length > 0 ? ['live', `${name}, busy`] : ['good', `${name}, ready`]
}

function messageOf({ code, message, status }) {
  if (status === 401) return 'The token of this page has expired. Reload the page.'
  if (code === 'SESSION_ENDED') return 'Not run: the session has ended.'
  return message
}

function tell(text, canOpen = false) {
  why.textContent = text
  again.hidden = !canOpen
  notice.hidden = false
}

function hideNotice() {
  notice.hidden = true
}
