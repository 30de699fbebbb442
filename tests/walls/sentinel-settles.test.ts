import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  accessSync,
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { callClasses, type CallClass } from '../../src/contract/calls.ts'
import { findJailFacts } from '../../src/jail/facts.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { processFacts } from '../../src/os/proc.ts'
import { descendantsOf } from '../conformance/remains.ts'
import { until } from '../conformance/stand.ts'
import { noCompiler } from '../fixtures/c-compiler.ts'
import { test } from '../fixtures/drawn.ts'
import { startAlone } from './sentinel-stand.ts'
import { openWhole } from './whole-wall.ts'

/**
 * A call that went on before its class was closed, in a thread that does what it can not to come back from it: either
 * it is brought to its end and the phase holds, or the wall ends. Nothing else is ever said.
 */
const skip = !findJailFacts().namespaces ? 'namespaces are forbidden here' : noCompiler
const ways = ['embedded', ...(findProgram('bwrap') ? (['bubblewrap'] as const) : [])] as const
const freezer = '/sys/fs/cgroup/freezer'
const noFreezer = 'no freezer that holds what it traces is here, or it is not ours'
const without = (...closed: CallClass[]) => callClasses.filter((name) => !closed.includes(name))

/** Each thread blocks in open() of a FIFO without a reader, or in the state that followed one. */
const source = `
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char *what) { if (write(1, what, strlen(what)) < 0) _exit(9); }
static int opens(void) {
  int fd = open("pipe", O_WRONLY);
  say(fd >= 0 ? "opened\\n" : errno == EROFS || errno == EACCES ? "refused\\n" : "failed\\n");
  return fd >= 0 ? 7 : 3;
}
static void *leads_away(void *unused) {
  usleep(50000);
  (void)unused;
  char *argv[] = {"true", NULL}, *none[] = {NULL};
  execve("/dev/shm/work/pipe", argv, none);
  _exit(opens());
}

int main(int argc, char **argv) {
  const char *how = argc > 1 ? argv[1] : "";
  mkfifo("pipe", 0600);
  if (!strcmp(how, "vforked")) {
    close(open("mine", O_WRONLY | O_CREAT, 0600));
    int keeps[2];
    if (pipe(keeps)) return 9;
    say("ready\\n");
    pid_t child = vfork();
    if (child == 0) { char byte; _exit(read(0, &byte, 1) == 1 ? 3 : 9); }
    _exit(opens());
  }
  pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!strcmp(how, "undumpable")) prctl(PR_SET_DUMPABLE, 0);
    if (!strcmp(how, "led")) {
      pthread_t other;
      pthread_create(&other, NULL, leads_away, NULL);
      pthread_exit(NULL);
    }
    _exit(opens());
  }
  usleep(300000);
  if (!strcmp(how, "stopped")) kill(child, SIGSTOP);
  if (!strcmp(how, "traced")) {
    if (ptrace(PTRACE_SEIZE, child, 0, 0) || ptrace(PTRACE_INTERRUPT, child, 0, 0)) return 9;
    waitpid(child, NULL, __WALL);
  }
  usleep(50000);
  say("ready\\n");
  char byte;
  if (read(0, &byte, 1) != 1) return 9;
  kill(child, SIGCONT);
  if (!strcmp(how, "traced")) ptrace(PTRACE_CONT, child, 0, 0);
  int status = 0;
  for (int tries = 0; tries < 300 && waitpid(child, &status, WNOHANG | __WALL) != child; tries++) usleep(10000);
  printf("over %s %d\\n", WIFSIGNALED(status) ? "signal" : "exit", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
  return 0;
}
`

const folder = mkdtempSync(join(tmpdir(), 'mayfly-settles-'))
after(() => rmSync(folder, { recursive: true, force: true }))

function made(): string {
  const file = join(folder, 'waits')
  const { status, stderr } = spawnSync('cc', ['-O1', '-pthread', '-x', 'c', '-', '-o', file], {
    input: source,
  })
  assert.equal(status, 0, stderr.toString())
  return file
}

suite('A class that is closed during a pending call', { skip, concurrency: 1 }, () => {
  const ends = {
    plain: /^refused\nover exit 3$/m,
    stopped: /^refused\nover exit 3$/m,
    led: /^refused\nover exit 3$/m,
    // A process that cannot be inspected (already ptraced) is killed.
    traced: /^over signal 9$/m,
    undumpable: /^(?:refused\nover exit 3|over signal 9)$/m,
    vforked: /^refused$/m,
  }
  for (const [how, end] of Object.entries(ends))
    test(`holds once it is acknowledged, in each state of the thread: ${how}`, async () => {
      await using alone = await startAlone([made(), how])
      await alone.says(/ready/)
      const { allowed } = await alone.sentinel.flip([
        { afterMs: 0, allow: without('write', 'outside', 'exec') },
      ])
      assert.deepEqual(allowed, ['process', 'network'])
      // A thread still blocked in open() would now succeed.
      const pipe = `/proc/${alone.sentinel.entered}/root/dev/shm/work/pipe`
      const held = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK)
      alone.guest.stdin!.write('\n')
      await alone.says(end)
      closeSync(held)
      assert.doesNotMatch(alone.said(), /opened|failed/)
    })

  test(
    'ends the wall if a thread stays in the call, with the reason',
    { skip: !canFreeze() && noFreezer },
    async () => {
      const group = join(freezer, `mayfly-settles-${process.pid}`)
      mkdirSync(group)
      const freeze = (state: string) => writeFileSync(join(group, 'freezer.state'), state)
      try {
        await using alone = await startAlone([made(), 'plain'])
        await alone.says(/ready/)
        const inside = [alone.sentinel.entered!, ...descendantsOf(alone.sentinel.entered!)]
        for (const pid of inside) writeFileSync(join(group, 'tasks'), String(pid))
        // A thread frozen in the kernel does not return from its system call, not even by a signal.
        freeze('FROZEN')
        const asked = performance.now()
        const flipped = alone.sentinel.flip([{ afterMs: 0, allow: without('write', 'outside') }])
        await assert.rejects(flipped, { code: 'UNAVAILABLE', message: /not over 700 ms later/ })
        assert.ok(performance.now() - asked >= 700)
        assert.equal(await alone.sentinel.ended, 8)
        assert.match(alone.sentinel.why!, /not over 700 ms later/)
        freeze('THAWED')
        await until(
          () => inside.every((pid) => 'ZX'.includes(processFacts(pid)?.state ?? 'X')),
          'its end',
        )
        assert.doesNotMatch(alone.said(), /opened|refused/)
      } finally {
        freeze('THAWED')
        await until(() => removed(group), 'the group to be empty')
      }
    },
  )

  test(
    'waits for a call that returns in time, while other calls are answered',
    { skip: !canFreeze() && noFreezer },
    async () => {
      const group = join(freezer, `mayfly-settles-${process.pid}`)
      mkdirSync(group)
      const freeze = (state: string) => writeFileSync(join(group, 'freezer.state'), state)
      try {
        await using alone = await startAlone([made(), 'plain'])
        await alone.says(/ready/)
        const [waits] = descendantsOf(alone.sentinel.entered!)
        writeFileSync(join(group, 'tasks'), String(waits))
        freeze('FROZEN')
        let isHeld = false
        const flipped = alone.sentinel
          .flip([{ afterMs: 0, allow: without('write', 'outside') }])
          .finally(() => (isHeld = true))
        await sleep(150)
        const { allowed } = await alone.sentinel.status()
        assert.deepEqual([allowed, isHeld], [without('write', 'outside'), false])
        freeze('THAWED')
        await flipped
        await alone.says(/^refused$/m)
      } finally {
        freeze('THAWED')
        await until(() => removed(group), 'the group to be empty')
      }
    },
  )

  test('ends its sentinel, and so the wall, if the sentinel is blocked when the phase is due', async () => {
    await using alone = await startAlone(['/bin/sleep', '100'])
    const { sentinel } = alone
    await sentinel.flip([{ afterMs: 100, allow: without('write') }])
    await sentinel.flip([{ afterMs: 60_000, allow: [] }])
    sentinel.child.kill('SIGSTOP')
    assert.equal(await sentinel.ended, null)
    assert.equal(sentinel.why, 'its sentinel was ended by SIGKILL')
  })

  test('does not end a sentinel that answers in time', async () => {
    await using alone = await startAlone(['/bin/sleep', '100'])
    const { sentinel } = alone
    await sentinel.flip([{ afterMs: 0, allow: without('write') }])
    await sentinel.flip([{ afterMs: 100, allow: without('write', 'exec') }])
    await sleep(3500)
    assert.deepEqual((await sentinel.status()).allowed, without('write', 'exec'))
  })

  for (const jailKind of ways)
    test(`is enforced, or ends the wall, if threads wait for a thread that hardly ever runs, ${jailKind}`, async () => {
      await using whole = await openWhole()
      const wall = await whole.start('python', jailKind)
      await wall.claim({ memory: 2 ** 30, processes: 100 })
      wall.run(inverts)
      await until(() => wall.said.stdout.includes('begun'), 'it to be in the way')
      const flipped = await whole.warden
        .calls(wall.id, [{ afterMs: 0, allow: without('write') }])
        .catch((error: Error) => error)
      if (flipped instanceof Error) {
        assert.match(flipped.message, /not over 700 ms later/)
        assert.equal((await wall.end()).how, 'killed')
        return
      }
      const saidUs = (Date.now() + 1) * 1000
      await sleep(300)
      const moved = [...wall.said.stdout.matchAll(/moved (\d+)/g)].map(([, at]) => Number(at))
      assert.deepEqual(
        moved.filter((at) => at > saidUs),
        [],
      )
    })
})

/**
 * Renames within one folder, by normal and by SCHED_IDLE processes: a rename holds the lock of the folder. Its time is the folder's
 * mtime, which the kernel sets within the call: a process that read a clock behind the call may have waited for a processor.
 */
const inverts = `
import os, time
os.mkdir('/work/one')
for n in range(24):
    open('/work/one/%d' % n, 'w').close()
for n in range(24):
    if os.fork() == 0:
        if n % 2: os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        while True:
            try:
                os.rename('/work/one/%d' % n, '/work/one/%d-' % n)
                os.rename('/work/one/%d-' % n, '/work/one/%d' % n)
            except OSError:
                os.write(1, b'moved %d\\n' % (os.stat('/work/one').st_mtime_ns // 1000))
                time.sleep(60)
for n in range(40):
    if os.fork() == 0:
        while True: pass
time.sleep(0.3)
print('begun', flush=True)
time.sleep(60)`

/** Needs the cgroup v1 freezer: in v2 a frozen thread can still be interrupted out of its call. */
function canFreeze(): boolean {
  try {
    accessSync(freezer, constants.W_OK)
    return true
  } catch {
    return false
  }
}

function removed(group: string): boolean {
  try {
    rmdirSync(group)
    return true
  } catch {
    return false
  }
}
