import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { findJailFacts } from '../../src/jail/facts.ts'
import { findProgram } from '../../src/os/find-program.ts'
import type { SentinelState } from '../../src/contract/warden.ts'
import { compileRetryMsMin } from '../../src/warden/engines/processes/sentinel-source.ts'
import { until } from '../conformance/stand.ts'
import { noCompiler } from '../fixtures/c-compiler.ts'
import { openWhole } from './whole-wall.ts'

/** Causes that keep a sentinel from being compiled or used may be transient: the warden retries. */
const skip = !findJailFacts().namespaces ? 'namespaces are forbidden here' : noCompiler

/** A compiler that fails the first time, like on a full disk. */
const failsOnce = (log: string) => `#!/bin/sh
echo asked >> ${log}
if [ "$(wc -l < ${log})" = 1 ]; then
  echo 'No space left on device' >&2
  exit 1
fi
exec ${findProgram('cc')} "$@"
`

suite('A sentinel whose compilation failed', { skip }, () => {
  test('is compiled again seconds later, and walls report whether they have one', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'mayfly-returns-'))
    const [log, path] = [join(folder, 'log'), process.env['PATH']]
    const bin = join(folder, 'bin')
    mkdirSync(bin)
    writeFileSync(join(bin, 'cc'), failsOnce(log))
    chmodSync(join(bin, 'cc'), 0o755)
    process.env['PATH'] = `${bin}:${path}`
    try {
      await using whole = await openWhole({ sentinelFolder: join(folder, 'made') })
      const told: SentinelState[] = []
      whole.warden.onSentinel((one) => void told.push(one))
      const start = async () => {
        const wall = await whole.start('python')
        const { layers, missing } = wall.started.wall
        await wall.kill()
        return layers.includes('sentinel') ? 'has one' : missing.join()
      }
      const refused = 'the C compiler refused it: No space left on device'
      assert.match(await start(), new RegExp(`sentinel: ${refused}`))
      assert.match(await start(), new RegExp(`sentinel: ${refused}`))
      const off = { isOn: false, why: refused, retryMs: compileRetryMsMin }
      assert.deepEqual([asked(log), told], [1, [off]])
      await sleep(compileRetryMsMin)
      // The start of a wall does not wait for the compilation.
      assert.match(await start(), new RegExp(`sentinel: ${refused}`))
      await until(() => asked(log) === 2, 'it to be made again')
      await untilTold(start)
      assert.deepEqual(told, [off, { isOn: true, why: '' }])
      assert.deepEqual([await start(), asked(log)], ['has one', 2])
    } finally {
      process.env['PATH'] = path
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

const asked = (log: string) => readFileSync(log, 'utf8').split('\n').length - 1

/** A compiler takes a second or two, and a minute on a busy machine. */
async function untilTold(start: () => Promise<string>): Promise<void> {
  for (let tries = 0; tries < 480 && (await start()) !== 'has one'; tries++) await sleep(250)
}
