import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { suite, test } from 'node:test'
import { ProcessHandles } from './process-handles.ts'
import { identify } from './proc.ts'

const skip = process.platform !== 'linux' && 'only Linux has descriptors of processes'

suite('Descriptors of processes', { skip }, () => {
  test('Pidfds detect that one of several processes has ended, reaped or not', async () => {
    const children = [1, 2].map(() => spawn('sleep', ['100'], { stdio: 'ignore' }))
    const handles = new ProcessHandles(children.map(({ pid }) => identify(pid!)))
    try {
      assert.equal(handles.areRunning(), true)
      const ended = once(children[1]!, 'exit')
      children[1]!.kill('SIGKILL')
      await ended
      assert.equal(handles.areRunning(), false)
    } finally {
      handles.close()
      children[0]!.kill('SIGKILL')
    }
  })

  test('A reused pid counts as ended', () => {
    const { pid, startTime } = identify(process.pid)
    const handles = new ProcessHandles([{ pid, startTime: startTime - 1 }])
    assert.equal(handles.areRunning(), false)
    handles.close()
  })

  test('After `close` /proc gives the same result', async () => {
    const child = spawn('sleep', ['100'], { stdio: 'ignore' })
    const handles = new ProcessHandles([identify(child.pid!)])
    handles.close()
    assert.equal(handles.areRunning(), true)
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
    assert.equal(handles.areRunning(), false)
  })
})
