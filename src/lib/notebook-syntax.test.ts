import assert from 'node:assert/strict'
import { test } from 'node:test'
import { notebookHint } from './notebook-syntax.ts'

test('a line of a notebook is told with what to write in its place', () => {
  const of = (line: string) => notebookHint(line, 'python')
  assert.match(of('!pip install pandas')!, /^"pip install" is a command of a shell/)
  assert.match(of('%pip install pandas')!, /^"pip install" is a command of a shell/)
  assert.match(of('  pip install pandas')!, /^"pip install" is a command of a shell/)
  assert.match(of('!ls -l')!, /write subprocess\.run\("ls -l", shell=True\)$/)
  assert.match(of('%matplotlib inline')!, /^"%matplotlib" is notebook syntax: leave it out/)
  assert.match(of('%%time')!, /^"%%time" is notebook syntax/)
  for (const line of ['rows?', '?rows', 'rows??', 'rows?;'])
    assert.match(of(line)!, /write help\(rows\)$/)
  assert.match(notebookHint('table.rows?', 'js')!, /write console\.log\(table\.rows\)$/)
})

test('other lines that do not parse have no such hint', () => {
  for (const line of ['x = = 1', 'rows', '', 'if x', '!', 'a ? b', 'pip', `x${'?'.repeat(1e6)}`])
    assert.equal(notebookHint(line, 'python'), undefined, line.slice(0, 20))
})
