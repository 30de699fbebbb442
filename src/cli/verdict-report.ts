import path from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Analysis, Finding, Verdict } from '../contract/verdict.ts'
import { patterns } from '../threat/patterns.ts'
import { table } from './print.ts'

/** Analysis of one file. */
export interface AnalysedFile {
  readonly file: string
  readonly analysis: Analysis
}

/** Threat score from which code without grants is blocked. */
export const blockScore = 80

/** Entry of `analyze --json`. */
export function entryOf({ file, analysis }: AnalysedFile) {
  const { threatScore, risk, severity, findings, capabilities, complexityScore, behaviorScore } =
    analysis.verdict
  const blocked = threatScore >= blockScore
  return {
    file,
    threatScore,
    risk,
    severity,
    blocked,
    findings,
    capabilities,
    complexityScore,
    behaviorScore,
  }
}

/** `FILE:LINE:COLUMN: message` of a syntax error. */
export function syntaxErrorOf({ file, analysis }: AnalysedFile): string | undefined {
  if (analysis.kind !== 'syntax-error') return undefined
  return `${file}:${analysis.line}:${analysis.column}: ${analysis.message}`
}

/** Formats a line per file, then one per finding, most severe first. */
export function readable(all: readonly AnalysedFile[]): string {
  return all
    .map(({ file, analysis }) =>
      [headline(file, analysis), ...lines(file, analysis.verdict)].join('\n'),
    )
    .join('\n\n')
}

function headline(file: string, { kind, verdict }: Analysis): string {
  if (kind === 'syntax-error') return `${file}  does not parse`
  const blocked = verdict.threatScore >= blockScore ? '  blocked as an effect' : ''
  const unread = hasPatterns.has(verdict.language) ? '' : unreadNote(verdict.language)
  return `${file}  threat ${verdict.threatScore}  risk ${verdict.risk} (${verdict.severity})  complexity ${verdict.complexityScore}${blocked}${unread}`
}

/** Languages that are parsed; of others only the shape of the text is judged, so a low score means little. */
const hasPatterns: ReadonlySet<string> = new Set(['js', 'ts', 'node'])
const unreadNote = (language: string) => `  (${language} is not searched for patterns)`

function lines(file: string, { findings }: Verdict): string[] {
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

/** SARIF 2.1.0 log: one run, a result per finding, a notification per syntax error. */
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
          analysis.verdict.findings.map((finding) => resultOf(file, finding)),
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

function notificationOf({ file, analysis }: AnalysedFile) {
  if (analysis.kind !== 'syntax-error') return []
  const { line, column, message } = analysis
  return [
    { level: 'error', message: { text: message }, locations: [locationOf(file, line, column)] },
  ]
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
