import { setTimeout as sleep } from 'node:timers/promises'
import { bearer, post } from './http-door.ts'

/**
 * Program with the clients of abusive tenants: apart from the client whose latency is measured, which would wait while it reads their
 * megabytes. Each sends the same job again at once after each end, until SIGTERM and the end of its server; then the
 * parent receives how many jobs of each ended in a wall.
 */
const pauseMs = 100
const state = { isOver: false }
process.on('SIGTERM', () => (state.isOver = true))
// The parent is gone.
process.on('disconnect', () => process.exit(1))

async function abuse(url: string, { key, code }: Abuser): Promise<number> {
  let ended = 0
  while (!state.isOver) {
    // The connection ends when the server stops.
    const answer = await post(url, { language: 'python', code }, bearer(key)).catch(() => undefined)
    if (answer?.status === 200) ended++
    else await sleep(pauseMs)
  }
  return ended
}

export interface Abuser {
  readonly key: string
  readonly code: string
}

const [url = '', abusers = '[]'] = process.argv.slice(2)
const all = (JSON.parse(abusers) as readonly Abuser[]).map((one) => abuse(url, one))
const counts = await Promise.all(all)
process.send!(counts, () => process.disconnect?.())
