import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { findModules, type ModuleFile } from './find.ts'

const owners = new Set([0, process.getuid?.() ?? 0])
const base = mkdtempSync(join(tmpdir(), 'mayfly-modules-'))
const none = { owners, jobFolders: [] }

function folderWith(name: string, files: readonly string[]): string {
  const folder = join(base, name)
  mkdirSync(folder, { mode: 0o755 })
  for (const file of files) writeFileSync(join(folder, file), '', { mode: 0o644 })
  return folder
}

const faultsOf = (found: readonly ModuleFile[]) =>
  found.map(({ fault }) => [fault?.code, fault?.message.slice(fault.message.indexOf(':') + 2)])

suite('Finding provider modules', { skip: process.platform === 'win32' }, () => {
  after(() => rmSync(base, { recursive: true }))

  test('named files come first, then modules of the folder by name; other files are ignored', () => {
    const folder = folderWith('names', [
      'b.ts',
      'a.js',
      '.hidden.js',
      'notes.md',
      'a.test.js',
      'a.d.ts',
    ])
    const other = join(folderWith('one', ['own.mjs']), 'own.mjs')
    const found = findModules({ folder, modules: [other, join(folder, 'b.ts')] }, none)
    assert.deepEqual(
      found.map(({ path, fault }) => [path, fault]),
      [
        [other, undefined],
        [join(folder, 'b.ts'), undefined],
        [join(folder, 'a.js'), undefined],
      ],
    )
  })

  test('a changed file has another stamp, and an unchanged file the same', () => {
    const folder = folderWith('stamps', ['a.js'])
    const stamp = () => findModules({ folder, modules: [] }, none)[0]?.stamp
    const before = stamp()
    assert.equal(stamp(), before)
    writeFileSync(join(folder, 'a.js'), 'export default 1')
    assert.notEqual(stamp(), before)
  })

  test('a module that others may write is refused, and no other module', () => {
    const folder = folderWith('modes', ['a.js', 'b.js'])
    chmodSync(join(folder, 'a.js'), 0o666)
    const found = findModules({ folder, modules: [] }, none)
    assert.deepEqual(faultsOf(found), [
      ['PROVIDER_UNTRUSTED', `everybody may write to "${join(folder, 'a.js')}" (mode 0666)`],
      [undefined, undefined],
    ])
    assert.equal(found[0]?.fault?.hint, `chmod go-w ${join(folder, 'a.js')}`)
  })

  test('a group-writable folder yields no module', () => {
    const folder = folderWith('group', ['a.js'])
    chmodSync(folder, 0o775)
    const found = findModules({ folder, modules: [] }, none)
    assert.deepEqual(faultsOf(found), [
      ['PROVIDER_UNTRUSTED', `its group may write to "${folder}" (mode 0775)`],
    ])
  })

  test("no module is loaded from a job's folder, also through a link", () => {
    const job = folderWith('job', ['a.js'])
    const folder = folderWith('links', [])
    symlinkSync(join(job, 'a.js'), join(folder, 'a.js'))
    const trust = { owners, jobFolders: [job] }
    for (const places of [{ folder, modules: [] }, { modules: [join(job, 'a.js')] }])
      assert.deepEqual(faultsOf(findModules(places, trust)), [
        ['PROVIDER_UNTRUSTED', `"${job}" is in a job's folder`],
      ])
    assert.deepEqual(faultsOf(findModules({ folder: job, modules: [] }, trust)), [
      ['PROVIDER_UNTRUSTED', `"${job}" is in a job's folder`],
    ])
  })

  test('missing files, folders in place of files and large files are reported with a reason', () => {
    const folder = folderWith('wrong', ['large.js'])
    writeFileSync(join(folder, 'large.js'), Buffer.alloc(2 ** 20 + 1, 32))
    const modules = ['gone.js', '', 'large.js'].map((name) => join(folder, name))
    assert.deepEqual(faultsOf(findModules({ modules }, none)), [
      ['PROVIDER_BROKEN', 'it does not exist'],
      ['PROVIDER_BROKEN', 'it is no file'],
      ['PROVIDER_BROKEN', 'it is larger than 1048576 bytes'],
    ])
    const gone = findModules({ folder: join(folder, 'gone'), modules: [] }, none)
    assert.deepEqual(faultsOf(gone), [['PROVIDER_BROKEN', 'it does not exist']])
  })

  test('at most 64 modules of a folder are found, and the rest is reported', () => {
    const names = Array.from({ length: 65 }, (_, n) => `m${String(n).padStart(2, '0')}.js`)
    const found = findModules({ folder: folderWith('many', names), modules: [] }, none)
    assert.equal(found.length, 65)
    assert.deepEqual(faultsOf(found).at(-1), [
      'PROVIDER_BROKEN',
      '65 modules are in it, and at most 64 are loaded',
    ])
  })
})
