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
import { bootId, isAlive } from '../os/proc.ts'
import { named, openLeases, type Lease } from './lease.ts'
import { scratchOf } from './scratch.ts'

const gone = { pid: 2 ** 22 + 1, startTime: 1 }

suite('Leases', { skip: !existsSync('/proc/self/stat') && 'no /proc' }, () => {
  test('What is alive and owned is left alone', () => {
    using folder = temporary()
    const leases = openLeases(folder.path)
    leases.write('w1', [named(process.pid)], null)
    assert.deepEqual([leases.sweep(), readdirSync(folder.path)], [0, ['w1.json']])
    leases.remove('w1')
    leases.remove('w1')
    assert.deepEqual(readdirSync(folder.path), [])
  })

  test('What a dead owner left is killed, and its lease removed', async () => {
    using folder = temporary()
    const child = spawn('sleep', ['100'], { stdio: 'ignore' })
    await once(child, 'spawn')
    const left = named(child.pid!)
    folder.put('w2.json', { ...lease('w2'), processes: [left] })
    const ended = once(child, 'exit')
    assert.equal(openLeases(folder.path).sweep(), 1)
    assert.deepEqual(await ended, [null, 'SIGKILL'])
    assert.equal(isAlive(left.pid, left.startTime), false)
    assert.deepEqual(readdirSync(folder.path), [])
  })

  test('A number that somebody else has by now is not touched', () => {
    using folder = temporary()
    const { pid, startTime } = named(process.pid)
    folder.put('w3.json', { ...lease('w3'), processes: [{ pid, startTime: startTime - 1 }] })
    assert.equal(openLeases(folder.path).sweep(), 1)
  })

  test('After another boot nothing is killed, and nothing is kept', () => {
    using folder = temporary()
    folder.put('w4.json', { ...lease('w4'), boot: 'another', processes: [named(process.pid)] })
    assert.deepEqual([openLeases(folder.path).sweep(), readdirSync(folder.path)], [1, []])
  })

  test('What a wall had written outside of any root of its own goes with it', () => {
    using folder = temporary()
    folder.put('w8.json', lease('w8'))
    const scratch = scratchOf('w8')
    mkdirSync(join(scratch, 'deep'), { recursive: true })
    writeFileSync(join(scratch, 'deep/file'), '')
    openLeases(folder.path).sweep()
    assert.equal(existsSync(scratch), false)
  })

  test('What is no lease, or names another file, is not obeyed', () => {
    using folder = temporary()
    writeFileSync(join(folder.path, 'torn.json'), '{"format":1,"wal')
    folder.put('w5.json', { ...lease('../../w5'), processes: [named(process.pid)] })
    folder.put('w6.json', { ...lease('w6'), format: 2, processes: [named(process.pid)] })
    assert.equal(openLeases(folder.path).sweep(), 0)
    assert.equal(readdirSync(folder.path).length, 3)
  })

  test('What somebody was writing when it died is removed, a living writer’s is not', () => {
    using folder = temporary()
    for (const pid of [gone.pid, process.pid])
      writeFileSync(join(folder.path, `w7.${pid}.new`), '{')
    openLeases(folder.path).sweep()
    assert.deepEqual(readdirSync(folder.path), [`w7.${process.pid}.new`])
  })

  test(
    'A folder of somebody else is refused',
    { skip: process.getuid?.() === 0 ? false : 'only root can give one away' },
    async () => {
      using folder = temporary()
      const { chownSync } = await import('node:fs')
      chmodSync(folder.path, 0o777)
      chownSync(folder.path, 12_345, 12_345)
      assert.throws(() => openLeases(folder.path), /belongs to somebody else/)
    },
  )
})

function lease(wall: string): Lease {
  return { format: 1, wall, boot: bootId(), owner: gone, processes: [], cgroup: null }
}

function temporary() {
  const path = mkdtempSync(join(tmpdir(), 'mayfly-lease-'))
  return {
    path,
    put: (name: string, value: object) => writeFileSync(join(path, name), JSON.stringify(value)),
    [Symbol.dispose]: () => rmSync(path, { recursive: true }),
  }
}
