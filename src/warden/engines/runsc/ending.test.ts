import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { suite, test } from 'node:test'
import { identify } from '../../../os/proc.ts'
import { SentryExit } from './ending.ts'

const skip = process.platform !== 'linux' && 'there is no /proc here'

suite('The end of a sentry', { skip }, () => {
  test('A sentry that is gone counts as exiting, for five seconds at most', async () => {
    const self = identify(process.pid)
    const ending = new SentryExit({ processes: [self, await ended(), self] })
    assert.equal(ending.look(0), true)
    assert.equal(ending.look(5_000), true)
    assert.throws(() => ending.look(5_001), /does not end/)
  })

  test('A sentry without its gofer has a second to exit', async () => {
    const self = identify(process.pid)
    const ending = new SentryExit({ processes: [self, self, await ended()] })
    assert.equal(ending.look(0), false)
    assert.equal(ending.look(1_000), false)
    assert.throws(() => ending.look(1_001), /gofer/)
  })

  test('A sentry with its gofer is not exiting', () => {
    const self = identify(process.pid)
    const ending = new SentryExit({ processes: [self, self, self] })
    assert.equal(ending.look(0), false)
    assert.equal(ending.look(60_000), false)
  })
})

async function ended() {
  const child = spawn(process.execPath, ['-e', ''], { stdio: 'ignore' })
  const identity = identify(child.pid!)
  await once(child, 'exit')
  return identity
}
