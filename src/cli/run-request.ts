import path from 'node:path'
import { MayflyError } from '../contract/error.ts'
import type { JobRequest } from '../contract/job.ts'
import { parseJson } from '../lib/parse-json.ts'
import { present } from '../lib/present.ts'
import { note } from './print.ts'
import type { RunFlags } from './run-flags.ts'
import { readBytes, readProgram } from './source.ts'

/**
 * Builds the job of a command line: program, files and flags, read with the rights and in the folder of the caller. Loads
 * no schema, because the process that runs the job, a server or this one, validates it.
 */
export async function requestOf(
  file: string,
  args: readonly string[],
  flags: RunFlags,
): Promise<JobRequest> {
  const { entry, tier, floor, shadow, provider, schedule, image } = flags
  const { timeout, memory, cpu, disk, output, artifactsMax, processes, allow, capability } = flags
  const schema =
    flags.outputSchema !== undefined
      ? await readJson(flags.outputSchema, '--output-schema')
      : undefined
  const files = (
    await Promise.all((flags.file ?? []).map((given) => jobFilesOf(given, flags)))
  ).flat()
  const input = flags.input === undefined ? undefined : await inputOf(flags.input, '--input')
  // Last: standard input cannot be read again in a process that may read the files.
  const { code, language } = await readProgram(file, flags.language)
  return {
    code,
    ...(await sourceNameOf(file, files)),
    // An empty text is given too: of an unset variable of a shell, which must not mean the default.
    ...present({ language, entry, tier, floor, shadow, provider, schedule, image }),
    ...(input !== undefined && { input }),
    ...(flags.batch !== undefined && { calls: await callsOf(flags.batch) }),
    ...(flags.signature && (await signaturesOf(flags.signature))),
    files,
    args: [...args],
    ...(flags.env && flags.env.length > 0 && { env: environmentOf(flags.env) }),
    limits: present({
      timeout: amount(timeout),
      memory: amount(memory),
      cpu,
      cpuTime: amount(flags.cpuTime),
      disk: amount(disk),
      output: amount(output),
      artifacts: amount(artifactsMax),
      processes,
      instructions: flags.instructions,
    }),
    ...(allow && { network: { allow: [...allow] } }),
    ...(capability && { capabilities: [...capability] }),
    ...(schema !== undefined && { output: { schema: schema as Record<string, unknown> } }),
    artifacts: flags.artifacts || flags.json ? 'inline' : 'reference',
    capture: flags.capture ?? false,
    trace: flags.trace ?? false,
    idempotent: flags.idempotent ?? false,
  }
}

/** Parses `NAME=VALUE`, or `NAME` to pass on Mayfly's own; the last one wins. Throws MayflyError USAGE. */
function environmentOf(given: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    given.map((one) => {
      const cut = one.indexOf('=')
      if (cut >= 0) return [one.slice(0, cut), one.slice(cut + 1)]
      const value = process.env[one]
      if (value !== undefined) return [one, value]
      throw new MayflyError('USAGE', `Cannot pass on "${one}": it is not in the environment`, {
        hint: `Give it a value: --env ${one}=VALUE`,
      })
    }),
  )
}

/** A bare number is milliseconds or bytes. */
function amount(text: string | undefined): string | number | undefined {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : text
}

async function inputOf(text: string, flag: string): Promise<unknown> {
  return text.startsWith('@') ? readJson(text.slice(1), flag) : jsonOf(text, flag)
}

async function callsOf(text: string): Promise<NonNullable<JobRequest['calls']>> {
  const inputs = await inputOf(text, '--batch')
  if (Array.isArray(inputs)) return inputs.map((input: unknown) => ({ input }))
  throw new MayflyError('USAGE', 'Cannot read --batch: expected a list of inputs', {
    hint: `For example --batch '[1, 2, 3]', or --batch @inputs.json`,
  })
}

async function readJson(file: string, flag: string): Promise<unknown> {
  return jsonOf((await readBytes(file)).toString(), flag, file)
}

function jsonOf(text: string, flag: string, file?: string): unknown {
  try {
    return parseJson(text)
  } catch (cause) {
    const what = file === undefined ? flag : `${flag} "${file}"`
    throw new MayflyError('USAGE', `Cannot read ${what}: it is not JSON`, {
      ...(file === undefined && { hint: `A string needs double quotes: ${flag} '"like this"'` }),
      cause,
    })
  }
}

async function signaturesOf(given: readonly string[]): Promise<Partial<JobRequest>> {
  const { readSignatures } = await import('./signature-file.ts')
  return readSignatures(given)
}

async function jobFilesOf(
  given: string,
  flags: RunFlags,
): Promise<NonNullable<JobRequest['files']>> {
  const { jobFiles } = await import('./job-files.ts')
  const heard = (text: string) => note(flags, text)
  return jobFiles(given, { withSecrets: flags.fileSecrets ?? false, note: heard })
}

/** Checks common names by a pattern, without loading the schema. */
async function sourceNameOf(
  file: string,
  files: NonNullable<JobRequest['files']>,
): Promise<Pick<JobRequest, 'name'>> {
  const name = path.basename(file)
  if (files.length === 0 && PLAIN_NAME.test(name)) return { name }
  const { nameOfSource } = await import('./source-name.ts')
  return nameOfSource(file, files)
}

const PLAIN_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}$/
