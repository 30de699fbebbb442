/**
 * What a job stands on: its files, its input on descriptor 0, a place for its result on descriptor 3, its environment.
 */
import fs from 'node:fs'
import http from 'node:http'
import path from 'node:path'

const INPUT_FD = 0
const RESULT_FD = 3
const LISTENER_FD = 7
const PROXY = 'http://127.0.0.1:3128'
const SCRIPT_MODE = 0o755
const { closeSync, fstatSync, openSync, readFileSync, statSync } = fs

/**
 * @typedef {object} Task
 * @property {string} language
 * @property {string} entry
 * @property {string} code
 * @property {string} inputText
 * @property {{ path: string, content: string, encoding: 'utf8' | 'base64' }[]} files
 * @property {Record<string, string>} [env]
 * @property {number} timeoutMs
 * @property {number} resultBytesMax
 * @property {number} artifactBytesMax
 * @property {boolean} network
 */

/** @typedef {{ work: string, tmp: string, listens: boolean, starts: boolean }} Settings */

/** Lays out the job; answers the path of its main file. @param {Task} task @param {Settings} settings */
export function layOut(task, { work, tmp, listens }) {
  if (listens) closeSync(LISTENER_FD)
  const out = path.join(work, 'out')
  fs.mkdirSync(out, { recursive: true })
  for (const file of task.files) layFile(work, file)
  const main = freeName(work, task.language === 'sh' ? 'job.sh' : 'job.js')
  fs.writeFileSync(main, task.code, { flag: 'wx' })
  const result = path.join(tmp, '.mayfly-result')
  reopen(RESULT_FD, result, 'w+')
  const input = path.join(tmp, '.mayfly-input')
  fs.writeFileSync(input, task.inputText)
  reopen(INPUT_FD, input, 'r')
  fs.unlinkSync(input)
  setEnvironment(task, { HOME: work, TMPDIR: tmp, MAYFLY_OUT: out, MAYFLY_RESULT: result })
  process.chdir(work)
  return main
}

/** What the program wrote as its result: on the descriptor it was given, or in a file it put in its place.
 * @param {Settings} settings @param {number} bytesMax @returns {string | undefined} undefined when it is too large */
export function readResult({ tmp }, bytesMax) {
  const named = path.join(tmp, '.mayfly-result')
  try {
    const { size } = statSync(named)
    return size > bytesMax ? undefined : readFileSync(named, 'utf8')
  } catch {
    return fstatSync(RESULT_FD).size > bytesMax ? undefined : ''
  }
}

/** @param {string} work @param {Task['files'][number]} file */
function layFile(work, { path: place, content, encoding }) {
  const to = path.join(work, place)
  if (!to.startsWith(`${work}/`))
    throw new Error(`Cannot lay "${place}": it is not below "${work}"`)
  fs.mkdirSync(path.dirname(to), { recursive: true })
  const bytes = Buffer.from(content, encoding)
  const mode = bytes.subarray(0, 2).toString() === '#!' ? SCRIPT_MODE : 0o644
  fs.writeFileSync(to, bytes, { mode })
}

/** A file of the job may have the name already. @param {string} work @param {string} name */
function freeName(work, name) {
  const { base, ext } = { base: path.parse(name).name, ext: path.parse(name).ext }
  let main = path.join(work, name)
  for (let n = 1; fs.existsSync(main); n++) main = path.join(work, `${base}-${n}${ext}`)
  return main
}

/** The lowest descriptor that is free is the one just closed. @param {number} fd @param {string} file @param {string} flags */
function reopen(fd, file, flags) {
  closeSync(fd)
  const got = openSync(file, flags, 0o600)
  if (got !== fd) throw new Error(`Cannot open descriptor ${fd}: ${got} was free too`)
}

/** @param {Task} task @param {Record<string, string>} own */
function setEnvironment({ env = {}, network }, own) {
  const near = 'localhost,127.0.0.1'
  const proxy = {
    HTTP_PROXY: PROXY,
    HTTPS_PROXY: PROXY,
    http_proxy: PROXY,
    https_proxy: PROXY,
    NO_PROXY: near,
    no_proxy: near,
    NODE_USE_ENV_PROXY: '1',
  }
  Object.assign(process.env, env, own, network ? proxy : {})
  if (network) http.setGlobalProxyFromEnv?.()
}
