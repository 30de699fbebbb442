/**
 * Thread that interrupts a kernel's main thread. It receives the number of a cell on its socket and posts it to the main
 * thread. Without an answer within `ANSWER_MS` it terminates the synchronous code of the main thread and tries again. The
 * inspector is connected only for that time, because a connected inspector delays the exit of the process.
 */
import { Session } from 'node:inspector'
import net from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'

const INTERRUPT_FD = 5
const ANSWER_MS = 100
const ATTEMPTS_MAX = 9
/** Indexes of the memory shared with the main thread, see kernel-node.js. */
const ANSWERED = 0
const RUNNING = 1
const { load, store, wait } = Atomics

const socket = new net.Socket({ fd: INTERRUPT_FD, readable: true, writable: false })
socket.on('data', (chunk) => interrupt(Number.parseInt(chunk.toString(), 10)))
// The manager has exited, and the main thread may be busy.
socket.on('close', () => process.kill(process.pid, 'SIGKILL'))

/** @param {number} sequence of the cell */
function interrupt(sequence) {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    if (load(workerData, RUNNING) !== sequence) return
    store(workerData, ANSWERED, 0)
    parentPort?.postMessage(sequence)
    if (wait(workerData, ANSWERED, 0, ANSWER_MS) !== 'timed-out') return
    if (load(workerData, RUNNING) !== sequence) return
    const session = new Session()
    session.connectToMainThread()
    session.post('Runtime.terminateExecution')
    session.disconnect()
  }
}
