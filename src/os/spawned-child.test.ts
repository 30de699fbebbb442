import assert from 'node:assert/strict'
import { once, type EventEmitter } from 'node:events'
import { closeSync, mkdtempSync, openSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { keepOverExec } from './libc.js'
import { spawnChild, type ChildStdio, type SpawnedChild } from './spawned-child.ts'

const skip = process.platform !== 'linux' && 'walls are started on Linux'
const descriptors = () => readdirSync('/proc/self/fd').length
const turnsMax = 500

suite('Children without a fork of this process', { skip }, () => {
  test('A signal that the kernel refuses is no error', async (t) => {
    const child = spawnChild('/bin/sh', ['-c', 'exec sleep 60'], { stdio: ['ignore'] })
    const refused = t.mock.method(process, 'kill', () => {
      throw Object.assign(new Error('not permitted'), { code: 'EPERM' })
    })
    assert.equal(child.kill('SIGKILL'), false)
    refused.mock.restore()
    const ended = once(child as unknown as EventEmitter, 'exit')
    assert.equal(child.kill('SIGKILL'), true)
    assert.deepEqual(await ended, [null, 'SIGKILL'])
  })

  test('A child inherits only the descriptors that it is given', async () => {
    process.env['SPAWNED_CHILD_SECRET'] = 'seen'
    const file = openSync('/proc/self/status', 'r')
    const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } }
    // Before glibc 2.34 a child inherits it.
    if (Number(header.glibcVersionRuntime?.split('.')[1]) >= 34) keepOverExec(file)
    const [status, open, rest] = (
      await said(
        'cat /proc/self/status; echo ---; ls /proc/$$/fd; echo ---; pwd; env; cut -d" " -f1,6 /proc/$$/stat',
        ['ignore', 'pipe', 'ignore', 'ignore', 'pipe'],
      )
    ).split('---\n')
    delete process.env['SPAWNED_CHILD_SECRET']
    closeSync(file)
    // Node ignores SIGPIPE, and glibc would leave its own signals ignored.
    assert.match(status!, /^SigBlk:\t0{16}$/m)
    assert.match(status!, /^SigIgn:\t0{16}$/m)
    assert.deepEqual(open!.trim().split('\n'), ['0', '1', '2', '4'])
    const [folder, ...others] = rest!.trim().split('\n')
    assert.equal(folder, '/')
    const [pid, session] = others.at(-1)!.split(' ')
    assert.equal(pid, session)
    assert.deepEqual(
      others.slice(0, -1).filter((line) => !/^(PWD|SHLVL|_)=/.test(line)),
      [],
    )
  })

  test('Descriptors with low numbers arrive in any order', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'mayfly-spawned-'))
    const names = ['a', 'b', 'c', 'd']
    for (const name of names) writeFileSync(join(folder, name), name)
    const files = names.map((name) => openSync(join(folder, name), 'r'))
    const stdio: ChildStdio[] = ['ignore', 'pipe', 'ignore']
    // Each at the number that another has here, as far as those follow each other.
    for (let to = 3; to <= Math.max(...files) + 1; to++) stdio.push(files[to % files.length]!)
    const asked = stdio.map((_, at) => at).slice(3)
    const script = asked.map((at) => `cat /proc/self/fd/${at}`).join('; ')
    const wanted = asked.map((at) => names[at % files.length]).join('')
    assert.equal(await said(script, stdio), wanted)
    for (const fd of files) closeSync(fd)
    rmSync(folder, { recursive: true })
  })

  test('Streams are bidirectional, and each end of a child is reported with its code or signal', async () => {
    const echo = start('cat <&4 >&4; exit 7', ['ignore', 'ignore', 'ignore', 'ignore', 'pipe'])
    const echoed = endOf(echo)
    const stream = echo.stdio[4] as Socket
    stream.end('a word')
    assert.equal(await text(stream), 'a word')
    assert.deepEqual(await echoed, [7, null])
    assert.deepEqual([echo.exitCode, echo.signalCode, echo.kill('SIGKILL')], [7, null, false])
    const killed = start('kill -TERM $$')
    assert.deepEqual(await endOf(killed), [null, 'SIGTERM'])
    const sleeps = start('exec sleep 100')
    assert.equal(sleeps.kill('SIGKILL'), true)
    assert.deepEqual(await endOf(sleeps), [null, 'SIGKILL'])
  })

  test('All of many children that end at once are reported', async () => {
    const children = Array.from({ length: 40 }, (_, code) => start(`exit ${code}`))
    const ends = await Promise.all(children.map(endOf))
    assert.deepEqual(
      ends,
      children.map((_, code) => [code, null]),
    )
  })

  test('A missing program throws, and leaks no descriptor', () => {
    const before = descriptors()
    assert.throws(
      () => spawnChild('/nowhere/at/all', [], { stdio: ['ignore', 'pipe', 'pipe', 'pipe'] }),
      { code: 'ENOENT' },
    )
    assert.equal(descriptors(), before)
  })

  test('Streams without a reader are closed once the child has ended', async () => {
    const before = descriptors()
    const child = start('echo much; echo more >&4', ['ignore', 'pipe', 'pipe', 'ignore', 'pipe'])
    await endOf(child)
    for (let turns = 0; turns < turnsMax && descriptors() > before; turns++) await sleep(1)
    assert.equal(descriptors(), before)
  })
})

function start(script: string, stdio: readonly ChildStdio[] = ['ignore', 'ignore', 'ignore']) {
  return spawnChild('/bin/sh', ['-c', script], { stdio })
}

async function said(script: string, stdio: readonly ChildStdio[]): Promise<string> {
  const child = start(script, stdio)
  const ended = endOf(child)
  const all = await text(child.stdio[1] as Socket)
  await ended
  return all
}

function endOf(child: SpawnedChild): Promise<readonly [number | null, string | null]> {
  const { promise, resolve } = Promise.withResolvers<readonly [number | null, string | null]>()
  child.once('exit', (code, signal) => resolve([code, signal]))
  return promise
}
