import { MayflyClient, MayflyProblem } from 'mayfly/client'

/** Tool for a language model: code in, text out. Needs no SDK; docs/how-to/tool-calling.md shows it with several. */
export const name = 'run_code'
export const description =
  'Runs a program in a fresh sandbox without a network and returns its output, result and files. ' +
  'Nothing is kept between calls. Print what you want to see.'
export const parameters = {
  type: 'object',
  properties: {
    language: { type: 'string', enum: ['python', 'node', 'bash'] },
    code: { type: 'string', description: 'The whole program' },
  },
  required: ['language', 'code'],
  additionalProperties: false,
} as const

/** Limit per text: tokens cost, and the end of a long output matters more than its middle. */
const CHARS_MAX = 8_000
const languages = ['python', 'node', 'bash'] as const

const mayfly = new MayflyClient({
  url: process.env['MAYFLY_URL'] ?? 'http://127.0.0.1:7421',
  key: process.env['MAYFLY_API_KEY'] ?? '',
})

/** `given` is untrusted output of the model, an object or JSON. Always resolves to text. */
export async function runCode(given: unknown): Promise<string> {
  const job = jobIn(given)
  if (!job) return 'Not run: expected {"language": "python" | "node" | "bash", "code": "…"}'
  try {
    const limits = { timeout: '20s', memory: '512MB' }
    const { status, error, result, stdout, stderr, artifacts, exitCode } = await mayfly.run({
      ...job,
      limits,
    })
    const files = artifacts.map(({ path, size }) => `${path} (${size} bytes)`)
    return [
      `status: ${status}${exitCode ? `, exit code ${exitCode}` : ''}`,
      error && `error: ${error.message}\n${error.stack ?? ''}`,
      result !== null && `result: ${shortened(JSON.stringify(result))}`,
      stdout && `stdout:\n${shortened(stdout)}`,
      stderr && `stderr:\n${shortened(stderr)}`,
      files.length > 0 && `files: ${files.join(', ')}`,
    ]
      .filter(Boolean)
      .join('\n')
  } catch (thrown) {
    if (thrown instanceof MayflyProblem) return `Not run: ${thrown.code}: ${thrown.message}`
    throw thrown
  }
}

function jobIn(given: unknown): { language: (typeof languages)[number]; code: string } | undefined {
  try {
    const { language, code } = (typeof given === 'string' ? JSON.parse(given) : given) as {
      language?: unknown
      code?: unknown
    }
    const known = languages.find((one) => one === language)
    return known && typeof code === 'string' ? { language: known, code } : undefined
  } catch {
    return undefined
  }
}

function shortened(text: string): string {
  if (text.length <= CHARS_MAX) return text
  const half = CHARS_MAX / 2
  const cut = text.length - CHARS_MAX
  return `${text.slice(0, half)}\n… ${cut} characters left out …\n${text.slice(-half)}`
}
