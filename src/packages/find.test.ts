import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { findPackages, nearestModules } from './find.ts'

const base = realpathSync(mkdtempSync(join(tmpdir(), 'mayfly-find-')))
after(() => rmSync(base, { recursive: true, force: true }))

/** Another folder of this user, which no project may mount. */
const secrets = join(base, 'secrets')
mkdirSync(secrets)
writeFileSync(join(secrets, 'credentials'), 'canary')
writeFileSync(join(secrets, 'a.whl'), '')

function project(name: string): string {
  const root = join(base, name)
  mkdirSync(root)
  return root
}

test('packages found in a project are inside it, even if its symlinks lead out', () => {
  const plain = project('plain')
  mkdirSync(join(plain, 'node_modules'))
  assert.equal(nearestModules(plain)?.folder, join(plain, 'node_modules'))

  const linked = project('linked')
  symlinkSync(secrets, join(linked, 'node_modules'))
  assert.equal(nearestModules(linked), undefined)
  assert.throws(() => findPackages(linked), { code: 'USAGE' })

  const environment = project('environment')
  mkdirSync(join(environment, 'env/lib/python3.11'), { recursive: true })
  writeFileSync(join(environment, 'env/pyvenv.cfg'), '')
  symlinkSync(secrets, join(environment, 'env/lib/python3.11/site-packages'))
  symlinkSync(join(environment, 'env'), join(environment, 'node_modules'))
  assert.equal(nearestModules(environment), undefined)
  symlinkSync(join(environment, 'env'), join(environment, '.venv'))
  assert.throws(() => findPackages(environment), { code: 'USAGE' })
})

test('a folder named by the caller may be a link', () => {
  const own = project('own')
  mkdirSync(join(own, 'node_modules'))
  symlinkSync(join(own, 'node_modules'), join(base, 'named'))
  assert.equal(findPackages(join(base, 'named')).folder, join(own, 'node_modules'))
})
