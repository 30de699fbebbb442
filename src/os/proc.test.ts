import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { suite, test } from 'node:test'
import {
  readBootId,
  isAlive,
  mappedUids,
  processesOf,
  processFacts,
  processBytes,
  uidsIn,
} from './proc.ts'

const gone = 2 ** 22 + 1

suite('Facts about processes', { skip: !existsSync('/proc/self/stat') && 'no /proc' }, () => {
  test('The calling process runs, has a parent, memory and a start', () => {
    const facts = processFacts(process.pid)
    assert.equal(facts?.parent, process.ppid)
    assert.ok(facts.startTime > 0)
    assert.ok(processBytes(process.pid) > 2 ** 20)
    assert.match(readBootId(), /^[0-9a-f-]{36}$/)
  })

  test('A reused pid is another process', () => {
    const { startTime } = processFacts(process.pid)!
    assert.equal(isAlive(process.pid, startTime), true)
    assert.equal(isAlive(process.pid, startTime + 1), false)
  })

  test('An ended process has no facts, and is not alive', () => {
    assert.equal(processFacts(gone), undefined)
    assert.deepEqual([isAlive(gone), processBytes(gone)], [false, 0])
  })

  test('A user has its processes, and an unused uid has none', () => {
    assert.ok(processesOf(process.getuid!()).includes(process.pid))
    assert.deepEqual(processesOf(4_294_967_000), [])
  })

  test('Some uids are mapped here', () => {
    assert.ok(mappedUids() >= 0)
    assert.equal(
      uidsIn('         0       1000          1\n         1     100000      65536\n'),
      65_537,
    )
    assert.equal(uidsIn('         1     100000      65536\n'), 0)
    assert.equal(uidsIn('0 0 4294967295'), 4_294_967_295)
    assert.equal(uidsIn('0 1000 1\n5 100000 65536'), 1)
    assert.equal(uidsIn(''), 0)
  })
})
