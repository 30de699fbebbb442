import { readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { MayflyError } from '../contract/error.ts'
import type { JobFile, JobRequest, Language } from '../contract/job.ts'
import { languageOfName } from '../contract/language-words.ts'
import { beginMark, type InspectReport } from './inspection.ts'
import { jobFiles } from './job-files.ts'
import { asOwner } from '../lib/owner-files.ts'
import { whyUnreadable } from '../lib/why-unreadable.ts'
import { readBytes, readProgram } from './source.ts'

/** Code to inspect, as a job, with the sources to analyse; an archive is opened behind a wall alone. */
export interface InspectTarget {
  readonly kind: InspectReport['kind']
  /** Absent where nothing says how to run it. */
  readonly request?: JobRequest
  /** Job that leaves the files of an archive as its artifacts. */
  readonly unpack?: JobRequest
  readonly sources: readonly TargetSource[]
}

export interface TargetSource {
  readonly file: string
  readonly code: string
  readonly language: Language | undefined
}

const archive = /\.(tgz|tar\.gz|tar|tar\.bz2|tar\.xz|whl|zip)$/i
const zipped = /\.(whl|zip)$/i
const sourcesMax = 500
/** Files that start a folder without a manifest, the first that is there. */
const starts = [
  'install.sh setup.sh run.sh main.sh index.sh',
  'main.py __main__.py app.py run.py',
  'index.js main.js index.mjs main.mjs index.cjs index.ts main.ts',
].flatMap((line) => line.split(' '))

export async function readInspectTarget(
  target: string,
  language: Language | undefined,
): Promise<InspectTarget> {
  const facts = attemptStat(target)
  if (facts.isDirectory()) return await folderTarget(target)
  if (archive.test(target) && language === undefined) return await archiveTarget(target)
  const { code, language: own } = await readProgram(target, language)
  const name = path.basename(target)
  const given = own === undefined ? {} : { language: own }
  return {
    kind: 'program',
    request: { code, name, ...given },
    sources: [{ file: name, code, language: own }],
  }
}

function attemptStat(target: string) {
  try {
    return asOwner(target, (at) => statSync(at))
  } catch (cause) {
    const { because, ...hint } = whyUnreadable(target, cause)
    throw new MayflyError('USAGE', `Cannot inspect "${target}": ${because}`, { ...hint, cause })
  }
}

async function folderTarget(target: string): Promise<InspectTarget> {
  const files = await jobFiles(`${target}=package`, { withSecrets: true })
  const names = new Set(files.map((file) => file.path))
  const sources = sourcesOf(files)
  if (names.has('package/package.json'))
    return { kind: 'npm-package', request: driver('npm', files), sources }
  if (['pyproject.toml', 'setup.py', 'setup.cfg'].some((name) => names.has(`package/${name}`)))
    return { kind: 'python-package', request: driver('python', files), sources }
  const start = starts.find((name) => names.has(`package/${name}`))
  const file = files.find((one) => one.path === `package/${start}`)
  if (!start || !file) return { kind: 'files', sources }
  const language = languageOf(start)
  const rest = files
    .filter((one) => one !== file)
    .map((one) => ({ ...one, path: one.path.replace(/^package\//, '') }))
  return {
    kind: 'files',
    request: { code: textOf(file), name: start, files: rest, ...(language && { language }) },
    sources,
  }
}

async function archiveTarget(target: string): Promise<InspectTarget> {
  const name = path.basename(target)
  const content = (await readBytes(target)).toString('base64')
  const files: JobFile[] = [
    { path: name, content, encoding: 'base64' },
    { path: beginMark.slice(1), content: '', encoding: 'utf8' },
  ]
  const isZip = zipped.test(name)
  const code = isZip
    ? 'mkdir package && python3 -m zipfile -e "$1" package'
    : 'mkdir package && tar -xf "$1" -C package --no-same-owner'
  const unpack: JobRequest = {
    code,
    language: 'sh',
    files,
    args: [name],
    limits: { artifacts: '64MB', disk: '512MB', memory: '512MB' },
    artifacts: 'inline',
  }
  return {
    kind: isZip ? 'python-package' : 'npm-package',
    unpack,
    request: driver(isZip ? 'python' : 'npm', files, [name]),
    sources: [],
  }
}

/** Target of an archive whose files are known. */
export function unpackedTarget(target: InspectTarget, files: readonly JobFile[]): InspectTarget {
  const isPython = files.some((file) =>
    /(^|\/)(setup\.py|PKG-INFO|METADATA|pyproject\.toml)$/.test(file.path),
  )
  const isNpm = files.some((file) => /^package\/([^/]+\/)?package\.json$/.test(file.path))
  const kind = isNpm ? 'npm-package' : isPython ? 'python-package' : 'files'
  const { files: brought = [], args = [] } = target.request ?? {}
  const sources = sourcesOf(files)
  if (kind === 'files') return { kind, sources }
  return { kind, sources, request: driver(isNpm ? 'npm' : 'python', brought, args) }
}

const guest = (name: string) =>
  fileURLToPath(new URL(`../../guest/inspect/${name}`, import.meta.url))

/** Job that installs and imports a package, as its users would. */
function driver(
  kind: 'npm' | 'python',
  files: JobRequest['files'],
  args: readonly string[] = [],
): JobRequest {
  const isNpm = kind === 'npm'
  const code = readFileSync(guest(isNpm ? 'npm.js' : 'package.py'), 'utf8')
  return {
    code,
    name: isNpm ? 'inspect-npm.cjs' : 'inspect-package.py',
    language: isNpm ? 'node' : 'python',
    files,
    args: [...args],
  }
}

function sourcesOf(files: readonly JobFile[]): TargetSource[] {
  return files
    .filter((file) => file.type !== 'folder' && file.type !== 'link' && isSource(file.path))
    .slice(0, sourcesMax)
    .map((file) => ({
      file: file.path.replace(/^(package\/){1,2}/, ''),
      code: textOf(file),
      language: languageOf(file.path),
    }))
}

function isSource(name: string): boolean {
  return (
    languageOfName(name).kind === 'script' ||
    ['python', 'sh', 'bash'].includes(languageOf(name) ?? '')
  )
}

function languageOf(name: string): Language | undefined {
  const named = languageOfName(name)
  return named.kind === 'known' ? named.language : undefined
}

function textOf({ content, encoding }: JobFile): string {
  return encoding === 'base64' ? Buffer.from(content, 'base64').toString() : content
}
