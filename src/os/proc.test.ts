import assert from 'node:assert/strict'
import fs, { existsSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { suite, test, type TestContext } from 'node:test'
import {
  anonymousBytes,
  readBootId,
  isAlive,
  isExiting,
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

  test('A file that is missing for a process is asked for once of each thread at most', (t) => {
    const asked: string[] = []
    const refuse = (file: string) => {
      asked.push(file)
      throw new Error(`ENOENT: ${file}`)
    }
    const bytes = playing(t, refuse, () => processBytes(process.pid))
    assert.equal(bytes, 0)
    assert.ok(asked.length > 1, 'no other thread was asked')
    assert.equal(asked.length, new Set(asked).size, `${asked.length} reads`)
  })

  test('A process without its first thread whose others start one another and exit is alive', (t) => {
    const pid = 7
    const exited = `${pid} (program) Z ${'0 '.repeat(49)}`
    const read = (file: string) => {
      if (file === `/proc/${pid}/stat`) return exited
      throw new Error(`ENOENT: ${file}`)
    }
    let started = 100
    const facts = (list: () => readonly string[]) =>
      playing(t, read, () => [isAlive(pid), isExiting(pid)], list)
    assert.deepEqual(
      facts(() => [`${pid}`, `${started++}`]),
      [true, false],
    )
    assert.deepEqual(
      facts(() => [`${pid}`, '100']),
      [false, true],
    )
  })

  test('A process has exited once another has its pid', () => {
    const { pid } = process
    const { startTime } = processFacts(pid)!
    assert.deepEqual([isAlive(pid, startTime - 1), isExiting(pid, startTime - 1)], [false, true])
    assert.deepEqual([isAlive(pid, startTime), isExiting(pid, startTime)], [true, false])
  })

  test('Anonymous memory has page tables and swapped pages, and no files or shared memory', (t) => {
    const sizes = { VmRSS: 300, RssAnon: 100, RssFile: 150, RssShmem: 50, VmPTE: 4, VmSwap: 30 }
    const lines = Object.entries(sizes).map(([name, kib]) => `${name}:\t${kib} kB\n`)
    const text = `Name:\tprogram\n${lines.join('')}`
    const read = (file: string) => {
      if (file.endsWith('/status')) return text
      throw new Error(`ENOENT: ${file}`)
    }
    assert.equal(
      playing(t, read, () => anonymousBytes(process.pid)),
      134 * 1024,
    )
  })
})

/** Result of `look` while files are read so, and folders listed by `list`. */
function playing<Result>(
  t: TestContext,
  read: (file: string) => string,
  look: () => Result,
  list?: () => readonly string[],
): Result {
  t.mock.method(fs, 'readFileSync', read as never)
  if (list) t.mock.method(fs, 'readdirSync', list as never)
  syncBuiltinESMExports()
  try {
    return look()
  } finally {
    t.mock.restoreAll()
    syncBuiltinESMExports()
  }
}
