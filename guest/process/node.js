/**
 * Node runner: waits, warm, for one job of language `node`, or starts and supervises a shell script. The kernel
 * is the wall; this process enforces nothing, and its messages are treated as hostile.
 */
import fs from 'node:fs'
import { isReadable, capResource, listenOnLoopback } from '../../src/os/libc.js'
import { probeOwnWall } from '../../src/os/probe-own-wall.js'
import { takeAhead } from './ahead.js'
import { dropMain, layOut, prepare } from './ground.js'
import { finishWith, Job } from './job.js'
import { knowInterfaces, reportMemory, writeSynchronously } from './stand-ins.js'
import { isTypeScript, startJob } from './start.js'
import { KIND } from '../kinds.js'
import { CONTROL_FD, nextFrame, sayReady, sayUnready, send } from './wire.js'
import { parseJson } from '../parse-json.js'
import { settings as given } from '../settings.js'

const PROXY_PORT = 3128
const LISTENER_FD = 7
/** Delay of work that only some jobs need, so that a cold start is not slowed down. */
const IDLE_MS = 100

/**
 * Draws new seeds; set if the machine may be cloned while this runner waits. Called once, at the first frame after the claim.
 * @type {(() => void) | undefined}
 */
let renew

/** @type {import('./ground.js').Settings} */
const settings = given
const ahead = takeAhead(settings)
const flags = process.execArgv
process.execArgv = []

try {
  // bash sets RLIMIT_CORE in blocks, so one byte can only be set here; it prevents piped core dumps to host
  // programs, too.
  if (!isWithoutCore()) capResource('core', 1)
  if (settings.listens && !isSocket(LISTENER_FD)) listenOnLoopback(PROXY_PORT, LISTENER_FD)
  writeSynchronously()
  knowInterfaces()
  if (settings.warm) {
    await (await import('./warm.js')).warmUp(settings)
    prepare(settings)
  }
  reportMemory()
  if (settings.cloned) ({ renew } = await import('./renew.js'))
  // Node aborts if it cannot create its thread pool at the first file access.
  if (settings.threads) await startThreads()
  sayReady()
  if (settings.warm && settings.listens && !isReadable(CONTROL_FD, IDLE_MS))
    await import('node:http')
} catch (error) {
  sayUnready(error)
  process.exit(1)
}
wait()

/** A warm runner waits for the answer, so that no job's first turn of the event loop receives it. */
async function startThreads() {
  const { promise, resolve } = Promise.withResolvers()
  fs.stat('/', () => resolve(undefined))
  if (settings.warm) await promise
}

/** True if the launcher has set the limit: a first call into libc takes longer than everything else here. */
function isWithoutCore() {
  return /^Max core file size +1 +1 /m.test(readIfAny('/proc/self/limits'))
}

/** @param {string} path */
function readIfAny(path) {
  try {
    return fs.readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}

/** @param {number} fd */
function isSocket(fd) {
  try {
    return fs.fstatSync(fd).isSocket()
  } catch {
    return false
  }
}

function wait() {
  for (;;) {
    const frame = nextFrame()
    if (!frame) return process.reallyExit(0)
    renew?.()
    renew = undefined
    if (frame.kind === KIND.probe) send(KIND.probed, JSON.stringify(probeOwnWall('process')))
    else if (frame.kind === KIND.ahead) {
      dropMain()
      ahead.take(frame.payload)
    } else if (frame.kind !== KIND.run) return process.reallyExit(1)
    else {
      const task = parseJson(frame.payload.toString())
      if (task.language === 'js' || task.language === 'ts') return void holdCell(task)
      return void (task.session
        ? holdSession(task)
        : startJob(new Job(task, settings), settings, ahead))
    }
  }
}

/** @param {any} task */
async function holdCell(task) {
  try {
    await (await import('./cell-host.js')).runInCell(task)
  } catch (error) {
    process.stderr.write(`${String(error)}\n`)
    process.reallyExit(1)
  }
}

/** @param {import('./ground.js').Task} task */
async function holdSession(task) {
  try {
    if (ahead.problem !== undefined) throw ahead.problem
    layOut(task, settings)
    const { SessionManager } = await import('./session.js')
    await new SessionManager(task, settings, flags).serve(isTypeScript(task, ''))
  } catch (error) {
    finishWith(new Job(task, settings), error)
    process.reallyExit(0)
  }
}
