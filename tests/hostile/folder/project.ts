import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openCProgram } from '../../../src/jail/c-program.ts'
import { noCompiler } from '../../fixtures/c-compiler.ts'

/** A typical project folder of an agent, with files that it must not change or read. */
export const secret = 'SECRET-OF-THE-FOLDER'

/** Folder walls need the kernel's namespaces and a compiler. */
export const noFolderWall: string | false =
  process.platform !== 'linux' ? 'walls of folders need Linux' : noCompiler

/** Program of a C file beside this one, copied to `to`. */
export async function makeProgram(name: 'attacks' | 'memory' | 'pty', to: string): Promise<void> {
  const source = fileURLToPath(new URL(`${name}.c`, import.meta.url))
  const made = await openCProgram({ name: `test-${name}`, sources: [source] })
  if ('missing' in made) throw new Error(made.missing)
  copyFileSync(made.file, to)
  chmodSync(to, 0o755)
}

/** Files of a repository, by hand: git itself may be missing. */
export function makeRepository(folder: string, config = ''): void {
  for (const part of ['hooks', 'objects', 'refs/heads', 'info'])
    mkdirSync(join(folder, part), { recursive: true })
  writeFileSync(join(folder, 'HEAD'), 'ref: refs/heads/main\n')
  writeFileSync(join(folder, 'config'), `[core]\n\trepositoryformatversion = 0\n${config}`)
}

const hooksPaths = ['githooks', 'unmade/hooks', 'led/hooks']
  .map((path) => `\thooksPath = ${path}\n`)
  .join('')

export function makeProject(folder: string): void {
  const at = (name: string) => join(folder, name)
  makeRepository(at('.git'), `${hooksPaths}[include]\n\tpath = ../included.cfg\n`)
  writeFileSync(at('.git/hooks/existing'), 'existing\n')
  writeFileSync(at('.git/index'), '')
  writeFileSync(at('.git/config.lock'), '[core]\n')
  mkdirSync(at('.git/worktrees/w'), { recursive: true })
  mkdirSync(at('.git/modules/m/hooks'), { recursive: true })
  makeRepository(at('sub/.git'))
  makeRepository(at('bare.git'))
  for (const name of ['.hg/store', '.jj/repo', 'sub/.sl']) mkdirSync(at(name), { recursive: true })
  for (const name of ['.hg/hgrc', '.jj/repo/config.toml']) writeFileSync(at(name), 'existing\n')
  for (const name of ['new', 'closed', 'above/below', 'certs', 'late', 'githooks', 'way/hooks'])
    mkdirSync(at(name), { recursive: true })
  writeFileSync(at('included.cfg'), '[a]\n')
  writeFileSync(at('githooks/pre-push'), 'existing\n')
  writeFileSync(at('plain'), 'plain\n')
  for (const name of secretFiles) writeFileSync(at(name), `${secret}\n`)
  symlinkSync('.git/config', at('was-link'))
  linkSync(at('.git/config'), at('other-name'))
  symlinkSync('way', at('led'))
  symlinkSync('.env', at('env-link'))
  linkSync(at('.env'), at('env-name'))
}

export const secretFiles = [
  '.env',
  '.env.local',
  'sub/.env',
  'id_rsa',
  'sub/server.key',
  'certs/server.pem',
].concat('late/.env.production', 'closed/secret')

/** Names that attacks expect to be closed. */
export const closedNames = ['closed', 'above/below', 'later/closed']

/** Files of `home` that attacks look for. */
export const homeFiles = ['.ssh/id_ed25519', '.aws/credentials', 'notes.txt', '.bashrc']

export function makeHome(home: string): void {
  for (const name of homeFiles) {
    const file = join(home, name)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, `${secret}\n`)
  }
}

/** Targets of attacks outside of a wall: sockets and folders, as environment variables, until `close`. */
export async function openTargets(folder: string, state: string) {
  const abstract = `mayfly-test-${randomUUID()}`
  const servers: Server[] = []
  for (const at of [join(folder, 'agent.sock'), `\0${abstract}`, 0])
    servers.push(await listenOn(at))
  const variables = {
    STATE_PATH: state,
    ABSTRACT_NAME: abstract,
    HOST_PORT: `${(servers[2]!.address() as AddressInfo).port}`,
    HOST_PID: `${process.pid}`,
  }
  return {
    variables,
    close() {
      for (const server of servers) server.close()
    },
  }
}

async function listenOn(at: string | number): Promise<Server> {
  const server = createServer((socket) => socket.destroy())
  server.listen(at)
  await once(server, 'listening')
  return server
}

/** Protected files as they are, to compare. */
export function protectedState(folder: string): string {
  const walk = (place: string): readonly string[] =>
    readdirSync(join(folder, place), { withFileTypes: true }).flatMap((entry) => {
      const path = join(place, entry.name)
      if (entry.isDirectory()) return [`${path}/`, ...walk(path)]
      const content = entry.isSymbolicLink()
        ? readlinkSync(join(folder, path))
        : readFileSync(join(folder, path), 'utf8')
      return [`${path}: ${content}`]
    })
  const own = readdirSync(folder).filter((name) => isProtected.test(name))
  // Attacks move `sub`, which is permitted: its repository and its secrets stay closed.
  const sub = existsSync(join(folder, 'sub/.git')) ? 'sub' : 'sub2'
  const repositories = ['.git/hooks', '.hg', '.jj', 'githooks', 'bare.git/hooks', `${sub}/.git`]
  const secrets = secretFiles.map((name) => name.replace(/^sub/, sub))
  const files = [
    '.git/config',
    '.git/config.lock',
    'included.cfg',
    'bare.git/config',
    'other-name',
    'env-name',
    '.env',
  ]
  const lines = [
    ...own,
    ...repositories.flatMap(walk),
    ...[...files, ...secrets].map((name) => `${name}: ${readFileSync(join(folder, name), 'utf8')}`),
    ...['.git/commondir', '.git/config.worktree'].filter((name) =>
      names(join(folder, '.git')).includes(name),
    ),
    ...names(join(folder, 'new')),
  ]
  return lines.join('\n').replaceAll('sub2/', 'sub/')
}

const isProtected =
  /^\.(?:git|bashrc|zshrc|profile|gitconfig|gitmodules|vscode|idea|envrc|mcp\.json|claude|codex|cursor|gemini)$|^mayfly\.toml$/i
const names = (folder: string) => readdirSync(folder)

export function hasProgram(name: string): boolean {
  return spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0
}
