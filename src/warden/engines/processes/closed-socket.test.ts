import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { suite, test } from 'node:test'
import { hasClosedSocket } from './closed-socket.ts'

const whole = { isWhole: true }

suite(
  'A program that closed its socket',
  { skip: !existsSync('/proc/self/fd') && 'no /proc' },
  () => {
    test('is detected while it runs; not a program with its socket, an ended one, or a worker', async () => {
      const script = 'echo ready; read line; exec 5>&-; echo shut; exec sleep 60'
      const child = spawn('sh', ['-c', script], {
        stdio: ['pipe', 'pipe', 'ignore', null, null, 'pipe'],
      })
      const pid = child.pid!
      try {
        await once(child.stdout!, 'data')
        assert.equal(hasClosedSocket(whole, pid), false)
        child.stdin!.write('\n')
        await once(child.stdout!, 'data')
        assert.equal(hasClosedSocket(whole, pid), true)
        assert.equal(hasClosedSocket({ isWhole: false }, pid), false)
      } finally {
        child.kill('SIGKILL')
      }
      await once(child, 'exit')
      assert.equal(hasClosedSocket(whole, pid), false)
    })
  },
)
