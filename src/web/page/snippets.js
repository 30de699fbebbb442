// The page's job for the other entry points: command line, curl, TypeScript. Tests run each as printed.

/** Hosts granted with a life, as in policies/schedules.json. */
const hosts = {
  'late-beacon': ['api.shop.example'],
  'shrinking-life': ['http://api.shop.example:80'],
}
const suffixes = { js: 'js', ts: 'ts', node: 'mjs', python: 'py', bash: 'sh' }

/**
 * @param {{ code: string, language: string, input?: unknown, life?: string, makesFiles?: boolean }} job
 * @param {string} api origin of the active endpoint
 * @returns {readonly { name: string, text: string }[]}
 */
export function snippetsOf(job, api) {
  return [
    { name: 'Command line', text: commandLine(job) },
    { name: 'curl', text: curl(job, api) },
    { name: 'TypeScript', text: typeScript(job, api) },
  ]
}

function commandLine({ code, language, input, life = '', makesFiles }) {
  const file = `job.${suffixes[language]}`
  const end = delimiterFor(code)
  const flags = [
    `--language ${language}`,
    input === undefined ? '' : `--input ${quoted(JSON.stringify(input))}`,
    life && `--schedule ${life}`,
    ...(hosts[life] ?? []).map((host) => `--allow ${host}`),
    makesFiles ? '--artifacts made' : '',
  ].filter(Boolean)
  return `cat > ${file} <<'${end}'\n${ended(code)}${end}\nnpx mayfly run ${file} ${flags.join(' ')}\n`
}

function curl(job, api) {
  const body = JSON.stringify(bodyOf(job), undefined, 2)
  const end = delimiterFor(body)
  return [
    `curl -s ${api}/v1/executions \\`,
    '  -H "Authorization: Bearer $MAYFLY_API_KEY" \\',
    `  -H 'Content-Type: application/json' --data-binary @- <<'${end}'`,
    body,
    `${end}\n`,
  ].join('\n')
}

function typeScript(job, api) {
  const { code, ...rest } = bodyOf(job)
  const members = Object.entries(rest).map(([name, value]) => `  ${name}: ${literal(value)},\n`)
  return `import { MayflyClient } from 'mayfly/client'

const mayfly = new MayflyClient({ url: '${api}', key: process.env.MAYFLY_API_KEY ?? '' })
const outcome = await mayfly.run({
${members.join('')}  code: ${template(code)},
})
console.log(outcome.status, outcome.result, outcome.stdout)
`
}

function bodyOf({ code, language, input, life, makesFiles }) {
  return {
    language,
    ...(input !== undefined && { input }),
    ...(life && { schedule: life }),
    ...(hosts[life] && { network: { allow: hosts[life] } }),
    ...(makesFiles && { artifacts: 'inline' }),
    code,
  }
}

/** Heredoc delimiter: a line that does not occur in the text. */
function delimiterFor(text) {
  const lines = new Set(text.split('\n'))
  let end = 'END'
  for (let n = 1; lines.has(end); n++) end = `END${n}`
  return end
}

function ended(code) {
  return code.endsWith('\n') || code === '' ? code : `${code}\n`
}

/** Quotes a shell word. */
function quoted(text) {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`
}

function literal(value) {
  return typeof value === 'string' ? `'${value}'` : JSON.stringify(value)
}

function template(text) {
  return `\`${text.replace(/[\\`]|\$(?=\{)/g, String.raw`\$&`).replaceAll('\r', String.raw`\r`)}\``
}
