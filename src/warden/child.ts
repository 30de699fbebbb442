import { answerChannel, hand, type Channel } from './channel.ts'
import { Warden, type WardenOptions } from './warden.ts'

/**
 * The warden of a library: the application is the server, and this process its child. It ends with it, by the
 * closed channel and by the parent-death signal it was started with.
 */
const options = JSON.parse(process.env['MAYFLY_WARDEN'] ?? '{}') as WardenOptions
const channel: Channel = {
  send: (message, handle, done) => process.send!(message, handle, {}, done),
}
const warden = new Warden(options, (reply) => hand(warden, channel, reply))
process.on('message', answerChannel(warden, channel))
process.on('disconnect', () => void end())
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => void end())
process.send!({ ready: true, swept: warden.swept })

async function end(): Promise<void> {
  await warden.close()
  process.exit(0)
}
