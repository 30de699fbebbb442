import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { jailKinds } from '../../src/contract/jail-kind.ts'
import { findProgram } from '../../src/os/find-program.ts'

const bin = join(import.meta.dirname, '../../bin/mayfly.js')
/** Inherited fds, one with a high number: Node itself closes the contiguous low ones. */
const reads = `import os
for fd in range(3, 256):
    try: print(os.pread(fd, 100, 0).decode())
    except OSError: pass
print('looked')`

for (const jailKind of jailKinds) {
  const skip = jailKind === 'bubblewrap' && !findProgram('bwrap') && 'bwrap is missing'
  test(
    `Descriptors inherited from the shell are not open in a wall made by ${jailKind}`,
    { skip },
    () => {
      const folder = mkdtempSync(join(tmpdir(), 'mayfly-inherited-'))
      try {
        const secret = join(folder, 'secret')
        writeFileSync(secret, 'canary-of-the-shell')
        writeFileSync(join(folder, 'look.py'), reads)
        const args = ['run', join(folder, 'look.py'), '--provider', jailKind, '--json']
        const open = 'exec 9<"$0" 40<"$0"; exec "$@"'
        const { stdout } = spawnSync('bash', ['-c', open, secret, process.execPath, bin, ...args], {
          stdio: ['ignore', 'pipe', 'ignore'],
          env: { ...process.env, MAYFLY_STATE: join(folder, 'state') },
          encoding: 'utf8',
        })
        const outcome = JSON.parse(stdout) as { status: string; stdout: string }
        assert.deepEqual([outcome.status, outcome.stdout.trim()], ['ok', 'looked'])
      } finally {
        for (const place of [folder, `${folder}/state-warden`])
          rmSync(place, { recursive: true, force: true })
      }
    },
  )
}
