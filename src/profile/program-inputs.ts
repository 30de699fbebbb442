import { MayflyError } from '../contract/error.ts'
import type { Job } from '../contract/job.ts'
import type { FieldReason } from '../contract/profile.ts'
import { remedyText, type Remedy } from '../contract/remedy.ts'
import type { Verdict } from '../contract/verdict.ts'

const nameOf = { args: 'arguments', env: 'environment', stdin: 'standard input' } as const
const input: Remedy = { field: 'input' }
const asNode: Remedy = { field: 'language', value: 'node' }
type Name = keyof typeof nameOf

/**
 * Arguments, environment and standard input of a job, as names and sizes only. Throws MayflyError INVALID if the
 * language has none, instead of dropping them silently.
 */
export function explainProgramInputs(
  asked: Job['asked'],
  { language }: Pick<Verdict, 'language'>,
): readonly FieldReason[] {
  const given = sizesOf(asked)
  const [first] = Object.keys(given) as Name[]
  const isProgram = ['node', 'python', 'sh', 'bash'].includes(language)
  if (first !== undefined && !isProgram) throw unusable(first, language)
  return Object.entries(given).map(([field, value]) => ({ field, value, because: 'asked' }))
}

/** Argument count, sizes by variable name, bytes of input. */
export function sizesOf({ args, env, stdin }: Job['asked']): Readonly<Record<string, unknown>> {
  const names = Object.entries(env).map(([name, value]) => [name, Buffer.byteLength(value)])
  return {
    ...(args.length > 0 && { args: args.length }),
    ...(names.length > 0 && { env: Object.fromEntries(names) }),
    ...(stdin && { stdin: Buffer.byteLength(stdin.content, stdin.encoding) }),
  }
}

function unusable(path: Name, language: string): MayflyError {
  const message = `language "${language}" has no ${nameOf[path]}`
  const ways: readonly Remedy[] = language === 'wasm' ? [input] : [input, asNode]
  const other = language === 'wasm' ? 'use "input"' : 'use "input", or language "node"'
  return new MayflyError('INVALID', `Cannot accept the job: "${path}": ${message}`, {
    details: [{ path, message: `${message}: ${other}` }],
    hint: `Give ${ways.map(remedyText).join(', or ')}`,
    remedies: ways,
  })
}
