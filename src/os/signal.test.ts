import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { signalAll } from './signal.ts'

test('A signal to 0 does not reach the own process group', async () => {
  const { href } = new URL('./signal.ts', import.meta.url)
  const code = `const { signalAll } = await import('${href}')
    signalAll([0], 'SIGKILL')
    console.log('lives')`
  // In a session of its own: the group is that of this child alone.
  const child = spawn(process.execPath, ['--input-type=module', '--eval', code], {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(child, 'exit')
  assert.deepEqual([await text(child.stdout), await ended], ['lives\n', [0, null]])
})

test('A process that is gone does not keep a signal from the next one', (t) => {
  const sent: number[] = []
  t.mock.method(process, 'kill', (pid: number) => {
    sent.push(pid)
    if (pid === 7) throw Object.assign(new Error('no such process'), { code: 'ESRCH' })
    return true
  })
  signalAll([7, 1, 0, -1, 8], 'SIGTERM')
  assert.deepEqual(sent, [7, 8])
})
