/**
 * Prepares a job's environment: files, input on fd 0, result file on fd 3, variables.
 */
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { isOutMade, knowMade } from './artifacts.js'
import { isShell } from './shell.js'

const require = createRequire(import.meta.url)
const INPUT_FD = 0
const RESULT_FD = 3
const LISTENER_FD = 7
const PROXY = 'http://127.0.0.1:3128'
export const SCRIPT_MODE = 0o755
const RESULT = '.mayfly-result'
/** Main file of a job whose source has no name. */
const MAIN = 'job.js'
const NOTHING = '/dev/null'
const AUTHORITIES = '/etc/ssl/certs/ca-certificates.crt'
/** CA bundle variables, each of which replaces a program's default. */
const BUNDLES = ['SSL_CERT_FILE', 'CURL_CA_BUNDLE', 'REQUESTS_CA_BUNDLE']
const { closeSync, constants, fstatSync, openSync, readSync } = fs
const NAMED = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
const { alloc } = Buffer
const { bind, call } = Function.prototype
const isFile = bind.call(call, fs.Stats.prototype.isFile)
const toText = bind.call(call, Buffer.prototype.toString)

/** @typedef {{ path: string, content: string, encoding: 'utf8' | 'base64', type?: 'file' | 'folder' | 'link', executable?: boolean }} LaidFile */

/**
 * @typedef {object} Task
 * @property {string} language
 * @property {string} entry
 * @property {string} code
 * @property {boolean} [typed] the code is TypeScript
 * @property {boolean} [isEntryGuessed] the job did not request that entry
 * @property {string} inputText
 * @property {LaidFile[]} files
 * @property {Record<string, string>} [env]
 * @property {string[]} [args]
 * @property {{ content?: string, encoding?: 'utf8' | 'base64', sent?: true }} [stdin] in place of the input as JSON; `sent` ahead
 * @property {number} timeoutMs
 * @property {number} [memoryBytes] limit of the job's memory
 * @property {number} resultBytesMax
 * @property {number} artifactBytesMax
 * @property {boolean} network
 * @property {string} [name] what the source is called
 * @property {string} [trust] PEM of an authority to trust beside the known ones
 * @property {boolean} [stays] is there to be looked into once it has ended
 * @property {boolean} [session] stays open, and takes one exec after another
 * @property {number} [calls] of a batch, as many as the list in `inputText` has inputs
 */

/** @typedef {{ work: string | null, tmp: string | null, own?: string, listens: boolean, hasRoot: boolean, warm: boolean, threads: boolean, cloned?: boolean, packages?: readonly { kind: string, at: string }[] }} Settings */

/** Working folder of a job that `prepare` has made ready for. */
let prepared = ''
/** Main file that `prepare` made, still empty. @type {{ fd: number, file: string } | undefined} */
let made

/**
 * Does what is the same for every job, while the runner waits: opens result and input, sets variables, enters the folder.
 * Not where a file of the job could have the name of one of these.
 * @param {Settings} settings
 */
export function prepare(settings) {
  const { work } = settings
  if (!work || `${ownOf(settings)}/`.startsWith(`${work}/`)) return
  surround(work, settings)
  openNewInput(settings)
  prepared = work
  // A machine closes writing by a remount, and its agent ends each process that holds a file open for writing.
  if (settings.own === undefined && isOutMade(work)) makeMain(work)
}

/** Written once the job is there, it leaves its folder as it was, which the job's end then need not read. @param {string} work */
function makeMain(work) {
  const file = path.join(work, MAIN)
  made = { fd: openSync(file, 'wx'), file }
  knowMade(work)
}

/** Removes the main file that was made ahead, for a job that may have a file of that name. */
export function dropMain() {
  if (!made) return
  closeSync(made.fd)
  fs.unlinkSync(made.file)
  made = undefined
}

/** @param {string} work @param {Settings} settings */
function surround(work, settings) {
  reopen(RESULT_FD, placeOfResult(settings), 'w+')
  Object.assign(process.env, { HOME: work, TMPDIR: settings.tmp })
  process.chdir(work)
  // Node asks the kernel once after each change.
  process.cwd()
}

/** @param {Settings} settings */
function openNewInput(settings) {
  const place = placeOfInput(settings)
  reopen(INPUT_FD, place, 'w+')
  fs.unlinkSync(place)
}

/**
 * Lays out the job's files; returns the path of its main file, which a session lacks. @param {Task} task @param {Settings} settings
 */
export function layOut(task, settings) {
  const { work, tmp, listens, hasRoot, packages = [] } = settings
  const isPrepared = prepared === work
  prepared = ''
  if (!work) throw new Error('Cannot lay out the job: this wall has no writable folder')
  if (listens) closeSync(LISTENER_FD)
  if (!isUsual(task)) dropMain()
  const out = path.join(work, 'out')
  if (!isOutMade(work)) fs.mkdirSync(out, { recursive: true })
  linkPackages(work, packages)
  // Links last, so that no file is written through one.
  for (const file of task.files) if (file.type !== 'link') layFile(work, file)
  for (const file of task.files) if (file.type === 'link') layLink(work, file)
  // Without a package.json here Node would search parent folders, fail on unreadable ones, and exit.
  const own = path.join(work, 'package.json')
  if (!hasRoot && !fs.existsSync(own)) fs.writeFileSync(own, '{}')
  const main = task.session ? '' : (writeMade(task.code) ?? layMain(work, task))
  if (!isPrepared) surround(work, settings)
  if (task.stdin?.sent) openSentInput(settings)
  else {
    if (!isPrepared) openNewInput(settings)
    writeInput(task)
  }
  setEnvironment(task, { MAYFLY_OUT: out, MAYFLY_RESULT: placeOfResult(settings) })
  if (task.trust) trustToo(task.trust, tmp)
  return main
}

/** True for a job that is one source without a name. @param {Task} task */
function isUsual({ language, name, typed, session, files }) {
  return language === 'node' && name === undefined && !typed && !session && files.length === 0
}

/** Writes the main file that was made ahead; undefined without one. @param {string} code */
function writeMade(code) {
  if (!made) return undefined
  const { fd, file } = made
  made = undefined
  fs.writeFileSync(fd, code)
  closeSync(fd)
  return file
}

/** Opens the file that was sent ahead. @param {Settings} settings */
function openSentInput(settings) {
  const place = placeOfInput(settings)
  reopen(INPUT_FD, place, 'r')
  fs.unlinkSync(place)
}

/** Leaves the position of the descriptor at its start. @param {Task} task */
function writeInput({ stdin, inputText }) {
  const bytes = Buffer.from(stdin?.content ?? inputText ?? '', stdin?.encoding)
  for (let at = 0; at < bytes.length;)
    at += fs.writeSync(INPUT_FD, bytes, at, bytes.length - at, at)
}

/** @param {Pick<Settings, 'own' | 'tmp'>} settings */
export function placeOfInput(settings) {
  return path.join(ownOf(settings), '.mayfly-input')
}

/** @param {Pick<Settings, 'own' | 'tmp'>} settings */
function placeOfResult(settings) {
  return path.join(ownOf(settings), RESULT)
}

/**
 * Folder of result and input. If a phase closes writing, this folder stays writable.
 * @param {Pick<Settings, 'own' | 'tmp'>} settings
 */
function ownOf({ own, tmp }) {
  return own ?? tmp ?? '/tmp'
}

/**
 * The source may already be among the files, if a whole folder was sent. @param {string} work @param {Task}
 * task
 */
function layMain(work, task) {
  const name = isShell(task.language) ? (task.name ?? 'job.sh') : nameOfProgram(task)
  const own = placeBelow(work, name)
  if (path.dirname(own) === work && isWrittenNew(own, task.code)) return own
  if (isSame(own, task.code)) return own
  const main = freeName(work, name)
  fs.mkdirSync(path.dirname(main), { recursive: true })
  fs.writeFileSync(main, task.code, { flag: 'wx' })
  return main
}

/** Writes a file that does not exist, as one open in place of the four calls that look for it first. @param {string} file @param {string} text */
function isWrittenNew(file, text) {
  try {
    fs.writeFileSync(file, text, { flag: 'wx' })
    return true
  } catch (error) {
    if (/** @type {any} */ (error).code === 'EEXIST') return false
    throw error
  }
}

/** Node chooses the module type by suffix. @param {Task} task */
function nameOfProgram({ name, typed }) {
  if (name === undefined) return typed ? 'job.ts' : MAIN
  if (/\.(?:[cm]?[jt]s|[jt]sx)$/.test(name)) return name
  return `${name}${typed ? '.ts' : '.js'}`
}

/** @param {string} file @param {string} text */
function isSame(file, text) {
  try {
    return fs.lstatSync(file).isFile() && fs.readFileSync(file, 'utf8') === text
  } catch {
    return false
  }
}

/** Undoes a dummy job's layout: descriptors, environment, folder. @param {string} work */
export function takeUp(work) {
  reopen(RESULT_FD, NOTHING, 'r')
  reopen(INPUT_FD, NOTHING, 'r')
  for (const name of ['MAYFLY_OUT', 'MAYFLY_RESULT']) delete process.env[name]
  process.chdir(work)
}

/**
 * Reads the program's result: from the file, or from the descriptor if the file is gone.
 * @param {Settings} settings @param {number} bytesMax @returns {string | undefined} undefined when it is too large
 */
export function readResult(settings, bytesMax) {
  for (const open of [() => openSync(`${ownOf(settings)}/${RESULT}`, NAMED), () => RESULT_FD]) {
    let fd = RESULT_FD
    try {
      fd = open()
      const stat = fstatSync(fd)
      if (!isFile(stat)) continue
      if (stat.size > bytesMax) return undefined
      const bytes = alloc(stat.size)
      return toText(bytes, 'utf8', 0, readSync(fd, bytes, 0, stat.size, 0))
    } catch {
      // Deleted by the job: try the other one.
    } finally {
      if (fd !== RESULT_FD) closeSync(fd)
    }
  }
  return ''
}

/** Replaces the result file, which processes of an earlier cell may still have open, by an empty one. @param {Settings} settings */
export function renewResult(settings) {
  const result = path.join(ownOf(settings), RESULT)
  fs.rmSync(result, { recursive: true, force: true })
  closeSync(openSync(result, 'wx', 0o600))
}

/**
 * Without mounts, packages are linked: Node resolves a package's dependencies beside its real path.
 * @param {string} work @param {readonly { kind: string, at: string }[]} packages
 */
function linkPackages(work, packages) {
  const modules = packages.find(({ kind }) => kind === 'node')
  const place = path.join(work, 'node_modules')
  if (modules && modules.at !== place) fs.symlinkSync(modules.at, place)
}

/** @param {string} work @param {LaidFile} file */
function layFile(work, { path: place, content, encoding, type, executable }) {
  const to = placeBelow(work, place)
  fs.mkdirSync(type === 'folder' ? to : path.dirname(to), { recursive: true })
  if (type === 'folder' || type === 'sent') return
  const bytes = Buffer.from(content, encoding)
  const isScript = bytes.subarray(0, 2).toString() === '#!'
  fs.writeFileSync(to, bytes, { mode: isScript || executable ? SCRIPT_MODE : 0o644 })
}

/** @param {string} work @param {LaidFile} link */
function layLink(work, { path: place, content }) {
  const to = placeBelow(work, place)
  fs.mkdirSync(path.dirname(to), { recursive: true })
  fs.symlinkSync(content, to)
}

/** @param {string} work @param {string} place */
export function placeBelow(work, place) {
  const to = path.join(work, place)
  if (to.startsWith(`${work}/`)) return to
  throw new Error(`Cannot write "${place}": it is not below "${work}"`)
}

/** A free name, as the job may have a file of that name. @param {string} work @param {string} name */
function freeName(work, name) {
  const { dir, name: base, ext } = path.parse(name)
  let main = path.join(work, name)
  for (let n = 1; fs.existsSync(main); n++) main = path.join(work, dir, `${base}-${n}${ext}`)
  return main
}

/**
 * Reopens in place: open(2) returns the lowest free descriptor, the one just closed. @param {number} fd @param
 * {string} file @param {string} flags
 */
function reopen(fd, file, flags) {
  closeSync(fd)
  const got = openSync(file, flags, 0o600)
  if (got !== fd) throw new Error(`Cannot open descriptor ${fd}: ${got} was free too`)
}

/**
 * Adds the egress proxy's CA: to this process, its children, and programs other than Node. @param {string} pem
 * @param {string} tmp
 */
function trustToo(pem, tmp) {
  const tls = require('node:tls')
  const known = fs.existsSync(AUTHORITIES) ? fs.readFileSync(AUTHORITIES, 'utf8') : ''
  const own = path.join(tmp, '.mayfly-authority.pem')
  const all = path.join(tmp, '.mayfly-authorities.pem')
  fs.writeFileSync(own, pem)
  fs.writeFileSync(all, `${known}\n${pem}`)
  process.env.NODE_EXTRA_CA_CERTS = own
  for (const name of BUNDLES) process.env[name] = all
  tls.setDefaultCACertificates([...tls.getCACertificates('default'), pem])
}

/** @param {Task} task @param {Record<string, string>} own */
function setEnvironment({ env = {}, network }, own) {
  const near = 'localhost,127.0.0.1,::1,[::1]'
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
  if (network) require('node:http').setGlobalProxyFromEnv?.()
}
