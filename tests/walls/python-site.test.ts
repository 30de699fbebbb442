import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pythonFile } from '../../src/jail/whole.ts'

/** The runner's Python starts without `site` (-S); guest/process/mayfly_site.py replaces it. */
const runner = join(import.meta.dirname, '../../guest/process')

test('Python: .pth files are read before the first non-standard module is imported, and not earlier', (t) => {
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

test('Python: standard modules that probe for Jython do not load .pth files, and an import of package org does', (t) => {
  if (!existsSync(pythonFile)) return t.skip('there is no Python')
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-site-'))
  const seen = () =>
    JSON.parse(
      python(
        `import copy, dataclasses, json, pprint
before = hasattr(sys, 'reads')
try:
    import org
    found = org.name
except ModuleNotFoundError:
    found = None
print(json.dumps([before, found, hasattr(sys, 'reads')]))`,
        folder,
      ),
    ) as unknown
  try {
    writeFileSync(join(folder, 'own.pth'), 'import sys; sys.reads = True\n')
    assert.deepEqual(seen(), [false, null, true])
    writeFileSync(join(folder, 'org.py'), 'name = "a package"\n')
    assert.deepEqual(seen(), [true, 'a package', true], 'before the existing module')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('Python: package folders, exit, quit and help are as set by site', (t) => {
  if (!existsSync(pythonFile)) return t.skip('there is no Python')
  const shown = `import json; print(json.dumps([sys.path[-3:], repr(exit), repr(quit), repr(help), callable(copyright)]))`
  const usual = spawnSync(pythonFile, ['-I', '-c', `import sys\n${shown}`], { encoding: 'utf8' })
  assert.deepEqual(JSON.parse(python(shown)), JSON.parse(usual.stdout))
})

test('Python: the runner reads and writes JSON like the json module, without importing it', (t) => {
  if (!existsSync(pythonFile)) return t.skip('there is no Python')
  const said = python(`
sys.path.insert(0, ${JSON.stringify(runner)})
import mayfly_entries, mayfly_json
heavy = sorted({'json', 're', 'enum', 'functools', 'collections'} & set(sys.modules))
import json
values = [None, True, 0, -1, 10**30, 1.5, 1e300, float('inf'), float('-inf'), '', '\\u2028\\x00\\ud800é"', [], {}, {'a': [{'b': None}]}]
same = all(mayfly_json.dumps(value) == json.dumps(value) for value in values)
texts = [json.dumps(value) for value in values] + ['[1,2]', '{"a":1,"a":2}', '-0.0', '1E2', ' [1] \\n', '\\t1']
read = all(mayfly_json.loads(text) == json.loads(text) == mayfly_json.loads(text.encode()) for text in texts)
bad = ['', ' ', '[', '{"a"}', '1 2', 'tru', '"\\x01"', '[1,]']
refused = []
for text in bad:
    try:
        refused.append(mayfly_json.loads(text))
    except ValueError:
        pass
try:
    mayfly_json.dumps({1, 2})
except TypeError as error:
    said = str(error)
print(json.dumps([heavy, same, read, refused, said]))`)
  const expected = [[], true, true, [], 'Object of type set is not JSON serializable']
  assert.deepEqual(JSON.parse(said), expected)
})

function python(code: string, packages?: string): string {
  const folders =
    packages === undefined ? '' : `site.getsitepackages = lambda: [${JSON.stringify(packages)}]`
  const script = `import sys, site\nsys.path.insert(0, ${JSON.stringify(runner)})\nimport mayfly_site\nsys.path.pop(0)\n${folders}\nmayfly_site.open_site()\n${code}`
  const ran = spawnSync(pythonFile, ['-I', '-S', '-B', '-c', script], { encoding: 'utf8' })
  assert.equal(ran.stderr, '')
  return ran.stdout
}
