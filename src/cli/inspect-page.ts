import { scoreLegend } from '../contract/verdict.ts'
import { sanitise } from '../output/sanitise.ts'
import type { InspectReport } from './inspection.ts'

/** Rows of a table on the page. */
const rowsMax = 500

/**
 * Report as one page without a script and without anything from elsewhere. All text of the target is escaped, and a content
 * policy forbids what an escape that failed could load.
 */
export function inspectionPage(found: InspectReport): string {
  const { verdict } = found
  const body = [
    `<h1>${escaped(found.target)}</h1>`,
    `<p class="verdict ${verdict}">${verdict}</p><p>${found.kind}</p>`,
    list(found.because),
    ...found.runs.flatMap((run) => [
      `<h2>Run behind ${escaped(run.provider ?? 'no wall')} (${escaped(run.tier ?? '')}): ${run.status}</h2>`,
      run.error ? `<p>${escaped(run.error.message)}</p>` : '',
      `<figure>${run.picture}</figure>`,
      text('stdout', run.stdout),
      text('stderr', run.stderr),
      rows(
        'Left in its folder',
        ['file', 'bytes'],
        run.left.map((one) => [one.path, String(one.size)]),
      ),
    ]),
    ...tablesOf(found),
    list(found.notes),
  ]
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Inspection of ${escaped(found.target)}</title><style>${style}</style></head>
<body>${body.join('\n')}</body></html>
`
}

function tablesOf(found: InspectReport): string[] {
  const { network, files } = found
  return [
    rows(
      'Analysis',
      ['file', 'threat', 'risk', 'findings'],
      found.analysis.map((one) => [
        one.file,
        one.judged ? String(one.threatScore) : 'not judged',
        one.judged ? String(one.risk) : (one.because ?? ''),
        one.findings.map(({ name, line }) => `${name}:${line}`).join(' '),
      ]),
    ),
    found.analysis.length > 0 ? list([scoreLegend.threat, scoreLegend.risk]) : '',
    rows(
      'Programs started',
      ['program', 'times', ''],
      found.programs.map((one) => [
        one.path,
        String(one.count),
        [one.written ? 'made by it' : '', one.denied ? 'refused' : ''].join(' '),
      ]),
    ),
    rows(
      'Files read',
      ['file', ''],
      files.read.map((one) => [one.path, one.denied ? 'refused' : '']),
    ),
    rows(
      'Files written',
      ['file', ''],
      files.written.map((one) => [one.path, one.denied ? 'refused' : '']),
    ),
    rows(
      'Hosts asked',
      ['host', 'verdict', 'times', 'because'],
      network.hosts.map((one) => [
        `${one.host}:${one.port}`,
        one.verdict,
        String(one.count),
        one.because ?? '',
      ]),
    ),
    rows(
      'Requests, answered by a stub',
      ['method', 'address', 'bytes sent', 'body'],
      network.requests.map((one) => [one.method, one.url, String(one.bytes), one.body]),
    ),
    rows(
      'Persistence tried',
      ['path', 'technique', 'because'],
      found.persistence.map((one) => [one.path, one.technique, one.because]),
    ),
    rows(
      'Planted credentials used',
      ['credential', 'where'],
      found.credentials.map((one) => [one.token, one.where]),
    ),
    rows(
      'Anomalies',
      ['detector', 'severity', 'reason'],
      found.anomalies.map((one) => [one.name, one.severity, one.reason]),
    ),
  ]
}

const style = `:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{overflow-wrap:anywhere}.verdict{display:inline-block;font-size:1.3rem;font-weight:600;padding:.2rem .8rem;border-radius:.4rem;color:#fff;background:#2d7d46}
.verdict.suspicious{background:#a86500}.verdict.malicious{background:#b3261e}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.25rem .6rem;border-bottom:1px solid rgb(128 128 128/.3);overflow-wrap:anywhere}
pre{max-height:20rem;overflow:auto;padding:.6rem;background:rgb(128 128 128/.13);white-space:pre-wrap;overflow-wrap:anywhere}figure{margin:0;overflow-x:auto}`

function rows(title: string, head: readonly string[], all: readonly (readonly string[])[]): string {
  if (all.length === 0) return ''
  const line = (tag: string, cells: readonly string[]) =>
    `<tr>${cells.map((cell) => `<${tag}>${escaped(cell)}</${tag}>`).join('')}</tr>`
  const shown = all.slice(0, rowsMax).map((cells) => line('td', cells))
  const more = all.length > rowsMax ? `<p>and ${all.length - rowsMax} more</p>` : ''
  return `<h2>${title}</h2><div class="scroll"><table>${line('th', head)}${shown.join('')}</table></div>${more}`
}

function list(lines: readonly string[]): string {
  return lines.length === 0
    ? ''
    : `<ul>${lines
        .slice(0, rowsMax)
        .map((line) => `<li>${escaped(line)}</li>`)
        .join('')}</ul>`
}

function text(title: string, content: string): string {
  return content === ''
    ? ''
    : `<details><summary>${title}</summary><pre>${escaped(content)}</pre></details>`
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Also for a terminal, where the page may be printed, and without marks that reorder a name. */
function escaped(content: string): string {
  return sanitise(content).replace(/[&<>"']/g, (one) => entities[one]!)
}
