import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { layers, type JailLayer } from '../../src/jail/facts.ts'
import { openCgroups } from '../../src/os/cgroup.ts'
import { controls } from '../conformance/cases/controls.ts'
import { makeIsolates } from '../conformance/isolated-vm.ts'
import { inJs, messageIn, Stand } from '../conformance/stand.ts'

/**
 * Hostile jobs on the isolate wall with one layer of its jail left out (S4-39): contained every time. The probe, which
 * would refuse such a wall, is left out too.
 */
const memory = 48 * 2 ** 20
const bomb = 'const list = []; for (;;) list.push(new Array(1000).fill(1))'

suite('Hostile jobs are contained with any one layer off', () => {
  for (const layer of layers)
    test(`The layer "${layer}" is off`, async (t) => {
      const isLast = layer === 'memory watch' && !openCgroups()
      if (isLast) t.skip('no cgroups for this user: the watch is the only layer that limits memory')
      else await contained(layer)
    })
})

suite('The probe refuses a wall without its minimum layers', () => {
  for (const layer of ['seccomp', 'memory watch'] as const)
    test(`Without "${layer}" there is no isolate wall`, async () => {
      const made = await makeIsolates({ without: [layer] })
      try {
        const proved = await made.provider.detect()
        assert.deepEqual([proved.available, 'code' in proved && proved.code], [false, 'NO_JAIL'])
      } finally {
        await made.provider.close?.()
        await made.close()
      }
    })
})

async function contained(layer: JailLayer): Promise<void> {
  const made = await makeIsolates({ without: [layer] })
  const stand = new Stand(made.provider, makeIsolates, inJs)
  try {
    for (const { run } of controls.cases) assert.equal(await run(stand), undefined)
    const { end } = await stand.run(bomb, { controls: { memory } })
    assert.deepEqual([end.status, end.error?.code], ['limit', 'MEMORY'], messageIn(end))
    const loop = await stand.run('for (;;) {}', { limits: { timeout: 200 } })
    assert.equal(loop.end.status, 'timeout')
  } finally {
    await made.provider.close?.()
    await made.close()
  }
}
