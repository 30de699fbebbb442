import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { after, test } from 'node:test'
import { ownPath } from '../lib/own-path.ts'
import { findProgram } from './find-program.ts'

const root = realpathSync(mkdtempSync(join(tmpdir(), 'mayfly-find-')))
after(() => rmSync(root, { recursive: true }))
const folders = ['home/bin', 'home/project/.venv/bin', 'other/node_modules/.bin'] as const
for (const folder of folders) {
  mkdirSync(join(root, folder), { recursive: true })
  writeFileSync(join(root, folder, 'mayfly-test-tool'), '', { mode: 0o755 })
}
symlinkSync(join(root, folders[1]), join(root, 'linked'))

function found(cwd: string, ...entries: readonly string[]): string | undefined {
  const PATH = entries.map((entry) => join(root, entry)).join(delimiter)
  const search = { PATH, HOME: join(root, 'home'), folder: join(root, cwd) }
  return findProgram('mayfly-test-tool', search)?.slice(root.length + 1)
}

test('Programs of a project are not found: in node_modules/.bin, and below the current folder', () => {
  const [own, environment, packages] = folders
  const tool = `${own}/mayfly-test-tool`
  assert.equal(found('home/project', environment, 'linked', packages, own), tool)
  assert.equal(found('home/project', environment, packages), undefined)
  assert.equal(found('home', `${packages}/`), undefined)
})

test('PATH for programs outside of walls has no folder of a project, and is never empty', () => {
  const of = (...entries: readonly string[]) =>
    ownPath({ PATH: entries.join(delimiter), HOME: '/home/ada', folder: '/clone' })
  const own = ['/home/ada/bin', '/usr/bin']
  const project = ['/clone/bin', '/clone', '/elsewhere/node_modules/.bin', 'bin', '.', '']
  assert.equal(of(...project, ...own), own.join(delimiter))
  assert.equal(of(...project), '/usr/bin:/bin')
})

test('Programs below HOME are found from HOME, and those of other folders from anywhere', () => {
  const [own, environment] = folders
  assert.equal(found('home', own), `${own}/mayfly-test-tool`)
  assert.equal(found('', own), `${own}/mayfly-test-tool`)
  assert.equal(found('other', environment), `${environment}/mayfly-test-tool`)
})
