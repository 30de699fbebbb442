import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { createProvider, passOutput } from 'mayfly'

/** Runs shell scripts as plain child processes: no wall, declared as tier `none` without enforced controls. */
export const shell = createProvider({
  name: 'shell',
  tier: 'none',
  languages: ['sh'],
  missing: ['a wall'],
  async run({ code, inputText }, io, { signal }) {
    const stdio = ['pipe', 'pipe', 'pipe', 'pipe'] as const
    const child = spawn('/bin/sh', ['-c', code], { detached: true, stdio: [...stdio] })
    signal.addEventListener('abort', () => process.kill(-child.pid!, 'SIGKILL'))
    child.stdin.on('error', () => {}).end(inputText)
    const [resultText, [exitCode]] = await Promise.all([
      text(child.stdio[3] as Readable),
      once(child, 'close'),
      passOutput(child, io),
    ])
    return { resultText, exitCode }
  },
})
