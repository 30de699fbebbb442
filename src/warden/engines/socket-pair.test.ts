import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { promisify } from 'node:util'

const skip = process.platform !== 'linux' && 'it needs Linux'
const module = new URL('socket-pair.ts', import.meta.url).href

/** Asks for a pair in a process with so many free descriptors, for each margin. */
const script = `
import { closeSync, openSync } from 'node:fs'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
const { nodeSocketPair } = await import(${JSON.stringify(module)})
const close = async ({ own, theirs }) => {
  const closed = [own, theirs].map((socket) => once(socket, 'close'))
  for (const socket of [own, theirs]) socket.destroy()
  await Promise.all(closed)
}
await close(await nodeSocketPair())
const ask = async () => {
  try {
    const pair = await Promise.race([nodeSocketPair(), sleep(5_000, undefined, { ref: false })])
    if (pair === undefined) return 'late'
    await close(pair)
    return 'pair'
  } catch (error) {
    return error.code
  }
}
const held = []
const fill = () => {
  try {
    for (;;) held.push(openSync('/dev/null', 'r'))
  } catch {}
}
const found = []
for (let margin = 0; margin <= 6; margin++) {
  fill()
  for (let count = 0; count < margin; count++) closeSync(held.pop())
  found.push(await ask())
}
for (const fd of held) closeSync(fd)
console.log(JSON.stringify(found))
process.exit()
`

test(
  'A pair is two descriptors, and OVERLOADED at once where they are missing',
  { skip },
  async () => {
    const limited = 'ulimit -n 128 && exec "$@"'
    const node = [process.execPath, '--disable-warning=ExperimentalWarning', '--input-type=module']
    const args = ['-c', limited, 'sh', ...node, '--eval', script]
    const { stdout } = await promisify(execFile)('/bin/sh', args, { timeout: 60_000 })
    const pairs = Array<string>(5).fill('pair')
    assert.deepEqual(JSON.parse(stdout), ['OVERLOADED', 'OVERLOADED', ...pairs])
  },
)
