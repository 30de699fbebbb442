import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { scoreLegend, shownScores, type Analysis, type Finding } from '../contract/verdict.ts'
import { patterns } from '../threat/patterns.ts'
import { sanitiseLine } from '../output/sanitise.ts'
import { table } from './print.ts'

/** Analysis of one file, or why there is none. */
export type AnalysedFile =
  | { readonly file: string; readonly analysis: Analysis; readonly because?: never }
  | { readonly file: string; readonly analysis?: never; readonly because: string }

/** Threat score from which code without grants is blocked. */
export const blockScore = 80

/** Entry of `analyze --json`; `because` says why a file was not judged. */
export function entryOf(one: AnalysedFile) {
  const { file, analysis } = one
  const because = unjudgedReason(one)
  const { language, findings, capabilities, complexityScore, behaviorScore } = {
    ...nothingRead,
    ...analysis?.verdict,
  }
  const scores = shownScores({ ...unscored, ...analysis?.verdict })
  return {
    file,
    language,
    ...scores,
    blocked: scores.threatScore >= blockScore,
    findings,
    capabilities,
    complexityScore,
    behaviorScore,
    ...(because !== undefined && { because }),
  }
}

const nothingRead = {
  language: null,
  findings: [],
  capabilities: [],
  complexityScore: 0,
  behaviorScore: 0,
}
const unscored = { threatScore: 0, risk: 0, judged: false, language: 'sh' } as const

/** Why nothing is known of a file; undefined if it was read. */
export function unjudgedReason({ analysis, because }: AnalysedFile): string | undefined {
  if (!analysis) return because
  if (analysis.verdict.judged) return undefined
  if (analysis.kind === 'syntax-error') return 'it does not parse'
  const { findings, language } = analysis.verdict
  const isUnparsed = findings.some(({ name }) => name === 'UNPARSED')
  return isUnparsed ? 'it could not be parsed' : `code of language "${language}" is not read`
}

/** `FILE:LINE:COLUMN: message` of a syntax error. */
export function syntaxErrorOf({ file, analysis }: AnalysedFile): string | undefined {
  if (analysis?.kind !== 'syntax-error') return undefined
  return `${file}:${analysis.line}:${analysis.column}: ${analysis.message}`
}

/** Formats a line per file, then one per finding, most severe first. */
export function readable(all: readonly AnalysedFile[]): string {
  return all.map((one) => [headline(one), ...lines(one)].join('\n')).join('\n\n')
}

/** Legend of the report; empty if no file was judged. */
export function legendOf(all: readonly AnalysedFile[]): readonly string[] {
  const judged = all.filter((one) => unjudgedReason(one) === undefined)
  if (judged.length === 0) return []
  const { threat, risk, kinds } = scoreLegend
  const hasFindings = judged.some(({ analysis }) => analysis!.verdict.findings.length > 0)
  return ['', threat, risk, ...(hasFindings ? [kinds] : [])]
}

function headline(one: AnalysedFile): string {
  const { file, analysis } = one
  const unread = unjudgedReason(one)
  const isUnparsed = analysis?.verdict.findings.length
  if (unread !== undefined && !isUnparsed) return sanitiseLine(`${file}  not judged: ${unread}`)
  const { threatScore, risk, severity, complexityScore } = analysis!.verdict
  const blocked = threatScore >= blockScore ? '  blocked as an effect' : ''
  return `${sanitiseLine(file)}  threat ${threatScore}  risk ${risk} (${severity})  complexity ${complexityScore}${blocked}`
}

function lines({ file, analysis }: AnalysedFile): string[] {
  const findings = analysis?.verdict.findings ?? []
  if (findings.length === 0) return []
  const rows = findings.map((finding) => [
    `  ${file}:${finding.line}:${finding.column}`,
    finding.name,
    String(finding.score),
    finding.severity,
    finding.kind,
    finding.count > 1 ? `${finding.description} (${finding.count} times)` : finding.description,
  ])
  return [table(rows)]
}

const names = Object.keys(patterns) as (keyof typeof patterns)[]
const levels = { critical: 'error', high: 'error', medium: 'warning', low: 'note' } as const

/** SARIF 2.1.0 log: one run, a result per finding, a notification per file that was not judged. */
export function sarif(all: readonly AnalysedFile[], version: string) {
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: { driver: { name: 'mayfly', version, rules: names.map(ruleOf) } },
        columnKind: 'utf16CodeUnits',
        invocations: [
          { executionSuccessful: true, toolExecutionNotifications: all.flatMap(notificationOf) },
        ],
        results: all.flatMap(({ file, analysis }) =>
          (analysis?.verdict.findings ?? []).map((finding) => resultOf(file, finding)),
        ),
      },
    ],
  }
}

function ruleOf(name: keyof typeof patterns) {
  const { description, score, severity } = patterns[name]
  return {
    id: name,
    shortDescription: { text: description },
    defaultConfiguration: { level: levels[severity] },
    properties: { 'security-severity': (score / 10).toFixed(1), tags: ['security'] },
  }
}

function resultOf(file: string, finding: Finding) {
  const { name, severity, description, because, line, column, score, kind, count } = finding
  return {
    ruleId: name,
    ruleIndex: names.indexOf(name),
    level: levels[severity],
    message: { text: `${description}. ${because}.` },
    locations: [locationOf(file, line, column)],
    properties: { score, kind, count },
  }
}

/** Notification of a file that was not judged, at its syntax error if it has one. */
function notificationOf(one: AnalysedFile) {
  const { file, analysis } = one
  const because = unjudgedReason(one)
  if (because === undefined) return []
  const isBroken = analysis?.kind === 'syntax-error'
  const text = isBroken ? analysis.message : `Not judged: ${because}`
  const { line, column } = isBroken ? analysis : { line: 1, column: 1 }
  const level = isBroken ? ('error' as const) : ('warning' as const)
  return [{ level, message: { text }, locations: [locationOf(file, line, column)] }]
}

function locationOf(file: string, startLine: number, startColumn: number) {
  return {
    physicalLocation: {
      artifactLocation: { uri: uriOf(file) },
      region: { startLine, startColumn },
    },
  }
}

function uriOf(file: string): string {
  if (path.isAbsolute(file)) return pathToFileURL(file).href
  return path.normalize(file).split(path.sep).map(encodeURIComponent).join('/')
}
