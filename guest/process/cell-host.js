/**
 * Runs the one job of this runner in a cell: a job of language `js`, which has in every wall the realm of an isolate worker. The
 * server speaks to it as to such a worker: output, calls and the end are frames on the control socket.
 *
 * The wall is that of the runner; the isolate inside it bounds time, memory and output of well-behaved code.
 */
import net from 'node:net'
import { Cell } from '../cell.js'
import { CellFrames } from '../cell/frames.js'
import { readFrames } from '../frames.js'
import { parseJson } from '../parse-json.js'
import { loadTransformer } from '../typescript/transform.js'
import { KIND } from '../kinds.js'
import { CONTROL_FD, FRAME_BYTES_MAX, send } from './wire.js'

/** @param {any} task */
export async function runInCell(task) {
  const frames = new CellFrames(send)
  const leave = () => process.reallyExit(0)
  const socket = new net.Socket({ fd: CONTROL_FD, readable: true, writable: false })
  socket.on('error', leave)
  socket.on('close', leave)
  const onFrame = (/** @type {number} */ kind, /** @type {Buffer} */ payload) =>
    kind === KIND.reply ? frames.reply(parseJson(payload.toString())) : leave()
  readFrames(socket, onFrame, FRAME_BYTES_MAX)
  loadTransformer()
  const { memoryMiB, webAssembly, trace: isTraced = false } = task
  const cell = new Cell({ memoryMiB, webAssembly, isTraced })
  const released = () => send(KIND.released)
  frames.end(await cell.run(task, { ...frames.listeners(), released }))
  send(KIND.idle)
}
