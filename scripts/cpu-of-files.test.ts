import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

const skip = process.platform !== 'linux' && 'needs /proc/self/stat'

test('CPU seconds of a file are those of its process and of those it waited for', { skip }, (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-cpu-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'burns.mjs')
  const burns = 'while (process.cpuUsage().user < 300_000);'
  writeFileSync(
    file,
    `import { spawnSync } from 'node:child_process'
    spawnSync(process.execPath, ['--eval', '${burns}'])
    ${burns}`,
  )
  const program = `
    import { spawn } from 'node:child_process'
    import { cpuSecondsOf, noteCpuOf } from ${JSON.stringify(join(import.meta.dirname, 'cpu-of-files.ts'))}
    const file = ${JSON.stringify(file)}
    noteCpuOf([file])
    spawn(process.execPath, [file]).on('close', () => console.log(cpuSecondsOf(file)))`
  const flags = ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval']
  const said = execFileSync(process.execPath, [...flags, program], { encoding: 'utf8' })
  // Ticks of 10 ms round each of the four times down.
  assert.ok(Number(said) > 0.55, said)
})
