import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempDisposableSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { identify } from '../../../os/proc.ts'
import { ProcessHandles } from '../../../os/process-handles.ts'
import { RunscEnclosure } from './enclosure.ts'
import type { RunscWall } from './wall.ts'

const skip = process.platform !== 'linux' && 'there is no /proc here'
const MiB = 2 ** 20

suite('Samples of a wall of runsc without a cgroup', { skip }, () => {
  test('A sentry that exits before the first sample of its job leaves the measurement of its claim', async () => {
    await using stand = await stood()
    const { enclosure, file } = stand
    const claimed = await enclosure.claim({ memory: 64 * MiB })
    assert.deepEqual([claimed.spent, claimed.bytes > 0], [false, true])
    await stand.end()
    rmSync(file)
    const { bytes, bytesMax, isOutOfMemory } = enclosure.sample(0)
    assert.deepEqual([bytes, isOutOfMemory], [claimed.bytes, false])
    assert.equal(bytesMax, 64 * MiB + claimed.idleBytes)
    assert.throws(() => enclosure.sample(5_001), /does not end/)
  })

  test('A sentry that runs on, and whose memory cannot be read, cannot be sampled', async () => {
    await using stand = await stood()
    await stand.enclosure.claim({ memory: 64 * MiB })
    rmSync(stand.file)
    assert.throws(() => stand.enclosure.sample(0), { code: 'ENOENT' })
  })
})

/** A wall whose sentry is a process of this test, and whose memory is a file. */
async function stood() {
  const folder = mkdtempDisposableSync(join(tmpdir(), 'mayfly-runsc-'))
  const file = join(folder.path, 'memory')
  writeFileSync(file, Buffer.alloc(MiB, 1))
  const sandbox = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], {
    stdio: 'ignore',
  })
  await once(sandbox, 'spawn')
  const self = identify(process.pid)
  const processes = [self, identify(sandbox.pid!), self]
  const enclosure = new RunscEnclosure(wallOf(sandbox, processes, file), {
    command: [],
    release: () => Promise.resolve(),
  })
  const end = async () => {
    if (sandbox.exitCode !== null || sandbox.signalCode !== null) return
    sandbox.kill('SIGKILL')
    await once(sandbox, 'exit')
  }
  return {
    enclosure,
    file,
    end,
    async [Symbol.asyncDispose]() {
      await end()
      folder.remove()
    },
  }
}

function wallOf(
  sandbox: ChildProcess,
  processes: RunscWall['resources']['processes'],
  memoryFile: string,
): RunscWall {
  const control = { pauses: () => ({}), tasks: () => Promise.resolve(1) }
  return {
    wall: { id: 'w1' },
    resources: {
      child: sandbox,
      processes,
      control,
      folder: { state: '' },
      complaint: () => '',
    },
    sentry: { pid: sandbox.pid!, memoryFile },
    disk: 0,
    idleMemory: MiB,
    idleTasks: 1,
    handles: new ProcessHandles(processes),
    killsAtClaim: 0,
    spentBefore: 0,
    spentSeen: 0,
  } as unknown as RunscWall
}
