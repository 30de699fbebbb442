import { setParentDeathSignal } from '../os/libc.js'
import { answerChannel, passOverSurplusAcks, sendReply, type Channel } from './channel.ts'
import { raisePriority } from '../os/priority.ts'
import { closeWithin } from './close.ts'
import { niceOf } from './nice.ts'
import type { WardenOptions } from '../contract/warden-options.ts'
import { openEarly } from './early.ts'
import { keepPoolAwake } from '../lib/keep-pool-awake.ts'
import { parseJson } from '../lib/parse-json.ts'

/**
 * The warden of a library: the application is the server, and this process is its child and ends with it. The end is
 * detected by 'disconnect' of the channel, which Node does not emit if the application dies while a socket is being
 * passed; so by a parent-death signal and by polling the parent's pid as well.
 */
/** Sent by the application to end its warden, and by the kernel (parent-death signal) when the application died. */
const SIGUSR2 = 12
const LOOK_EVERY_MS = 1000
const parent = process.ppid
const options = parseJson(process.env['MAYFLY_WARDEN'] ?? '{}') as WardenOptions
const channel: Channel = {
  send: (message, handle, done) => process.send!(message, handle, {}, done),
}
raisePriority(niceOf.warden)
keepPoolAwake()
const { warden, listen } = openEarly(options)
passOverSurplusAcks(process)
process.on('message', answerChannel(warden, channel))
process.on('disconnect', () => void end())
process.on('SIGUSR2', () => void end())
// Ignored: the application receives them too and decides; the warden ends with it.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined)
if (process.platform === 'linux') setParentDeathSignal(SIGUSR2)
setInterval(() => process.ppid !== parent && void end(), LOOK_EVERY_MS).unref()
process.send!({ ready: true })
listen((reply) => sendReply(warden, channel, reply))

async function end(): Promise<void> {
  await closeWithin(warden)
  process.exit(0)
}
