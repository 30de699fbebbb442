import { mayImport, thrown } from './failure.js'
import { FETCH } from './job.js'
import { parseJson } from '../parse-json.js'
import { encodedInto, encodingOf } from './decoders.js'

/**
 * Host calls available to a realm: a closed list, text or numbers in and out, all bounded.
 * @param {import('./job.js').Job} job
 * @param {string} op
 */
export function answer(job, op, a, b, c) {
  if (!Object.hasOwn(answers, op)) return undefined
  return answers[op](job, a, b, c)
}

const RANDOM_BYTES_MAX = 65_536
/** Loaded at first use: loading takes as long as creating two cells, and few jobs need it. */
const crypto = () => process.getBuiltinModule('node:crypto')
const answers = {
  __proto__: null,
  task: (job) => JSON.stringify(facts(job.task)),
  input: (job) => job.task.inputText,
  name: (job) => job.name,
  clock: (job) => job.elapsed(),
  arm: (job, ms) => job.arm(Number(ms)),
  stdout: (job, text) => job.print('stdout', String(text)),
  stderr: (job, text) => job.print('stderr', String(text)),
  ok: (job, encoding, text, pending) => job.succeed(encoding, text, pending),
  refused: (job, name) => job.reportRefused(String(name)),
  wait: (job) => void (job.isWaiting = true),
  frames: (job, text) => job.frames(String(text)),
  begin: (job) => job.begin(),
  answer: (job, encoding, text) => job.answer({ status: 'ok', encoding, resultText: text }),
  fault: (job, text) => {
    const { error } = job.withoutImport(thrown(parseJson(text), job))
    job.answer({ status: 'error', encoding: 'json', resultText: 'null', error })
  },
  error: (job, text) => job.refuse(job.withoutImport(thrown(parseJson(text), job))),
  owner: (job, sequence) => job.owned(sequence),
  import: (job, id, specifier) => job.import(id, String(specifier)),
  done: (job, sequence, encoding, text) => job.done(sequence, encoding, text),
  cut: (job, sequence, text) => job.done(sequence, 'text', text, true),
  failed: (job, sequence, text) => job.failed(sequence, parseJson(text)),
  random: (_job, count) =>
    crypto().randomBytes(Math.min(count, RANDOM_BYTES_MAX)).toString('latin1'),
  names: (job, text) => void (job.names = text),
  resolve: (job, from, specifier) => job.files.resolve(from, specifier, 'require') ?? '',
  kind: (job, path) => job.files.kind(path),
  file: (job, path) => job.files.text(path),
  uuid: () => crypto().randomUUID(),
  encode: (_job, text) => Buffer.from(text, 'utf8').toString('base64'),
  'encode-into': (_job, text, room) => encodedInto(text, room),
  encoding: (_job, label) => encodingOf(label),
  decoder: (job, encoding, fatal, ignoreBOM) => job.decoders.open(encoding, fatal, ignoreBOM),
  decode: (job, id, base64, isLast) => job.decoders.decode(id, base64, isLast),
  url: (_job, text, base) => urlText(URL.parse(bounded(text), base && bounded(base))),
  'url-set': (_job, href, name, value) => urlText(changed(bounded(href), name, bounded(value))),
  query: (_job, text) => JSON.stringify([...new URLSearchParams(text)].flat()),
  'query-text': (_job, text) => queryText(parseJson(text)),
}

const URL_UNITS_MAX = 2 ** 20
const URL_PARTS = [
  'protocol',
  'username',
  'password',
  'host',
  'hostname',
  'port',
  'pathname',
  'search',
  'hash',
]

function bounded(text) {
  if (typeof text !== 'string' || text.length > URL_UNITS_MAX)
    throw new RangeError('Cannot read the URL')
  return text
}

function changed(href, name, value) {
  const url = new URL(href)
  if (URL_PARTS.includes(name)) url[name] = value
  return url
}

function urlText(url) {
  if (url === null) return ''
  const { href, origin } = url
  return JSON.stringify({
    href,
    origin,
    ...Object.fromEntries(URL_PARTS.map((name) => [name, url[name]])),
  })
}

function queryText(flat) {
  const params = new URLSearchParams()
  for (let index = 0; index < flat.length; index += 2) params.append(flat[index], flat[index + 1])
  return params.toString()
}

function facts(task) {
  const { entry, exportName = 'default', timeoutMs, resultBytesMax, calls, capabilities } = task
  const { functions, code, files } = task
  const texts = files.filter(({ encoding }) => encoding === 'utf8').map(({ content }) => content)
  const network = capabilities.includes(FETCH)
  const guessed = task.isEntryGuessed === true
  const bounds = { timeoutMs, resultUnitsMax: resultBytesMax }
  return {
    entry,
    exportName,
    ...bounds,
    calls,
    network,
    guessed,
    functions,
    mayImport: [code, ...texts].some(mayImport),
  }
}
