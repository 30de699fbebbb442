/**
 * A Node that waits, warm, for one job: of language `node`, or a shell script that it starts and watches. The wall is
 * the kernel's; nothing here keeps user code from anything, and whatever it says is read as if an enemy had said it.
 */
import fs from 'node:fs'
import os from 'node:os'
import { isReadable, knock, capResource, listenOnLoopback } from '../../src/os/libc.js'
import { takeAhead } from './ahead.js'
import { finishWith, takeJob } from './entries.js'
import { layOut } from './ground.js'
import { isShell, runShell } from './shell.js'
import { CONTROL_FD, KIND, nextFrame, sayReady, sayUnready, send } from './wire.js'
import { parseJson } from '../parse-json.js'

const PROXY_PORT = 3128
const LISTENER_FD = 7
/** A wall that is started for a job that waits has no time for what only some jobs need. */
const IDLE_MS = 100
const TYPED = /\.(?:[cm]?ts|[jt]sx)$/

/** @type {import('./ground.js').Settings} */
const settings = JSON.parse(process.argv[2] ?? '{}')
const ahead = takeAhead(settings)
process.execArgv = []

try {
  // A shell counts in blocks: only here can it be the one byte that keeps dumps from the host's programs too.
  capResource('core', 1)
  if (settings.listens) listenOnLoopback(PROXY_PORT, LISTENER_FD)
  for (const name of /** @type {const} */ (['stdout', 'stderr'])) writeWhole(name)
  knowInterfaces()
  if (settings.warm) await (await import('./warm.js')).warmUp(settings)
  // Node gives itself up where it cannot have them when it first waits for a file.
  if (settings.threads) fs.stat('/', () => undefined)
  sayReady()
  if (settings.warm && settings.listens && !isReadable(CONTROL_FD, IDLE_MS))
    await import('node:http')
} catch (error) {
  sayUnready(error)
  process.exit(1)
}
wait()

/** A wall has no way to ask the kernel for them, and this one and no other. */
function knowInterfaces() {
  const mac = '00:00:00:00:00:00'
  const own = { internal: true, mac }
  const lo = [
    { address: '127.0.0.1', netmask: '255.0.0.0', family: 'IPv4', cidr: '127.0.0.1/8', ...own },
  ]
  os.networkInterfaces = () => ({ lo: structuredClone(lo) })
}

/** What is written is gone when the write returns: a job that ends at once loses nothing. @param {'stdout' | 'stderr'} name */
function writeWhole(name) {
  const own = Object.getOwnPropertyDescriptor(process, name)
  const get = () => {
    const stream = own?.get?.call(process)
    stream._handle?.setBlocking?.(true)
    return stream
  }
  Object.defineProperty(process, name, { ...own, get })
}

function wait() {
  for (;;) {
    const frame = nextFrame()
    if (!frame) return process.reallyExit(0)
    if (frame.kind === KIND.knock) send(KIND.knocked, JSON.stringify(knock('process')))
    else if (frame.kind === KIND.ahead) ahead.take(frame.payload)
    else if (frame.kind === KIND.run) return void start(parseJson(frame.payload.toString()))
    else return process.reallyExit(1)
  }
}

/** @param {import('./ground.js').Task} task */
async function start(task) {
  const job = takeJob(task, settings)
  try {
    if (ahead.problem !== undefined) throw ahead.problem
    const main = layOut(task, settings)
    fs.closeSync(fs.openSync(main, 'r'))
    if (isTypeScript(task, main)) {
      const { readTypeScript } = await import('../typescript/hooks.js')
      readTypeScript({ work: settings.work ?? '/', main, isTyped: task.typed === true })
    }
    if (isShell(task.language) && task.calls !== undefined) job.refuseCalls()
    else if (isShell(task.language)) runShell(job, main)
    else job.runNode(main)
  } catch (error) {
    finishWith(job, error)
  }
}

/** Whether anything that it brought may have to be made JavaScript of. @param {import('./ground.js').Task} task @param {string} main */
function isTypeScript({ language, typed, files }, main) {
  if (language !== 'node') return false
  return typed === true || TYPED.test(main) || files.some(({ path }) => TYPED.test(path))
}
