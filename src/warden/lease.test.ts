import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { readBootId, identify, isAlive } from '../os/proc.ts'
import { openLeases, type Lease } from './lease.ts'
import { wallFolder } from './engines/wall-folder.ts'
import { remainsOf, sweepDead } from './engines/sweep.ts'
import type { DeadEnclosure } from '../contract/engine.ts'

const end = (_engine: string, dead: readonly DeadEnclosure[]) => sweepDead(dead)
const gone = { pid: 2 ** 22 + 1, startTime: 1 }

suite('Leases', { skip: !existsSync('/proc/self/stat') && 'no /proc' }, () => {
  test('A live wall with a live owner is left alone', () => {
    using folder = temporary()
    const leases = openLeases(folder.path)
    leases.write('w1', 'processes', remainsOf([identify(process.pid)], null))
    assert.deepEqual([leases.sweep(end), readdirSync(folder.path)], [0, ['w1.json']])
    leases.remove('w1')
    leases.remove('w1')
    assert.deepEqual(readdirSync(folder.path), [])
  })

  test('Remains of a dead owner are killed, and the lease is removed', async () => {
    using folder = temporary()
    const child = spawn('sleep', ['100'], { stdio: 'ignore' })
    await once(child, 'spawn')
    const left = identify(child.pid!)
    folder.put('w2.json', { ...lease('w2'), processes: [left] })
    const ended = once(child, 'exit')
    assert.equal(openLeases(folder.path).sweep(end), 1)
    assert.deepEqual(await ended, [null, 'SIGKILL'])
    assert.equal(isAlive(left.pid, left.startTime), false)
    assert.deepEqual(readdirSync(folder.path), [])
  })

  test('A reused pid is not signalled', () => {
    using folder = temporary()
    const { pid, startTime } = identify(process.pid)
    folder.put('w3.json', { ...lease('w3'), processes: [{ pid, startTime: startTime - 1 }] })
    assert.equal(openLeases(folder.path).sweep(end), 1)
  })

  test('After a reboot no process is killed, and the leases are removed', () => {
    using folder = temporary()
    folder.put('w4.json', { ...lease('w4'), boot: 'another', processes: [identify(process.pid)] })
    assert.deepEqual([openLeases(folder.path).sweep(end), readdirSync(folder.path)], [1, []])
  })

  test('The scratch folder of a wall is removed with it', () => {
    using folder = temporary()
    folder.put('w8.json', lease('w8'))
    const scratch = wallFolder('w8')
    mkdirSync(join(scratch, 'deep'), { recursive: true })
    writeFileSync(join(scratch, 'deep/file'), '')
    openLeases(folder.path).sweep(end)
    assert.equal(existsSync(scratch), false)
  })

  test('A file that is not a lease, or that names another file, is ignored', () => {
    using folder = temporary()
    writeFileSync(join(folder.path, 'torn.json'), '{"format":1,"wal')
    folder.put('w5.json', { ...lease('../../w5'), processes: [identify(process.pid)] })
    folder.put('w6.json', { ...lease('w6'), format: 2, processes: [identify(process.pid)] })
    assert.equal(openLeases(folder.path).sweep(end), 0)
    assert.equal(readdirSync(folder.path).length, 3)
  })

  test('A draft of a dead writer is removed, a living writer’s is not', () => {
    using folder = temporary()
    for (const pid of [gone.pid, process.pid])
      writeFileSync(join(folder.path, `w7.${pid}.new`), '{')
    openLeases(folder.path).sweep(end)
    assert.deepEqual(readdirSync(folder.path), [`w7.${process.pid}.new`])
  })

  test(
    'A folder of another user is refused',
    { skip: process.getuid?.() === 0 ? false : 'only root can give one away' },
    async () => {
      using folder = temporary()
      const { chownSync } = await import('node:fs')
      chmodSync(folder.path, 0o777)
      chownSync(folder.path, 12_345, 12_345)
      assert.throws(() => openLeases(folder.path), /belongs to another user/)
    },
  )
})

function lease(wall: string): Lease & ReturnType<typeof remainsOf> {
  return { format: 1, wall, boot: readBootId(), owner: gone, processes: [], cgroup: null }
}

function temporary() {
  const path = mkdtempSync(join(tmpdir(), 'mayfly-lease-'))
  return {
    path,
    put: (name: string, value: object) => writeFileSync(join(path, name), JSON.stringify(value)),
    [Symbol.dispose]: () => rmSync(path, { recursive: true }),
  }
}
