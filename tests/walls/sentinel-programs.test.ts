import assert from 'node:assert/strict'
import { suite } from 'node:test'
import { callClasses } from '../../src/contract/calls.ts'
import { findJailFacts } from '../../src/jail/facts.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { until } from '../conformance/stand.ts'
import { noCompiler } from '../fixtures/c-compiler.ts'
import { test } from '../fixtures/drawn.ts'
import { openWhole } from './whole-wall.ts'

/**
 * Programs that are interrupted all the time, by children that end, in walls whose sentinel is asked about every class
 * of calls: a call that waits for an answer fails for no reason but the one that a phase gives. Not handled: a signal between
 * the call and the sentinel's receipt of it, whose handler does not restart calls, is EINTR.
 */
const skip = !findJailFacts().namespaces ? 'namespaces are forbidden here' : noCompiler
const times = process.env['MAYFLY_LONG'] ? 2000 : 200
/** Generous: a busy machine answers some 100,000 calls slowly. */
const deadline = 600_000

/** The same number of pipelines, each with opened files, by a shell that gets SIGCHLD for each child. */
const pipelines = `trap : CHLD
i=0
done=0
while [ $i -lt ${times} ]; do
  i=$((i+1))
  (: &) 2>/dev/null
  got=$(printf 'b\\na\\n' | cat | sort | head -1 < /dev/stdin 2>&1)
  echo "$got" > /work/kept || exit 1
  read -r kept < /work/kept || exit 2
  [ "$got" = a ] && [ "$kept" = a ] && done=$((done+1))
done
echo "done $done"`

const inPython = `
import os, signal, socket, subprocess, sys, threading
heard = 0
def hear(number, frame):
    global heard
    heard += 1
signal.signal(signal.SIGCHLD, hear)
signal.siginterrupt(signal.SIGCHLD, True)
def tried(call, *arguments):
    # Until the sentinel has received a call the kernel interrupts it, and Python tries no rename or socket again.
    global interrupted
    while True:
        try: return call(*arguments)
        except InterruptedError: interrupted += 1
done = interrupted = 0
for n in range(${times}):
    beside = subprocess.Popen(['/bin/true'])
    got = subprocess.run(['/bin/echo', str(n)], stdout=subprocess.PIPE, check=True).stdout
    with open('/work/kept', 'wb') as file: file.write(got)
    with open('/work/kept', 'rb') as file: got = file.read()
    tried(os.rename, '/work/kept', '/work/moved')
    tried(socket.socket).close()
    if int(got) == n and beside.wait() == 0: done += 1
print('heard', heard > ${times})
print('done', done)
print('interrupted', interrupted)
`
/** Share of renames and sockets that may fail as interrupted, which none did in most runs. */
const INTERRUPTED_MAX = 0.01

const inNode = `
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
let done = 0
for (let n = 0; n < ${times / 2}; n++) {
  const all = Array.from({ length: 2 }, () => spawn('/bin/echo', [String(n)]))
  const said = all.map(async (one) => {
    let text = ''
    one.stdout.on('data', (chunk) => (text += chunk))
    const [code] = await once(one, 'close')
    return code === 0 && Number(text) === n
  })
  writeFileSync('/work/kept', String(n))
  renameSync('/work/kept', '/work/moved')
  const isKept = Number(readFileSync('/work/moved', 'utf8')) === n
  for (const isSo of await Promise.all(said)) if (isSo && isKept) done++
}
console.log('done', done)
`

/** The shell itself makes all calls: it starts no other program. */
const inShell = (shell: string) => `
import subprocess
ran = subprocess.run(['${shell}', '-c', ${JSON.stringify(pipelines)}], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
print(ran.stdout.decode(errors='replace')[-2000:])
`

const programs = [
  ['dash', 'python', inShell('/bin/dash'), findProgram('dash')],
  ['bash', 'python', inShell('/bin/bash'), findProgram('bash')],
  ['Python', 'python', inPython, true],
  ['Node', 'node', inNode, true],
] as const

suite('A program with every system call under seccomp notify', { skip, concurrency: 1 }, () => {
  for (const [name, language, code, isThere] of programs)
    test(
      `completes ${times} child processes, interrupted by SIGCHLD: ${name}`,
      { skip: !isThere },
      async () => {
        await using whole = await openWhole()
        const wall = await whole.start(language)
        assert.ok(wall.started.wall.layers.includes('sentinel'))
        await wall.claim({ memory: 256 * 2 ** 20, processes: 64, deadline })
        wall.run(code)
        await wall.end()
        const said = `${wall.said.stdout}${wall.said.stderr}`
        assert.match(said, new RegExp(`^done ${times}$`, 'm'))
        if (name !== 'Python') return
        assert.match(said, /^heard True$/m)
        const interrupted = Number(/^interrupted (\d+)$/m.exec(said)?.[1])
        assert.ok(interrupted <= 2 * times * INTERRUPTED_MAX, said)
      },
    )

  test('continues to read and write once it may start no more threads: Node', async () => {
    const code = `
import { spawnSync } from 'node:child_process'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { once } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'

const before = spawnSync('/bin/true').status
const [code] = await once(new Worker('1', { eval: true }), 'exit')
console.log('ready', before, code)
let n = 0
while (n < 500 && !spawnSync('/bin/true').error) n += await setTimeout(20, 1)
console.log('programs', n < 500 ? 'refused' : 'started')
await writeFile('/work/kept', 'kept')
await rename('/work/kept', '/work/moved')
console.log('read', await readFile('/work/moved', 'utf8'))
try { new Worker('1', { eval: true }).on('error', (error) => console.log('refused', error.code)) }
catch (error) { console.log('refused', error.code) }
`
    await using whole = await openWhole()
    const wall = await whole.start('node')
    await wall.claim({ memory: 256 * 2 ** 20, processes: 64 })
    wall.run(code)
    await until(() => wall.said.stdout.includes('ready'), 'the guest')
    const allow = callClasses.filter((name) => name !== 'process')
    await whole.warden.calls(wall.id, [{ afterMs: 0, allow }])
    const { exit } = await wall.end()
    assert.deepEqual([exit.exitCode, exit.signal], [0, null])
    assert.match(wall.said.stdout, /^ready 0 0\nprograms refused$/m)
    assert.match(wall.said.stdout, /^read kept$/m)
    assert.match(wall.said.stdout, /^refused ERR_WORKER_INIT_FAILED$/m)
  })
})
