/**
 * Detection and false-positive rates of each anomaly detector. Without arguments on the scripted traces. `--traces
 * FOLDER`: on recorded lives, one JSON file each: `{name, expects?, foreseen, baseline?, observations}`; without
 * `expects` the program is benign. `--programs`: on programs run now through the whole pipeline, those of
 * `bench/programs` or of the named folders; `--only WORD` filters by name, `--save FOLDER` stores their lives as
 * traces.
 *
 *     node bench/anomalies.ts [--traces FOLDER | --programs [FOLDER…] [--only WORD] [--save FOLDER]] [--json]
 */
import { globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { fileURLToPath } from 'node:url'
import { anomalyNames, type Anomaly, isAtLeast } from '../src/contract/anomaly.ts'
import { openStand, programsIn, type Judged, judge } from '../tests/fixtures/programs.ts'
import { withAnomaly, behaviorScoreOf, noAnomalies } from '../src/watch/behavior-score.ts'
import { anomalous } from '../tests/fixtures/traces/anomalous.ts'
import { benign } from '../tests/fixtures/traces/benign.ts'
import type { Trace } from '../tests/fixtures/traces/script.ts'
import { watched } from '../tests/fixtures/traces/watched.ts'

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    traces: { type: 'string' },
    programs: { type: 'boolean' },
    only: { type: 'string', default: '' },
    save: { type: 'string' },
    json: { type: 'boolean' },
  },
})

if (flags.programs) await judgePrograms()
else judgeTraces(flags.traces === undefined ? [...anomalous, ...benign] : readFolder(flags.traces))

async function judgePrograms(): Promise<void> {
  const own = fileURLToPath(new URL('programs', import.meta.url))
  const folders = positionals.length > 0 ? positionals : [own]
  const programs = folders.flatMap(programsIn).filter(({ name }) => name.includes(flags.only))
  const judged: Judged[] = []
  await using stand = await openStand()
  for (const program of programs) {
    const ran = await stand.run(program)
    const one = judge(program, ran)
    judged.push(one)
    if (!flags.json) console.log(lineOf(one))
    if (ran.kind !== 'ran' || flags.save === undefined || !ran.watched) continue
    const { name, expects } = program
    const trace = { name, expects, ...ran.watched, observations: ran.observations }
    mkdirSync(flags.save, { recursive: true })
    writeFileSync(path.join(flags.save, `${name}.json`), JSON.stringify(trace))
  }
  const of = (kind: Judged['kind']) => judged.filter((one) => one.kind === kind)
  const odd = judged.filter(({ program, kind }) => program.expects && kind !== 'skipped')
  const honest = judged.filter(({ program, kind }) => !program.expects && kind !== 'skipped')
  const named = (list: readonly Judged[]) =>
    list.map(({ program, why, found }) => ({ name: program.name, why, found }))
  const report = {
    source: 'programs',
    anomalous: { programs: odd.length, found: of('found').length, missed: named(of('missed')) },
    benign: { programs: honest.length, aboveLow: named(of('alarm')), broken: named(of('broken')) },
    skipped: named(of('skipped')),
    behaviorScore: scoresOf(
      ...[odd, honest].map((all) => all.flatMap(({ behaviorScore }) => behaviorScore ?? [])),
    ),
  }
  if (flags.json) console.log(JSON.stringify(report))
  else {
    console.log(`${report.anomalous.found} of ${odd.length} anomalous programs found`)
    console.log(`${of('alarm').length} of ${honest.length} honest programs above low`)
    const { anomalousLowest, benignHighest } = report.behaviorScore
    console.log(`behavior score: anomalous from ${anomalousLowest}, honest up to ${benignHighest}`)
  }
  if (of('missed').length + of('alarm').length + of('broken').length > 0) process.exitCode = 1
}

function lineOf({ program, kind, why, found }: Judged): string {
  const expected = program.expects ? ` (${program.expects})` : ''
  const evidence = kind === 'found' || kind === 'calm' ? '' : ` ${JSON.stringify(found)}`
  return `${kind.padEnd(7)} ${program.name}${expected}: ${why}${evidence}`
}

function judgeTraces(given: readonly Trace[]): void {
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
    source: flags.traces ? 'recorded' : 'scripted',
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
    behaviorScore: scoresOf(
      ...[wrong, honest].map((all) =>
        all.map(({ anomalies }) => behaviorScoreOf(anomalies.reduce(withAnomaly, noAnomalies))),
      ),
    ),
    detectors: rows,
  }
  if (flags.json) return console.log(JSON.stringify(report))
  console.table(rows)
  console.log(JSON.stringify({ ...report, detectors: undefined }, undefined, 2))
}

/** Lowest anomalous and highest benign score; null if a group is empty. */
function scoresOf(odd: readonly number[] = [], honest: readonly number[] = []) {
  const of = (all: readonly number[], pick: (...all: number[]) => number) =>
    all.length > 0 ? pick(...all) : null
  return { anomalousLowest: of(odd, Math.min), benignHighest: of(honest, Math.max) }
}

function isAbove(anomalies: readonly Anomaly[], name?: string): boolean {
  return anomalies.some(
    (one) => (name === undefined || one.name === name) && isAtLeast(one.severity, 'medium'),
  )
}

function readFolder(folder: string): readonly Trace[] {
  const files = globSync(path.join(folder, '*.json')).sort()
  return files.map((file) => JSON.parse(readFileSync(file, 'utf8')) as Trace)
}
