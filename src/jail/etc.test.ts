import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { etcFiles, isOfSystem, systemFiles } from './etc.ts'

suite('Files of /etc that a wall shows', () => {
  let folder: string
  let etc: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'mayfly-etc-'))
    etc = join(folder, 'etc')
    for (const name of ['etc', 'home', 'usr']) mkdirSync(join(folder, name))
    writeFileSync(join(etc, 'plain'), 'plain')
    writeFileSync(join(folder, 'usr', 'shared'), 'shared')
    writeFileSync(join(folder, 'home', 'private'), 'private')
    writeFileSync(join(etc, 'closed'), 'closed')
    chmodSync(join(etc, 'closed'), 0o640)
    symlinkSync('../usr/shared', join(etc, 'to-usr'))
    symlinkSync('../home/private', join(etc, 'to-home'))
    symlinkSync('to-home', join(etc, 'by-a-second'))
    symlinkSync('closed', join(etc, 'to-closed'))
    symlinkSync('../home', join(etc, 'folder'))
    symlinkSync('loop', join(etc, 'loop'))
    mkdirSync(join(folder, 'etc-private'))
    writeFileSync(join(folder, 'etc-private', 'file'), 'private')
    symlinkSync('../etc-private/file', join(etc, 'to-a-like-name'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  const shown = ['plain', 'to-usr']
  const hidden = ['to-home', 'by-a-second', 'closed', 'to-closed', 'folder', 'loop', 'absent']
  for (const name of [...shown, ...hidden, 'to-a-like-name'])
    test(`${name} is ${shown.includes(name) ? 'shown' : 'left out'}`, () => {
      const roots = [etc, join(folder, 'usr')]
      assert.equal(isOfSystem(join(etc, name), roots), shown.includes(name))
    })

  test("services and protocols are never the machine's own tables", () => {
    for (const at of ['/etc/services', '/etc/protocols']) {
      assert.ok(!systemFiles().includes(at))
      assert.match(etcFiles(1000)[at]!, /^([\w.-]+ \d+(\/(tc|ud)p)?( [\w.-]+)*\n)+$/)
    }
  })
})
