import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { anonymousBytes, processBytes, proportionalBytes } from '../../../src/os/proc.ts'
import { bytesOf, ownBytesOf } from '../../../src/os/process-tree.ts'
import { makePlace, mayfly, noOrdinaryUser } from '../../doors/program.ts'
import { makeProgram, noFolderWall } from './project.ts'

/** An ordinary user has no cgroups: process 1 of the wall samples the memory. */
const skip = noFolderWall || noOrdinaryUser()
const MIB = 2 ** 20

suite('Memory of a command that is sampled', { skip, timeout: 240_000 }, () => {
  const place = makePlace('ordinary')
  const config = join(place.state, 'memory.toml')
  after(() => place.remove())
  before(async () => {
    writeFileSync(config, '[ceilings]\nmemory = "256MB"\n')
    await makeProgram('memory', join(place.cwd, 'memory'))
  })

  const run = (name: string) =>
    mayfly(place, ['exec', '--config', config, '--timeout', '60s', '--', './memory', name])

  const attacks = {
    without_first_thread: 'ends its first thread, and takes memory by another',
    stops_helper: 'stops every process but its own',
    limits_helper: 'leaves no descriptor to any process but its own',
  }
  for (const [name, what] of Object.entries(attacks))
    test(`A program over its limit is ended though it ${what}`, async () => {
      const ran = await run(name)
      assert.equal(ran.code, 5, ran.stderr)
      assert.match(ran.stderr, /used more memory than 256 MB/)
    })

  test('A program that starts others by vfork may have more than half of its limit', async () => {
    const ran = await run('in_vfork')
    assert.deepEqual([ran.code, ran.stdout], [0, 'done\n'], ran.stderr)
  })

  test('Memory of a process without its first thread is counted from outside', async () => {
    const child = spawn(join(place.cwd, 'memory'), ['without_first_thread'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const ended = once(child, 'exit')
    try {
      await once(child.stdout, 'data')
      const pid = child.pid!
      const counts = {
        process: processBytes(pid),
        anonymous: anonymousBytes(pid),
        proportional: proportionalBytes(pid),
        tree: bytesOf([pid]),
        own: ownBytesOf([pid]),
      }
      for (const [name, bytes] of Object.entries(counts)) assert.ok(bytes >= 300 * MIB, name)
    } finally {
      child.kill('SIGKILL')
      await ended
    }
  })
})
