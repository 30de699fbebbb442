import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { suite, test } from 'node:test'
import { processBytes } from './proc.ts'
import { belowOf, bytesOf, cpuMsOf, tasksOf } from './process-tree.ts'

const gone = 2 ** 22 + 1
const canTell =
  existsSync('/proc/self/task') && existsSync(`/proc/self/task/${process.pid}/children`)

suite(
  'The processes of a wall',
  { skip: canTell ? false : 'the kernel does not report children' },
  () => {
    test('A child of a child is found, nearest first, and counts', async () => {
      const child = spawn('/bin/sh', ['-c', 'sleep 100 & echo; wait'], {
        stdio: ['ignore', 'pipe', 'ignore'],
        detached: true,
      })
      await once(child.stdout, 'data')
      const below = belowOf(process.pid)
      assert.ok(below.includes(child.pid!))
      const [grandchild] = belowOf(child.pid!)
      assert.ok(grandchild !== undefined && below.indexOf(grandchild) > below.indexOf(child.pid!))
      assert.equal(tasksOf(child.pid!), 2)
      assert.ok(bytesOf([child.pid!, grandchild]) > 0)
      process.kill(-child.pid!, 'SIGKILL')
      await once(child, 'exit')
    })

    test('Memory is the sum of private memory, and the largest file mapping once', () => {
      const alone = bytesOf([process.pid])
      assert.ok(Math.abs(alone - processBytes(process.pid)) < 2 ** 23)
      const twice = bytesOf([process.pid, process.pid])
      assert.ok(twice > alone && twice < 2 * alone)
    })

    test('CPU time grows with work', () => {
      const before = cpuMsOf([process.pid])
      const until = process.cpuUsage().user + 50_000
      while (process.cpuUsage().user < until);
      assert.ok(cpuMsOf([process.pid]) - before >= 30)
    })

    test('An ended process has no tree and no bytes', () => {
      assert.deepEqual(
        [belowOf(gone), tasksOf(gone), bytesOf([gone]), cpuMsOf([gone])],
        [[], 0, 0, 0],
      )
    })
  },
)
