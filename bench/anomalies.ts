/**
 * How many anomalous programs each detector finds, and how often it cries wolf over honest ones. Without arguments over
 * the scripted traces; with `--traces FOLDER` over lives recorded from walls, a JSON file each:
 * `{name, expects?, foreseen, baseline?, observations}`, where one without `expects` is an honest program.
 *
 *     node bench/anomalies.ts [--traces FOLDER] [--json]
 */
import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { anomalyNames, type Finding, isAtLeast } from '../src/contract/anomaly.ts'
import { anomalous } from '../tests/fixtures/traces/anomalous.ts'
import { benign } from '../tests/fixtures/traces/benign.ts'
import type { Trace } from '../tests/fixtures/traces/script.ts'
import { watched } from '../tests/fixtures/traces/watched.ts'

const { values: flags } = parseArgs({
  options: { traces: { type: 'string' }, json: { type: 'boolean' } },
})

const given = flags.traces === undefined ? [...anomalous, ...benign] : readFolder(flags.traces)
const judged = given.map((trace) => ({ trace, findings: watched(trace).findings }))
const wrong = judged.filter(({ trace }) => trace.expects !== undefined)
const honest = judged.filter(({ trace }) => trace.expects === undefined)

const rows = anomalyNames.map((name) => {
  const expected = wrong.filter(({ trace }) => trace.expects === name)
  return {
    detector: name,
    expected: expected.length,
    found: expected.filter(({ findings }) => isAbove(findings, name)).length,
    alsoFound: wrong.filter((one) => one.trace.expects !== name && isAbove(one.findings, name))
      .length,
    falseAboveLow: honest.filter(({ findings }) => isAbove(findings, name)).length,
    falseLow: honest.filter(({ findings }) => findings.some((one) => one.name === name)).length,
  }
})
const report = {
  source: flags.traces === undefined ? 'scripted' : 'recorded',
  anomalous: {
    programs: wrong.length,
    found: wrong.filter(({ findings }) => isAbove(findings)).length,
    missed: wrong
      .filter(({ trace, findings }) => !isAbove(findings, trace.expects))
      .map(({ trace }) => trace.name),
  },
  benign: {
    programs: honest.length,
    aboveLow: honest.filter(({ findings }) => isAbove(findings)).map(({ trace }) => trace.name),
    low: honest.filter(({ findings }) => findings.length > 0).length,
  },
  detectors: rows,
}
if (flags.json) console.log(JSON.stringify(report))
else {
  console.table(rows)
  console.log(JSON.stringify({ ...report, detectors: undefined }, undefined, 2))
}

function isAbove(findings: readonly Finding[], name?: string): boolean {
  return findings.some(
    (one) => (name === undefined || one.name === name) && isAtLeast(one.severity, 'medium'),
  )
}

function readFolder(folder: string): readonly Trace[] {
  const files = globSync(path.join(folder, '*.json')).sort()
  return files.map((file) => JSON.parse(readFileSync(file, 'utf8')) as Trace)
}
