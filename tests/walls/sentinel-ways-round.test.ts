import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'node:test'
import { callClasses, type CallClass } from '../../src/contract/calls.ts'
import { findJailFacts } from '../../src/jail/facts.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { childrenOf, processFacts } from '../../src/os/proc.ts'
import { until } from '../conformance/stand.ts'
import { noCompiler } from '../fixtures/c-compiler.ts'
import { test } from '../fixtures/drawn.ts'
import { openWhole } from './whole-wall.ts'

/** Programs that make their sentinel wait, and calls that have the effect of a closed one. */
const ways = ['embedded', ...(findProgram('bwrap') ? (['bubblewrap'] as const) : [])] as const
const skip = !findJailFacts().namespaces ? 'namespaces are forbidden here' : noCompiler
const without = (...closed: CallClass[]) => callClasses.filter((name) => !closed.includes(name))

/** Connects to a full backlog, which blocks forever, and clears O_NONBLOCK again and again. */
const toggles = `
import fcntl, os, socket, time
listener = socket.socket(socket.AF_UNIX); listener.bind('\\0full'); listener.listen(0)
first = socket.socket(socket.AF_UNIX); first.connect('\\0full')
waits = socket.socket(socket.AF_UNIX)
print('ready', flush=True)
time.sleep(0.5)
for _ in range(2):
    if os.fork() == 0:
        while True: fcntl.fcntl(waits.fileno(), fcntl.F_SETFL, 0)
print('begun', flush=True)
waits.connect('\\0full')`

/** Processes that wait for a descriptor from the sentinel run at SCHED_IDLE, so they hardly ever run. */
const starves = `
import os, time
print('ready', flush=True)
time.sleep(0.5)
for _ in range(4):
    if os.fork() == 0:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        while True: os.close(os.open('/work/job.py', os.O_RDONLY))
time.sleep(0.2)
for _ in range(40):
    if os.fork() == 0:
        while True: pass
print('begun', flush=True)
time.sleep(60)`

const round = `
import errno, os, socket, time
def attempt(name, act):
    try:
        act()
        print(name + '=ok', flush=True)
    except OSError as error: print(name + '=' + errno.errorcode[error.errno], flush=True)
MSG_FASTOPEN, TCP_FASTOPEN_CONNECT = 0x20000000, 30
place = ('127.0.0.1', 3128)
sockets = [socket.socket() for _ in range(6)]
near = [socket.socket(socket.AF_UNIX) for _ in range(2)]
kept = open('/work/kept', 'w+')
def later():
    sockets[0].setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
    sockets[0].connect(place)
attempt('later', later)
sockets[1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
sockets[1].setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
print('ready', flush=True)
while True:
    try: open('/work/new', 'w').close()
    except OSError: break
    time.sleep(0.01)
attempt('written', lambda: sockets[0].send(b'x'))
attempt('sendto', lambda: sockets[2].sendto(b'x', MSG_FASTOPEN, place))
attempt('sendmsg', lambda: sockets[3].sendmsg([b'x'], [], MSG_FASTOPEN, place))
attempt('times', lambda: os.utime('/work/kept', (1, 1)))
attempt('open times', lambda: os.utime(kept.fileno(), (1, 1)))
attempt('owner', lambda: os.chown('/work/kept', os.getuid(), os.getgid()))
attempt('named', lambda: near[0].bind('/work/named'))
attempt('nameless', lambda: near[1].bind('\\0nameless'))
attempt('numbered', lambda: sockets[4].bind(('127.0.0.1', 0)))
attempt('taken', lambda: sockets[5].bind(sockets[4].getsockname()))
print(os.listdir('/work'), os.stat('/work/kept').st_mtime > 1, sockets[4].getsockname()[0])
print('over', flush=True)`

/** An executable but unreadable (undumpable) program in a system call that blocks. */
const unreadable = `
import os, shutil, subprocess, sys, time
shutil.copy(os.path.realpath('/usr/bin/python3'), '/work/own')
os.chmod('/work/own', 0o111)
os.mkfifo('/work/pipe')
waits = """
import os
print('waits', flush=True)
try: os.open('/work/pipe', os.O_WRONLY); print('opened', flush=True)
except OSError as error: print('refused', error.errno, flush=True)
"""
started = subprocess.Popen(['/work/own', '-c', waits], env={'PYTHONHOME': '/usr'})
while True:
    try: open('/work/new', 'w').close()
    except OSError: break
    time.sleep(0.01)
held = os.open('/work/pipe', os.O_RDONLY | os.O_NONBLOCK)
print('over', started.wait(10), flush=True)`

/** In C, because the caller must be cheaper than the answer. */
const asks = `
import os, subprocess
source = b'''
#include <fcntl.h>
#include <unistd.h>
int main(void) { fork(); for (;;) close(open("/work/job.py", O_RDONLY)); }
'''
subprocess.run(['cc', '-O', '-x', 'c', '-', '-o', '/work/asks'], input=source, check=True)
print('ready', flush=True)
os.execv('/work/asks', ['asks'])`

suite('An attempt to bypass a sentinel', { skip, concurrency: 1 }, () => {
  for (const jailKind of ways)
    for (const [name, code] of Object.entries({ toggles, starves }))
      test(`does not delay a phase change by making the sentinel wait: ${name}, ${jailKind}`, async () => {
        await using whole = await openWhole()
        const wall = await whole.start('python', jailKind)
        await wall.claim({ memory: 2 ** 30, processes: 100 })
        wall.run(code)
        await until(() => wall.said.stdout.includes('ready'), 'it to begin')
        const closed = without('network', 'write')
        await whole.warden.calls(wall.id, [{ afterMs: 0, allow: closed }])
        await until(() => wall.said.stdout.includes('begun'), 'it to be in the way')
        // Each waits for the report of the sentinel, for at most two seconds.
        for (let times = 0; times < 5; times++)
          await whole.warden.calls(wall.id, [{ afterMs: 0, allow: closed }])
        await whole.warden.calls(wall.id, [{ afterMs: 200, allow: [], kills: true }])
        assert.equal((await wall.end()).how, 'killed')
      })

  for (const jailKind of ways)
    test(`is refused with its class of calls: connecting by sendto, binding socket paths, setting file times, ${jailKind}`, async () => {
      await using whole = await openWhole()
      const wall = await whole.start('python', jailKind)
      await wall.claim({ egress: true })
      wall.run(round)
      await until(() => wall.said.stdout.includes('ready'), 'it to begin')
      await whole.warden.calls(wall.id, [{ afterMs: 0, allow: without('network', 'write') }])
      await until(() => wall.said.stdout.includes('over'), 'a round')
      const rows = wall.said.stdout.split('\n').slice(0, -2)
      assert.deepEqual(rows, [
        'later=EPERM',
        'ready',
        'written=EPIPE',
        'sendto=EPERM',
        'sendmsg=EPERM',
        'times=EROFS',
        'open times=EROFS',
        'owner=EROFS',
        'named=EROFS',
        'nameless=ok',
        'numbered=ok',
        'taken=EADDRINUSE',
        rows.at(-1),
      ])
      assert.match(rows.at(-1)!, /^\[(?!.*named).*\] True 127\.0\.0\.1$/)
    })

  for (const jailKind of ways)
    test(`fails by an undumpable program with a call pending since before its class was closed, ${jailKind}`, async () => {
      await using whole = await openWhole()
      const wall = await whole.start('python', jailKind)
      await wall.claim()
      wall.run(unreadable)
      await until(() => wall.said.stdout.includes('waits'), 'it to wait')
      // Time from its output to the blocking call.
      await sleep(200)
      await whole.warden.calls(wall.id, [{ afterMs: 0, allow: without('write') }])
      await until(() => wall.said.stdout.includes('over'), 'the end')
      assert.match(wall.said.stdout, /^waits\n(?:refused 30\nover 0|over -9)\n$/)
    })

  test('does not keep the sentinel busy forever by endless requests', async () => {
    await using whole = await openWhole()
    const wall = await whole.start('python')
    await wall.claim({ memory: 2 ** 29, cpu: 2 })
    wall.run(asks)
    await until(() => wall.said.stdout.includes('ready'), 'it to begin')
    await whole.warden.calls(wall.id, [{ afterMs: 0, allow: without('network', 'write') }])
    const sentinel = childrenOf(process.pid).find((pid) =>
      commandOf(pid).startsWith('mayfly-sentinel'),
    )!
    const [before, began] = [cpuMsOf(sentinel), performance.now()]
    await sleep(6000)
    const [used, took] = [cpuMsOf(sentinel) - before, performance.now() - began]
    // A burst of half a second, a quarter of a core, and some time for phases.
    assert.ok(used < 500 + took * 0.35, `${used} of ${took} ms`)
    const again = await whole.warden.calls(wall.id, [{ afterMs: 0, allow: [] }])
    assert.deepEqual(again.allowed, [])
  })
})

const cpuMsOf = (pid: number) => processFacts(pid)!.cpuTicks * 10
const commandOf = (pid: number) => readFileSync(`/proc/${pid}/cmdline`, 'latin1')
