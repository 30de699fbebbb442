import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { isAlive } from '../os/proc.ts'
import { named } from './lease.ts'
import { endOrphans, markOf } from './orphans.ts'

const id = 'w0123456789abcdef'

/** Something whose first word in the list of processes is this. */
async function called(first: string) {
  const child = spawn('/bin/sleep', ['60'], { argv0: first, stdio: 'ignore' })
  await once(child, 'spawn')
  const ended = once(child, 'exit')
  return {
    pid: child.pid!,
    ended,
    isThere: () => child.exitCode === null && child.signalCode === null && isAlive(child.pid!),
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

suite('What launchers of dead wardens left', { skip: process.platform !== 'linux' }, () => {
  test('is ended, and what belongs to a living one is not', async () => {
    const { pid, startTime } = named(process.pid)
    await using dead = await called(`mayfly-wall:${id}:${pid}:${startTime - 1}`)
    await using living = await called(markOf(id))
    await using other = await called(`mayfly-wall:somebody:${pid}:${startTime - 1}`)
    while (!readFileSync(`/proc/${dead.pid}/cmdline`, 'utf8').startsWith('mayfly-wall'))
      await sleep(1)
    assert.ok(endOrphans() >= 1)
    assert.deepEqual(await dead.ended, [null, 'SIGKILL'])
    assert.ok(living.isThere() && other.isThere())
  })
})
