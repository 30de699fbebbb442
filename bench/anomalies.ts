/**
 * How many anomalous programs each detector finds, and how often it cries wolf over honest ones. Without arguments over
 * the scripted traces. With `--traces FOLDER` over lives recorded before, a JSON file each:
 * `{name, expects?, foreseen, baseline?, observations}`, where one without `expects` is an honest program. With
 * `--programs FOLDER` over programs that are run now, each behind a wall that this machine has (`--tier`), one whose text
 * has `expects: DETECTOR` in its first line being an anomalous one; `--save FOLDER` keeps their lives as traces.
 *
 *     node bench/anomalies.ts [--traces FOLDER | --programs FOLDER [--tier T] [--save FOLDER]] [--json]
 */
import { globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { anomalyNames, type Anomaly, isAtLeast } from '../src/contract/anomaly.ts'
import { anomalous } from '../tests/fixtures/traces/anomalous.ts'
import { recorded } from '../tests/fixtures/traces/recorded.ts'
import { benign } from '../tests/fixtures/traces/benign.ts'
import type { Trace } from '../tests/fixtures/traces/script.ts'
import { watched } from '../tests/fixtures/traces/watched.ts'

const { values: flags } = parseArgs({
  options: {
    traces: { type: 'string' },
    programs: { type: 'string' },
    tier: { type: 'string' },
    save: { type: 'string' },
    json: { type: 'boolean' },
  },
})

const given = await givenTraces()
const began = performance.now()
const judged = given.map((trace) => ({ trace, anomalies: watched(trace).anomalies }))
const tookMs = performance.now() - began
const seen = given.reduce((sum, { observations }) => sum + observations.length, 0)
const wrong = judged.filter(({ trace }) => trace.expects !== undefined)
const honest = judged.filter(({ trace }) => trace.expects === undefined)

const rows = anomalyNames.map((name) => {
  const expected = wrong.filter(({ trace }) => trace.expects === name)
  return {
    detector: name,
    expected: expected.length,
    found: expected.filter(({ anomalies }) => isAbove(anomalies, name)).length,
    alsoFound: wrong.filter((one) => one.trace.expects !== name && isAbove(one.anomalies, name))
      .length,
    falseAboveLow: honest.filter(({ anomalies }) => isAbove(anomalies, name)).length,
    falseLow: honest.filter(({ anomalies }) => anomalies.some((one) => one.name === name)).length,
  }
})
const report = {
  source: flags.traces || flags.programs ? 'recorded' : 'scripted',
  observations: seen,
  microsecondsAnObservation: Math.round((tookMs * 10_000) / Math.max(1, seen)) / 10,
  anomalous: {
    programs: wrong.length,
    found: wrong.filter(({ anomalies }) => isAbove(anomalies)).length,
    missed: wrong
      .filter(({ trace, anomalies }) => !isAbove(anomalies, trace.expects))
      .map(({ trace }) => trace.name),
  },
  benign: {
    programs: honest.length,
    aboveLow: honest.filter(({ anomalies }) => isAbove(anomalies)).map(({ trace }) => trace.name),
    low: honest.filter(({ anomalies }) => anomalies.length > 0).length,
  },
  detectors: rows,
}
if (flags.json) console.log(JSON.stringify(report))
else {
  console.table(rows)
  console.log(JSON.stringify({ ...report, detectors: undefined }, undefined, 2))
}

function isAbove(anomalies: readonly Anomaly[], name?: string): boolean {
  return anomalies.some(
    (one) => (name === undefined || one.name === name) && isAtLeast(one.severity, 'medium'),
  )
}

async function givenTraces(): Promise<readonly Trace[]> {
  if (flags.traces !== undefined) return readFolder(flags.traces)
  if (flags.programs === undefined) return [...anomalous, ...benign]
  const traces = await recorded(flags.programs, flags.tier)
  if (flags.save !== undefined) {
    mkdirSync(flags.save, { recursive: true })
    for (const trace of traces)
      writeFileSync(path.join(flags.save, `${trace.name}.json`), JSON.stringify(trace))
  }
  return traces
}

function readFolder(folder: string): readonly Trace[] {
  const files = globSync(path.join(folder, '*.json')).sort()
  return files.map((file) => JSON.parse(readFileSync(file, 'utf8')) as Trace)
}
