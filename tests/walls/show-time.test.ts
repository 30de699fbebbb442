import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { pythonFile } from '../../src/jail/whole.ts'

const runner = join(import.meta.dirname, '../../guest/process')
/** Half a millisecond of work, under a limit of as much: about a third is stopped, at each place where it may be. */
const program = `
import _signal, sys, time
sys.path.insert(0, sys.argv[1])
import mayfly_entries
escaped = ends = over = 0
for _ in range(1000):
    until = time.perf_counter() + 0.0005
    try:
        with mayfly_entries._Within(0.0005) as within:
            while time.perf_counter() < until:
                pass
            ends += 1
        over += within.is_over
    except BaseException:
        escaped += 1
with mayfly_entries._Within(0.001) as endless:
    while True:
        pass
print([escaped, ends < 1000, over >= 1000 - ends, endless.is_over, _signal.getitimer(_signal.ITIMER_REAL)])
`

test('Python: the limit of showing a result stops it, and raises nothing in what follows', (t) => {
  if (!existsSync(pythonFile)) return t.skip('there is no Python')
  const args = ['-B', '-I', '-S', '-c', program, runner]
  const { stdout, stderr } = spawnSync(pythonFile, args, { encoding: 'utf8' })
  assert.deepEqual([stdout, stderr], ['[0, True, True, True, (0.0, 0.0)]\n', ''])
})
