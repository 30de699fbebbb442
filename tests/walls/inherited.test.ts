import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ways } from '../../src/contract/way.ts'
import { findProgram } from '../../src/jail/facts.ts'

const bin = join(import.meta.dirname, '../../bin/mayfly.js')
const reads = `for fd in $(seq 3 64); do
  (eval "cat <&$fd") 2>/dev/null
done
echo looked`

for (const way of ways) {
  const skip = way === 'bubblewrap' && !findProgram('bwrap') && 'bwrap is missing'
  test(`What a shell had open before Mayfly is not open in a wall made by ${way}`, { skip }, () => {
    const folder = mkdtempSync(join(tmpdir(), 'mayfly-inherited-'))
    try {
      const secret = join(folder, 'secret')
      writeFileSync(secret, 'canary-of-the-shell')
      writeFileSync(join(folder, 'look.sh'), reads)
      const fd = openSync(secret, 'r')
      const args = ['run', join(folder, 'look.sh'), '--language', 'sh', '--provider', way, '--json']
      const { stdout } = spawnSync(process.execPath, [bin, ...args], {
        stdio: ['ignore', 'pipe', 'ignore', fd, fd, fd, fd, fd, fd, fd],
        env: { ...process.env, MAYFLY_STATE: join(folder, 'state') },
        encoding: 'utf8',
      })
      closeSync(fd)
      const outcome = JSON.parse(stdout) as { status: string; stdout: string }
      assert.deepEqual([outcome.status, outcome.stdout], ['ok', 'looked\n'])
    } finally {
      for (const place of [folder, `${folder}/state-warden`])
        rmSync(place, { recursive: true, force: true })
    }
  })
}
