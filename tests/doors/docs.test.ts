import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  globSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { loadConfig } from '../../src/config/load.ts'
import { drawn } from '../fixtures/drawn.ts'
import { firstLine } from '../fixtures/first-line.ts'

/**
 * Runs what the documents show. A fenced block takes part when its info string says so: `sh run`, `js run` and `ts run`
 * run in a folder that looks like the checkout, in order; with `server` there is also a server at the addresses the
 * document gives. A comment `# → text` (`// → text`) in a block, on a line of its own or at the end of one, promises that
 * the output holds that text. Each `toml` block is loaded as a configuration.
 */
const root = join(import.meta.dirname, '../..')
const entry = 'src/cli/main.ts'
const allDocuments = [
  'README.md',
  'docs/job.md',
  ...globSync('docs/how-to/*.md', { cwd: root }).sort(),
]
const documents = drawn(allDocuments, 'documents', 14)
/** Bound of a block that hangs: some try every wall, on a busy machine. */
const blockMsMax = 180_000
/** Stub of npx for the other blocks: the README's show once that npx finds this program, and npx takes a second. */
const foundByNpx = `npx() {
  if [ "$1" = mayfly ]; then shift; "${process.execPath}" "${join(root, 'bin/mayfly.js')}" "$@"
  else command npx "$@"; fi
}
`
const apiKey = `mfy_${'0123456789abcdef'.repeat(3)}`

interface Block {
  readonly line: number
  readonly language: 'sh' | 'js' | 'ts'
  readonly needsServer: boolean
  readonly code: string
}

suite('Code blocks of documents', () => {
  const text =
    'a\n```sh run\necho 1\n# → 1\necho 2 # → 2\n```\n```sh\nrm x\n```\n```js run\n1\n```\n```sh run server\n2\n```\n```ts\n3\n```\n```ts run\n4\n```\n'

  test('Marked blocks are read with their language and line, others are skipped', () => {
    assert.deepEqual(
      blocksIn(text).map(({ line, language, needsServer }) => [line, language, needsServer]),
      [
        [2, 'sh', false],
        [10, 'js', false],
        [13, 'sh', true],
        [19, 'ts', false],
      ],
    )
  })

  test('Promised output of a block is read', () => {
    assert.deepEqual(promisedBy(blocksIn(text)[0]?.code ?? ''), ['1', '2'])
  })
})

suite('Configurations in the documents', () => {
  let folder = ''
  before(() => void (folder = mkdtempSync(join(tmpdir(), 'mayfly-docs-'))))
  after(() => rmSync(folder, { recursive: true, force: true }))
  const blocks = allDocuments.flatMap(configurationsIn)

  for (const { at, toml } of blocks)
    test(`The configuration at ${at} is accepted without a warning`, () => {
      writeFileSync(join(folder, 'mayfly.toml'), toml)
      const { warnings } = loadConfig({ cwd: folder, env: { HOME: folder }, file: 'mayfly.toml' })
      assert.deepEqual(warnings, [])
    })

  test('At least twenty configurations are shown', () => assert.ok(blocks.length >= 20))
})

for (const document of documents) {
  const skip = !existsSync(join(root, entry)) && `no ${entry} yet`
  suite(`Examples in ${document}`, { skip }, () => {
    const blocks = blocksIn(readFileSync(join(root, document), 'utf8'))
    let folder = ''
    let server: Server | undefined

    before(async () => {
      folder = likeTheCheckout()
      if (blocks.some(({ needsServer }) => needsServer)) server = await startServer(folder)
    })
    after(async () => {
      await server?.stop()
      for (const one of [folder, besideOf(folder)]) rmSync(one, { recursive: true, force: true })
    })

    for (const block of blocks)
      test(`${document}:${block.line}`, async () => {
        const code = block.needsServer ? atAddresses(block.code, server) : block.code
        const isShownOnce = document === 'README.md'
        const printed = await runBlock({ ...block, code }, folder, isShownOnce ? '' : foundByNpx)
        let left = printed
        for (const promised of promisedBy(block.code)) {
          assert.ok(left.includes(promised), `"${promised}" is not left in:\n${printed}`)
          left = left.replace(promised, () => '')
        }
      })
  })
}

function blocksIn(text: string): readonly Block[] {
  const fences = text.matchAll(/^```(sh|js|ts) run( server)?\n(.*?)^```$/gms)
  return [...fences].map(({ 1: language, 2: server, 3: code = '', index }) => ({
    line: text.slice(0, index).split('\n').length,
    language: language as Block['language'],
    needsServer: server !== undefined,
    code,
  }))
}

/** Configurations of a document. A further part of a schedule continues the schedule that was shown before it. */
function configurationsIn(document: string): readonly { at: string; toml: string }[] {
  const text = readFileSync(join(root, document), 'utf8')
  let schedule = ''
  return [...text.matchAll(/^```toml\n(.*?)^```$/gms)].map(({ 1: toml = '', index }) => {
    if (toml.includes('[schedules.default]')) schedule = toml
    const isPart = toml.includes('[schedules.default.') && schedule !== toml
    const line = text.slice(0, index).split('\n').length
    return { at: `${document}:${line}`, toml: isPart ? schedule + toml : toml }
  })
}

function promisedBy(code: string): readonly string[] {
  return [...code.matchAll(/(?:^| )(?:#|\/\/) → (.+)$/gm)].map(([, promised = '']) => promised)
}

/** Folder of symbolic links to the checkout, so that files written by blocks stay out of it. */
function likeTheCheckout(): string {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-docs-'))
  for (const name of readdirSync(root))
    if (name !== '.git') symlinkSync(join(root, name), join(folder, name))
  return folder
}

/** Not below it: Landlock keeps a server from making anything beside its warden's folder. */
function besideOf(folder: string): string {
  return `${folder}.beside`
}

function environment(folder: string): NodeJS.ProcessEnv {
  return {
    ...process.env,
    PATH: `${join(root, 'node_modules/.bin')}${delimiter}${process.env['PATH']}`,
    MAYFLY_STATE: join(besideOf(folder), 'state'),
    MAYFLY_API_KEY: apiKey,
  }
}

function runBlock({ language, code }: Block, folder: string, ahead: string): Promise<string> {
  const file = join(folder, `block.${language}`)
  writeFileSync(file, language === 'sh' ? ahead + code : code)
  const [program, ...args] =
    language === 'sh'
      ? (['bash', '-euo', 'pipefail', file] as const)
      : ([process.execPath, file] as const)
  const options = { cwd: folder, env: environment(folder), timeout: blockMsMax }
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  execFile(program, args, options, (error, stdout, stderr) => {
    const printed = stdout + stderr
    if (error) reject(new Error(`The block ended with ${error.code ?? error.signal}:\n${printed}`))
    else resolve(printed)
  })
  return promise
}

interface Server {
  readonly static: string
  readonly active: string
  stop(): Promise<void>
}

async function startServer(folder: string): Promise<Server> {
  const child = spawn(
    process.execPath,
    [join(root, 'bin/mayfly.js'), 'serve', '--json', '--port', '0'],
    {
      cwd: folder,
      env: environment(folder),
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  const ended = once(child, 'exit')
  const addresses = JSON.parse(await firstLine(child)) as { static: string; active: string }
  const stop = async () => {
    child.kill('SIGTERM')
    await ended
  }
  return { ...addresses, stop }
}

function atAddresses(code: string, server: Server | undefined): string {
  assert.ok(server)
  return code
    .replaceAll('http://127.0.0.1:7420', server.static.replace(/\/$/, ''))
    .replaceAll('http://127.0.0.1:7421', server.active.replace(/\/$/, ''))
}
