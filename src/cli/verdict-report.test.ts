import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from '../threat/inspect.ts'
import { analysisOf } from '../threat/verdict.ts'
import { entryOf, legendOf, readable, sarif, syntaxErrorOf } from './verdict-report.ts'

const look = (file: string, code: string) => ({
  file,
  analysis: analysisOf(inspect({ code, entry: 'auto', files: [] }), 'sha256:0'),
})
const bad = look('src/a b.js', 'const x = 1\n  process.exit(x); process.abort()')
const good = look('/tmp/b.js', 'return 1')
const broken = look('c.js', 'let = = 1')

test('an entry has exactly the named keys, and is blocked from 80 on', () => {
  const entry = entryOf(bad)
  assert.deepEqual(Object.keys(entry), [
    'file',
    'language',
    'threatScore',
    'risk',
    'severity',
    'judged',
    'blocked',
    'findings',
    'capabilities',
    'complexityScore',
    'behaviorScore',
  ])
  assert.deepEqual([entry.threatScore, entry.blocked], [90, true])
  assert.equal(entryOf(good).blocked, false)
})

test('the text report has a line per file and a line per finding, with its position', () => {
  assert.equal(
    readable([bad, good, broken]),
    [
      'src/a b.js  threat 90  risk 0 (low)  complexity 1  blocked as an effect',
      '  src/a b.js:2:3  PROCESS_ACCESS  90  critical  need  Process manipulation attempt (2 times)',
      '',
      '/tmp/b.js  threat 0  risk 0 (low)  complexity 1',
      '',
      'c.js  not judged: it does not parse',
    ].join('\n'),
  )
})

test('the text report ends with what its two numbers and its kinds mean, if it has any', () => {
  const words = (all: Parameters<typeof legendOf>[0]) =>
    legendOf(all).map((line) => line.split(/[,:]/)[0])
  assert.deepEqual(words([bad, broken]), ['', 'threat', 'risk', 'need'])
  assert.deepEqual(words([good]), ['', 'threat', 'risk'])
  assert.deepEqual(words([broken]), [])
})

test('a file that nothing reads is "not judged" in the text, and no low risk in an entry and in SARIF', () => {
  const code = 'import os\nos.system("rm -rf /")'
  const analysis = analysisOf(
    inspect({ code, language: 'python', entry: 'auto', files: [] }),
    'sha256:0',
  )
  const all = [
    { file: 'a.py', analysis },
    { file: 'w.php', because: 'its suffix says PHP' },
  ]
  assert.equal(
    readable(all),
    'a.py  not judged: code of language "python" is not read\n\nw.php  not judged: its suffix says PHP',
  )
  for (const entry of all.map(entryOf)) {
    const { judged, risk, severity, because } = entry
    assert.deepEqual([judged, risk, severity], [false, 40, 'medium'])
    assert.ok(because)
  }
  const told = sarif(all, '1.2.3').runs[0]!.invocations[0]!.toolExecutionNotifications
  assert.deepEqual(
    told.map(({ message }) => message.text.startsWith('Not judged: ')),
    [true, true],
  )
})

test('a syntax error is reported with its position', () => {
  assert.equal(syntaxErrorOf(good), undefined)
  assert.match(syntaxErrorOf(broken)!, /^c\.js:1:7: /)
})

test('a SARIF log names each rule, and the position of each result as a URI and a region', () => {
  const [run] = sarif([bad, good, broken], '1.2.3').runs
  const [result, ...others] = run!.results
  assert.equal(others.length, 0)
  assert.equal(result!.ruleId, 'PROCESS_ACCESS')
  assert.equal(run!.tool.driver.rules[result!.ruleIndex]!.id, 'PROCESS_ACCESS')
  assert.equal(result!.level, 'error')
  assert.deepEqual(result!.locations, [
    {
      physicalLocation: {
        artifactLocation: { uri: 'src/a%20b.js' },
        region: { startLine: 2, startColumn: 3 },
      },
    },
  ])
  const [notification] = run!.invocations[0]!.toolExecutionNotifications
  assert.equal(notification!.locations[0]!.physicalLocation.region.startColumn, 7)
})
