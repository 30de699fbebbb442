import { scoreLegend } from '../contract/verdict.ts'
import { sanitise, sanitiseLine } from '../output/sanitise.ts'
import { shownSize } from './format-value.ts'
import type { InspectReport } from './inspection.ts'
import { paint, table } from './print.ts'

const rowsMax = 25
const excerptCharactersMax = 120
const colours = { unremarkable: 'green', suspicious: 'yellow', malicious: 'red' } as const

function scoresOf({ judged, threatScore, risk, because = '' }: InspectReport['analysis'][number]) {
  return judged ? [`threat ${threatScore}`, `risk ${risk}`] : ['not judged', because]
}

/** Report for a terminal: the verdict first, then what was seen, each list cut to a screen. */
export function inspectionText(found: InspectReport): string {
  const { verdict, because, network, files, notes } = found
  const head = `${paint('bold', sanitiseLine(found.target), process.stdout)}  ${paint(colours[verdict], verdict, process.stdout)}  (${found.kind})`
  return [
    head,
    ...list(because),
    ...section('Runs', found.runs.map(runRow)),
    ...section(
      'Analysis',
      found.analysis
        .filter(({ findings, judged }) => findings.length > 0 || !judged)
        .map((one) => [one.file, ...scoresOf(one), namesOf(one)]),
      [scoreLegend.threat, scoreLegend.risk],
    ),
    ...section(
      'Programs started',
      found.programs.map((one) => [
        one.path,
        times(one.count),
        one.written ? 'made by it' : '',
        one.denied ? 'refused' : '',
      ]),
    ),
    ...section('Files read', files.read.filter(isTelling).map(fileRow)),
    ...section('Files written', files.written.filter(isTelling).map(fileRow)),
    ...section(
      'Hosts asked',
      network.hosts.map((one) => [
        `${one.host}:${one.port}`,
        one.verdict,
        times(one.count),
        one.because ?? '',
      ]),
    ),
    ...section(
      'Requests, answered by a stub',
      network.requests.map((one) => [
        one.method,
        one.url,
        one.bytes > 0 ? `sent ${shownSize(one.bytes)}` : '',
        times(one.count),
        excerpt(one.body),
      ]),
    ),
    ...section(
      'Persistence tried',
      found.persistence.map((one) => [one.path, one.technique, one.because]),
    ),
    ...section(
      'Planted credentials used',
      found.credentials.map((one) => [one.token, one.where]),
    ),
    ...section(
      'Left in its folder',
      found.runs
        .slice(-1)
        .flatMap(({ left }) => left.map((one) => [one.path, shownSize(one.size)])),
    ),
    ...(notes.length > 0 ? ['', ...list(notes)] : []),
    '',
    ...found.runs.map(({ id, captures }) =>
      captures > 0
        ? `Memory kept: mayfly evidence show ${id}`
        : `Recorded: mayfly audit list --run ${id}`,
    ),
  ].join('\n')
}

function runRow(run: InspectReport['runs'][number]): string[] {
  const { provider = 'no wall', tier = '', status, error } = run
  return [
    `${tier} (${provider})`,
    status,
    `${Math.round(run.executionTime)} ms`,
    `behavior ${run.behaviorScore}`,
    error?.message ?? '',
  ]
}

/** False for what interpreters open on their own, and for files that the target brought. */
function isTelling({ path }: { readonly path: string }): boolean {
  return !/^\/(proc|sys|usr|dev|etc\/(ssl|nsswitch)|package\.json|work\/(package|stub|inspect-|node_modules)|work\/package\.json)|\.pyc(\.\d+)?$/.test(
    path,
  )
}

function fileRow({ path, denied }: { readonly path: string; readonly denied: boolean }): string[] {
  return [path, denied ? 'refused' : '']
}

function section(
  title: string,
  rows: readonly (readonly string[])[],
  legend: readonly string[] = [],
): string[] {
  if (rows.length === 0) return []
  const more = rows.length - rowsMax
  const lines = table(rows.slice(0, rowsMax)).split('\n')
  return [
    '',
    paint('bold', title, process.stdout),
    ...lines.map((line) => `  ${line}`),
    ...(more > 0 ? [`  and ${more} more (--json has all)`] : []),
    ...legend.map((line) => paint('dim', `  ${line}`, process.stdout)),
  ]
}

function list(lines: readonly string[]): string[] {
  const more = lines.length - rowsMax
  return [
    ...lines.slice(0, rowsMax).map((line) => `- ${sanitiseLine(sanitise(line))}`),
    ...(more > 0 ? [`- and ${more} more`] : []),
  ]
}

function namesOf({ findings }: InspectReport['analysis'][number]): string {
  return [...new Set(findings.map(({ name }) => name))].join(' ')
}

function times(count: number): string {
  return count > 1 ? `${count} times` : ''
}

function excerpt(body: string): string {
  return body.replace(/\s+/g, ' ').slice(0, excerptCharactersMax)
}
