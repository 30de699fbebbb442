import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openOwnProgram, type OwnProgramName } from '../../src/jail/own-programs.ts'

const names: Readonly<Record<OwnProgramName, true>> = {
  agent: true,
  carrier: true,
  connector: true,
  folder: true,
  launcher: true,
  sentinel: true,
  zygote: true,
}

test('Each program of Mayfly in C compiles where a C compiler links a static program', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-own-programs-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const args = ['-static', '-x', 'c', '-o', join(folder, 'probe'), '-']
  const { status } = spawnSync('cc', args, { input: 'int main(void) { return 0; }' })
  const isMissing = process.platform !== 'linux' || status !== 0
  if (isMissing && process.env['CI'] !== 'true') return t.skip('no static program can be compiled')
  for (const name of Object.keys(names) as OwnProgramName[]) {
    const found = await openOwnProgram(name)
    assert.ok(!('missing' in found), `${name}: ${'missing' in found && found.missing}`)
  }
})
