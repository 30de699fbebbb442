import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pythonFile } from '../../src/jail/whole.ts'

/** The runner's Python starts without `site` (-S): guest/process/mayfly_site.py stands in for it. */
const runner = join(import.meta.dirname, '../../guest/process')

test('Python: .pth files are read before the first module that is not standard, and only then', (t) => {
  if (!existsSync(pythonFile)) return t.skip('there is no Python')
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-site-'))
  try {
    writeFileSync(
      join(folder, 'own.pth'),
      'import sys; sys.reads = getattr(sys, "reads", 0) + 1\nmore\n',
    )
    writeFileSync(join(folder, 'own_module.py'), 'import sys\nseen = sys.reads\n')
    const said = python(
      `
import json, sqlite3, email.message
before = getattr(sys, 'reads', 0)
import own_module
try:
    import not_there
except ModuleNotFoundError as error:
    missing = error.name
import own_module as again
print(json.dumps([before, own_module.seen, sys.reads, missing, sys.path.count(${JSON.stringify(folder)})]))`,
      folder,
    )
    assert.deepEqual(JSON.parse(said), [0, 1, 1, 'not_there', 1])
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('Python: folders of packages, exit, quit and help are as site leaves them', (t) => {
  if (!existsSync(pythonFile)) return t.skip('there is no Python')
  const shown = `import json; print(json.dumps([sys.path[-3:], repr(exit), repr(quit), repr(help), callable(copyright)]))`
  const usual = spawnSync(pythonFile, ['-I', '-c', `import sys\n${shown}`], { encoding: 'utf8' })
  assert.deepEqual(JSON.parse(python(shown)), JSON.parse(usual.stdout))
})

function python(code: string, packages?: string): string {
  const folders =
    packages === undefined ? '' : `site.getsitepackages = lambda: [${JSON.stringify(packages)}]`
  const script = `import sys, site\nsys.path.insert(0, ${JSON.stringify(runner)})\nimport mayfly_site\nsys.path.pop(0)\n${folders}\nmayfly_site.open_site()\n${code}`
  const ran = spawnSync(pythonFile, ['-I', '-S', '-B', '-c', script], { encoding: 'utf8' })
  assert.equal(ran.stderr, '')
  return ran.stdout
}
