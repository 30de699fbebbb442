import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdtempDisposableSync,
  readFileSync,
  readdirSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { until } from '../../tests/conformance/stand.ts'
import { isAlive } from './proc.ts'

const skip = process.platform !== 'linux' && 'it needs Linux'
const here = (name: string) =>
  JSON.stringify(pathToFileURL(path.join(import.meta.dirname, name)).href)
const compiles = `
import { openCProgram } from ${here('../jail/c-program.ts')}
import { endCompilers } from ${here('compiler.ts')}
const [file, folder] = process.argv.slice(1)
process.on('SIGTERM', endCompilers)
const found = await openCProgram({ name: 'made', sources: [file], folder })
console.log(found.missing, (await openCProgram({ name: 'made', sources: [file], folder })).missing)
`

/** A process that compiles by a compiler which never ends, and has started another process that does not either. */
async function compiling(folder: string) {
  const [made, source, pids] = ['cache', 'made.c', 'pids'].map((name) => path.join(folder, name))
  writeFileSync(source!, 'int main(void) { return 0; }')
  const endless = `#!/bin/sh\nsleep 600 &\necho $$ $! > ${pids}.new\nmv ${pids}.new ${pids}\nwait\n`
  writeFileSync(path.join(folder, 'cc'), endless, { mode: 0o755 })
  const flags = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', compiles]
  const child = spawn(process.execPath, [...flags, source!, made!], {
    env: { PATH: `${folder}:/usr/sbin:/usr/bin:/sbin:/bin` },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(child, 'exit')
  await until(() => existsSync(pids!), 'a compiler')
  const [cc, other] = readFileSync(pids!, 'utf8').split(' ').map(Number)
  return { child, ended, made: made!, cc: cc!, other: other! }
}

test(
  'A process that is to end does not wait for its compilers, and leaves none and no file',
  { skip },
  async () => {
    using folder = mkdtempDisposableSync(path.join(tmpdir(), 'mayfly-compilers-'))
    const { child, ended, made, cc, other } = await compiling(folder.path)
    let said = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text))
    child.kill('SIGTERM')
    assert.deepEqual(await ended, [0, null])
    assert.equal(said, 'the C compiler refused it: it failed (SIGKILL) this process ends\n')
    await until(() => !isAlive(cc) && !isAlive(other), 'the end of the compilers')
    assert.deepEqual(readdirSync(made), [])
  },
)

test('A process that is killed takes its compiler along', { skip }, async () => {
  using folder = mkdtempDisposableSync(path.join(tmpdir(), 'mayfly-compilers-'))
  const { child, ended, cc, other } = await compiling(folder.path)
  child.kill('SIGKILL')
  await ended
  await until(() => !isAlive(cc), 'the end of the compiler')
  process.kill(other, 'SIGKILL')
})
