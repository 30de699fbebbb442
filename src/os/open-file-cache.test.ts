import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { OpenFileCache } from './open-file-cache.ts'

const skip = process.platform !== 'linux' && 'descriptors are counted in /proc'

suite('Files that are kept open', { skip }, () => {
  test('Each read returns the current text, by one descriptor', () => {
    using folder = makeFolder()
    const files = new OpenFileCache()
    for (const text of ['42\n', 'max\n', '']) {
      writeFileSync(join(folder.path, 'pids.max'), text)
      assert.equal(files.read(folder.path, 'pids.max'), text)
    }
    assert.equal(folder.descriptors(), 1)
    files.close()
    assert.equal(folder.descriptors(), 0)
    writeFileSync(join(folder.path, 'pids.max'), '7\n')
    assert.equal(files.read(folder.path, 'pids.max'), '7\n', 'it opens anew')
    files.close()
  })

  test('A missing file throws at each read, and stays open once it exists', () => {
    using folder = makeFolder()
    const files = new OpenFileCache()
    assert.throws(() => files.read(folder.path, 'cpu.max'), { code: 'ENOENT' })
    assert.equal(folder.descriptors(), 0)
    writeFileSync(join(folder.path, 'cpu.max'), 'max 100000\n')
    assert.equal(files.read(folder.path, 'cpu.max'), 'max 100000\n')
    files.close()
    assert.equal(folder.descriptors(), 0)
  })
})

function makeFolder() {
  const path = mkdtempSync(join(tmpdir(), 'mayfly-kept-'))
  return {
    path,
    /** Descriptors of this process on files in the folder. */
    descriptors: () =>
      readdirSync('/proc/self/fd').filter((fd) => linkOf(fd).startsWith(path)).length,
    [Symbol.dispose]: () => rmSync(path, { recursive: true }),
  }
}

function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`)
  } catch {
    return ''
  }
}
