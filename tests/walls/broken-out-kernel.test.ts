import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openCProgram } from '../../src/jail/c-program.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { belowOf } from '../../src/os/process-tree.ts'
import { isolated } from '../../src/warden/engines/agent-guest/jail-command.ts'
import { KernelCopy } from '../../src/warden/engines/user-mode-linux/kernel-copy.ts'

/** Arbitrary code in place of a user-mode kernel, in namespaces like those of its jail: the test program tests/fixtures/broken-out-kernel.c. */
const timeout = 120_000
const MEMORY_MIB = 64
const bubblewrap = findProgram('bwrap')
const program = await openCProgram({
  name: 'broken-out-kernel',
  sources: [fileURLToPath(new URL('../fixtures/broken-out-kernel.c', import.meta.url))],
  linking: 'static',
})
const missing = 'missing' in program ? program.missing : 'bubblewrap is missing'
const skip = 'missing' in program || !bubblewrap ? missing : false

test(
  'Attack: a kernel taken over by its guest that maps 1020 GiB cannot be copied, and costs its warden no memory',
  { skip, timeout },
  async (t) => {
    assert.ok(bubblewrap && !('missing' in program))
    const args = [
      ...isolated,
      '--die-with-parent',
      '--ro-bind',
      program.file,
      '/kernel',
      '--tmpfs',
      '/own',
      '--',
      '/kernel',
      `${MEMORY_MIB * 2 ** 20}`,
    ]
    const child = spawn(bubblewrap, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    t.after(async () => {
      child.kill('SIGKILL')
      await once(child, 'close')
    })
    assert.equal(String((await once(child.stdout, 'data'))[0]), 'ready\n')
    const pid = belowOf(child.pid!).at(-1)!
    const copy = new KernelCopy({ pid: () => pid, memoryMiB: MEMORY_MIB, image: '0'.repeat(64) })
    const before = process.memoryUsage.rss()
    await assert.rejects(async () => {
      for await (const file of copy.files(2 ** 26)) assert.ok(file.bytes.length < 2 ** 20)
    }, /its process maps no memory/)
    const grew = process.memoryUsage.rss() - before
    assert.ok(grew < 64 * 2 ** 20, `${grew} bytes`)
  },
)
