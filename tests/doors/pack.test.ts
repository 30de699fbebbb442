import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'

const root = join(import.meta.dirname, '../..')
const entry = 'src/cli/main.ts'
const base = mkdtempSync(join(tmpdir(), 'mayfly-packed-'))
const modules = join(base, 'node_modules')
const installed = join(modules, 'mayfly')
const path = `${join(root, 'node_modules/.bin')}:${process.env['PATH']}`
after(() => rmSync(base, { recursive: true, force: true }))

suite('The npm package', { skip: !existsSync(join(root, entry)) && `no ${entry} yet` }, () => {
  test('The tarball holds JavaScript and no test', () => {
    const tarball = node(join(root, 'scripts/pack.ts'), base).trim()
    mkdirSync(installed, { recursive: true })
    execFileSync('tar', ['-xzf', tarball, '-C', installed, '--strip-components=1'])
    const files = readdirSync(installed, { recursive: true }).map(String)
    assert.ok(files.includes('src/cli/main.js'))
    assert.deepEqual(files.filter(isOutOfPlace), [])
  })

  test('Installed under node_modules it says its version', () => {
    // Dependencies of the package as npm would lay them out, without asking a registry.
    for (const name of readdirSync(join(root, 'node_modules')))
      if (!name.startsWith('.')) symlinkSync(join(root, 'node_modules', name), join(modules, name))
    assert.match(node(join(installed, 'bin/mayfly.js'), '--version'), /^\d+\.\d+\.\d+/m)
  })
})

function isOutOfPlace(file: string): boolean {
  return /\.test\.|(?<!\.d)\.ts$/.test(file)
}

function node(...args: readonly string[]): string {
  return execFileSync(process.execPath, args, {
    cwd: base,
    env: { ...process.env, PATH: path },
    encoding: 'utf8',
  })
}
