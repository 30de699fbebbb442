import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { unable } from '../walls/process-stands.ts'

const bin = join(import.meta.dirname, '../../bin/mayfly.js')
const folder = mkdtempSync(join(tmpdir(), 'mayfly-backends-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const backends = ['docker', 'podman', 'gvisor', 'user-mode-linux', 'firecracker', 'qemu']
const STARTS_MS_MAX = 120_000

interface Row {
  readonly name: string
  readonly available: boolean
  readonly reason?: string
  readonly fix?: string
}

test('S0-20: Docker, Podman, gVisor, a user-mode kernel, Firecracker and QEMU are listed, with a reason and a fix where unavailable', (t) => {
  const cause = unable()
  if (cause) return t.skip(cause)
  const { stdout } = spawnSync(
    process.execPath,
    [bin, 'providers', '--json', '--state', join(folder, 'state')],
    { encoding: 'utf8', timeout: STARTS_MS_MAX },
  )
  const rows = (JSON.parse(stdout) as readonly Row[]).filter(({ name }) => backends.includes(name))
  assert.deepEqual(rows.map(({ name }) => name).toSorted(), backends.toSorted())
  const isExplained = ({ reason = '', fix = '' }: Row) => /\w{3}/.test(reason) && /\w{3}/.test(fix)
  const unexplained = rows.filter((row) => !row.available && !isExplained(row))
  assert.deepEqual(unexplained, [])
})
