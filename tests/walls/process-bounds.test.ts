import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, chmodSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'node:test'
import { jailKinds } from '../../src/contract/jail-kind.ts'
import { findJailFacts } from '../../src/jail/facts.ts'
import { test } from '../fixtures/drawn.ts'
import { isMissing, stands, unable } from './process-stands.ts'
import { inProcess, ProcessWall, type ProcessJob, type ProcessWish } from './process-wall.ts'

const script = async (wish: Omit<ProcessWish, 'program'>, code: string, more = {}) => {
  const job: ProcessJob = { language: 'sh', code, ...more }
  return await inProcess({ program: 'node', ...wish }, job)
}
const lines = (text: string) => text.trim().split('\n')

/** System calls by number, as native code of a program makes them. */
const probing = (calls: readonly (readonly [string, string])[]) => `
import ctypes, errno, json, os, socket
libc = ctypes.CDLL(None, use_errno=True)
said = {}
${calls.map(([name, args]) => `ctypes.set_errno(0); r = libc.syscall(${args}); said["${name}"] = errno.errorcode.get(ctypes.get_errno()) if r < 0 else "allowed"`).join('\n')}
for name, family, kind, protocol in [("packet", 17, 3, 0), ("vsock", 40, 1, 0), ("alg", 38, 5, 0), ("raw", 2, 3, 1), ("ping", 2, 2, 1), ("netlink audit", 16, 3, 9)]:
    try:
        socket.socket(family, kind, protocol); said[name] = "allowed"
    except OSError as error:
        said[name] = errno.errorcode[error.errno]
result = said`

suite('Bounds of a process wall', { skip: unable('python') }, () => {
  for (const { title, wish } of stands) {
    test(`${title}: the program sees only the installed programs, a clean environment, and its own host name`, async (t) => {
      if (isMissing(t, wish)) return
      process.env['PROCESS_WALL_SECRET'] = 'seen'
      const { stdout, stderr } = await script(
        wish,
        'ls / | tr "\\n" " "; echo; hostname; env | cut -d= -f1 | sort | tr "\\n" " "; echo; cat /etc/passwd | wc -l; ls /sys /root /home /var /run 2>/dev/null | wc -l; ls -A /proc/sys | tr "\\n" " "; echo; ls -d /sys 2>&1 | grep -c "No such"',
      )
      delete process.env['PROCESS_WALL_SECRET']
      const [root, name, variables, users, beyond, sys, none] = lines(stdout)
      assert.equal(root?.trim(), 'bin dev etc lib lib64 opt proc sbin tmp usr work', stderr)
      assert.equal(name, 'mayfly')
      assert.equal(variables?.trim(), 'HOME LANG MAYFLY_OUT MAYFLY_RESULT PATH PWD TMPDIR TZ')
      assert.ok(Number(users) <= 3)
      assert.deepEqual([sys?.trim(), none], ['fs kernel net vm', '1'])
      assert.ok(Number(beyond) <= 1)
    })

    test(`${title}: /work, /tmp and /dev/shm are writable, nine other folders are not, and /proc shows fewer than ten processes`, async (t) => {
      if (isMissing(t, wish)) return
      const { stdout } = await script(
        wish,
        `for place in / /usr /usr/bin /etc /dev /opt/mayfly /opt/mayfly/guest /proc/sys /lib; do
          [ -d $place ] || echo "no $place"
          (echo x > $place/mark) 2>/dev/null && echo "wrote $place"; done
        for place in /work /tmp /dev/shm; do (echo x > $place/mark) 2>/dev/null && echo "wrote $place"; done
        for file in kcore keys kmsg timer_list sysrq-trigger kallsyms config.gz cmdline; do
          [ -n "$(head -c 1 /proc/$file 2>/dev/null)" ] && echo "read /proc/$file"; done
        (echo x > /proc/sysrq-trigger) 2>/dev/null; (echo x > /proc/sys/kernel/core_pattern) 2>/dev/null && echo "wrote core_pattern"
        ls /proc | grep -c '^[0-9]'
        grep -E '^(CapEff|CapBnd|CapPrm|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'
        ulimit -c; ulimit -n; echo x > /dev/null && head -c 3 /dev/zero | wc -c`,
      )
      const said = lines(stdout)
      assert.deepEqual(said.slice(0, 3), ['wrote /work', 'wrote /tmp', 'wrote /dev/shm'])
      assert.ok(Number(said[3]) < 10, stdout)
      assert.deepEqual(said.slice(4), [
        'CapPrm:0000000000000000',
        'CapEff:0000000000000000',
        'CapBnd:0000000000000000',
        'NoNewPrivs:1',
        'Seccomp:2',
        '0',
        '1024',
        '3',
      ])
    })

    test(`${title}: a crash leaves no core dump, on a disk or piped to a program of this machine`, async (t) => {
      if (isMissing(t, wish)) return
      for (const program of ['node', 'python'] as const) {
        const code =
          program === 'node'
            ? `console.log(require('fs').readFileSync('/proc/self/limits', 'utf8'))`
            : `print(open('/proc/self/limits').read())`
        const job = { language: program, entry: 'program', code }
        const { stdout } = await inProcess({ program, ...wish }, job)
        assert.match(stdout, /^Max core file size +1 +1 /m, `${program}: ${stdout}`)
      }
    })

    test(`${title}: all scratch folders share one size limit, and writes beyond it fail`, async (t) => {
      if (isMissing(t, wish)) return
      const { stdout } = await script(
        { ...wish, scratchBytes: 8 * 2 ** 20 },
        `head -c 3000000 /dev/zero > /work/a && head -c 3000000 /dev/zero > /tmp/b && echo fits
        (head -c 3000000 /dev/zero > /dev/shm/c) 2>/dev/null || echo full
        rm /tmp/b /dev/shm/c; head -c 3000000 /dev/zero > /dev/shm/c && echo again`,
      )
      assert.deepEqual(lines(stdout), ['fits', 'full', 'again'])
      const files = [{ path: 'big', content: 'x'.repeat(9 * 2 ** 20) }]
      const wished = { ...wish, scratchBytes: 8 * 2 ** 20 }
      const { head } = await script(wished, 'echo no', { files })
      assert.deepEqual([head.status, head.error?.code], ['limit', 'DISK'])
      if (title === 'embedded') {
        const job: ProcessJob = { language: 'python', code: 'result = 1', files }
        const inPython = await inProcess({ program: 'python', ...wished }, job)
        assert.deepEqual([inPython.head.status, inPython.head.error?.code], ['limit', 'DISK'])
      }
    })

    test(`${title}: process 1 adopts and reaps orphans; the program is an ordinary process`, async (t) => {
      if (isMissing(t, wish)) return
      // An orphan prints the pid of its new parent and exits; the new parent must reap it.
      const { stdout } = await script(
        wish,
        `echo $PPID
        ( sh -c 'for n in $(seq 200); do grep -q "^PPid:.1$" /proc/$$/status && break; sleep 0.05; done
          { grep PPid /proc/$$/status | tr -dc 0-9; echo; } > /tmp/parent.new; mv /tmp/parent.new /tmp/parent' & )
        for n in $(seq 200); do [ -s /tmp/parent ] && break; sleep 0.05; done
        for n in $(seq 200); do
          zombies=$(for status in /proc/[0-9]*/status; do
            grep -q '^State:.Z' $status && grep -q '^PPid:.1$' $status && echo zombie
          done 2>/dev/null | grep -c zombie)
          [ "$zombies" = 0 ] && break
          sleep 0.05
        done
        echo $zombies
        cat /tmp/parent
        cat /proc/1/comm`,
      )
      const [parent, zombies, adopted, first] = lines(stdout)
      assert.notEqual(parent, '1')
      assert.deepEqual([zombies, adopted], ['0', '1'])
      assert.match(first ?? '', /^(sh|bwrap|init)$/)
    })

    test(`${title}: the only network is its own namespace`, async (t) => {
      if (isMissing(t, wish)) return
      const { head, value } = await inProcess(
        { program: 'python', ...wish },
        {
          language: 'python',
          code: `
import errno, socket
def tried(family, address):
    try:
        with socket.socket(family) as s:
            s.settimeout(1); s.connect(address)
            return "connected"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
result = [tried(socket.AF_INET, ("8.8.8.8", 53)), tried(socket.AF_INET, ("127.0.0.1", 22)),
  tried(16, (0, 0)), [line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]]]`,
        },
      )
      assert.equal(head.status, 'ok', JSON.stringify(head))
      assert.deepEqual(value, ['ENETUNREACH', 'ECONNREFUSED', 'EAFNOSUPPORT', ['lo']])
    })
  }

  for (const jailKind of jailKinds) {
    test(`${jailKind}: the seccomp filter refuses the forbidden calls`, async (t) => {
      if (isMissing(t, { jailKind })) return
      await using wall = await ProcessWall.start({ program: 'node', jailKind })
      const answers = await wall.probeFilter()
      assert.ok(Object.keys(answers).length >= 20)
      for (const [call, answer] of Object.entries(answers))
        assert.match(answer, /^(EPERM|ENOSYS)$/, call)
      const without = ['seccomp'] as const
      await using open = await ProcessWall.start({ program: 'node', jailKind, without })
      const through = Object.entries(await open.probeFilter()).filter(
        ([call, answer]) => answer !== answers[call],
      )
      assert.ok(through.length > 10, 'without the filter the same calls reach the kernel')
    })

    test(`${jailKind}: native code of a program is refused the same calls`, async (t) => {
      if (isMissing(t, { jailKind })) return
      if (process.arch !== 'x64') return t.skip('the numbers are those of x86-64')
      const code = probing([
        ['ptrace', '101, 0, 0, 0, 0'],
        ['process_vm_readv', '310, os.getppid(), 0, 0, 0, 0, 0'],
        ['bpf', '321, 0, 0, 0'],
        ['unshare', '272, 0x10000000'],
        ['clone with a namespace', '56, 0x10000011, 0, 0, 0, 0'],
        ['setns', '308, 0, 0'],
        ['mount', '165, 0, b"/tmp", b"tmpfs", 0, 0'],
        ['open_tree', '428, -100, b"/", 1'],
        ['fsopen', '430, b"tmpfs", 0'],
        ['pivot_root', '155, b"/", b"/"'],
        ['chroot', '161, b"/work"'],
        ['keyctl', '250, 0, 0, 0, 0, 0'],
        ['userfaultfd', '323, 0'],
        ['perf_event_open', '298, 0, 0, -1, -1, 0'],
        ['io_uring_setup', '425, 1, 0'],
        ['memfd_create', '319, b"x", 0'],
        ['memfd_secret', '447, 0'],
        ['pidfd_getfd', '438, 0, 0, 0'],
        ['open_by_handle_at', '304, 0, 0, 0'],
        ['kexec_load', '246, 0, 0, 0, 0'],
        ['swapon', '167, b"/work/x", 0'],
        ['quotactl', '179, 0, 0, 0, 0'],
        ['personality', '135, 0x40000'],
        ['TIOCSTI', '16, 0, 0x5412, b"x"'],
        ['seccomp', '317, 1, 8, 0'],
        ['a socket made by clone3', '435, 0, 0'],
      ])
      const wish = { program: 'python', jailKind } as const
      const { head, value } = await inProcess(wish, { language: 'python', code })
      assert.equal(head.status, 'ok', JSON.stringify(head))
      assert.equal(Object.keys(value as object).length, 26 + 6)
      for (const [call, answer] of Object.entries(value as Record<string, string>))
        assert.match(answer, /^(EPERM|ENOSYS|ENOTTY|EAFNOSUPPORT)$/, `${call}: ${answer}`)
    })

    test(`${jailKind}: a program cannot attach a BPF filter to a socket, whose compiled code uses memory shared by all walls`, async (t) => {
      if (isMissing(t, { jailKind })) return
      const { value } = await inProcess(
        { program: 'python', jailKind },
        {
          language: 'python',
          code: `
import errno, socket, struct
held = bytearray(struct.pack('HBBI', 6, 0, 0, 0))
at = (__import__('ctypes').c_char * 8).from_buffer(held)
program = struct.pack('HL', 1, __import__('ctypes').addressof(at))
result = []
for option, value in ((26, program), (50, b'\\0' * 4), (51, program), (52, b'\\0' * 4)):
    own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        own.setsockopt(socket.SOL_SOCKET, option, value)
        result.append('taken')
    except OSError as error: result.append(errno.errorcode[error.errno])`,
        },
      )
      assert.deepEqual(value, ['EPERM', 'EPERM', 'EPERM', 'EPERM'])
    })

    test(`${jailKind}: artifacts are regular files only, and other entries are reported by name`, async (t) => {
      if (isMissing(t, { jailKind })) return
      const code = `mkdir -p out/deep; echo plain > out/a.txt; echo nested > out/deep/b.txt
        ln -s /etc/passwd out/link; ln -s /etc out/folder; ln out/a.txt out/second; mkfifo out/pipe
        echo x > /work/x; ln -s x /work/y; mkdir .git; echo x > .git/z; head -c 2000000 /dev/zero > out/large`
      const { artifacts, head } = await inProcess(
        { program: 'node', jailKind },
        { language: 'sh', code, artifactBytesMax: 1_000_000 },
      )
      assert.deepEqual(Object.keys(artifacts), ['deep/b.txt', 'x'])
      assert.equal(artifacts['deep/b.txt']?.toString(), 'nested\n')
      const leftOut = head.artifactsLeftOut.map(({ path }) => path).sort()
      assert.equal(leftOut.join(' '), 'a.txt folder large link pipe second y')
      const inPython = await inProcess(
        { program: 'python', jailKind },
        {
          language: 'python',
          code: `import subprocess\nsubprocess.run(["sh", "-c", ${JSON.stringify(code)}])`,
          artifactBytesMax: 1_000_000,
        },
      )
      assert.deepEqual(Object.keys(inPython.artifacts), ['deep/b.txt', 'x'])
      assert.equal(inPython.head.artifactsLeftOut.length, 7)
    })
  }

  test('without namespaces and without a scratch folder no job runs, and the reason is reported', async () => {
    for (const program of ['node', 'python'] as const) {
      const wish = { program, hide: ['namespaces'] }
      const { head } = await inProcess(wish, { language: program, code: 'result = 1' })
      assert.equal(head.status, 'error')
      assert.match(head.error?.message ?? '', /^Cannot lay out the job/)
    }
  })

  test('without namespaces a program has no children and no sockets, and files only in its scratch folder', async (t) => {
    const facts = findJailFacts()
    if (facts.platform !== 'linux') return t.skip('only Linux has these walls')
    const scratch = mkdtempSync(join(tmpdir(), 'mayfly-scratch-'))
    try {
      mkdirSync(join(scratch, 'in'))
      chmodSync(scratch, 0o755)
      chmodSync(join(scratch, 'in'), 0o777)
      const { head, value } = await inProcess(
        { program: 'node', hide: ['namespaces'], scratch: join(scratch, 'in') },
        {
          code: `
          const { spawnSync } = require('node:child_process')
          const fs = require('node:fs')
          const net = require('node:net')
          module.exports = async () => {
            const file = (path) => { try { fs.readFileSync(path); return 'read' } catch (error) { return error.code } }
            const connected = await new Promise((resolve) => {
              net.connect(22, '127.0.0.1').on('error', (error) => resolve(error.code)).on('connect', () => resolve('connected'))
            })
            const signal = () => { try { process.kill(process.ppid, 0); return 'sent' } catch (error) { return error.code } }
            return [spawnSync('/bin/true').error?.code, connected, file('/etc/passwd'), file('job.js'), signal()]
          }`,
        },
      )
      assert.equal(head.status, 'ok', JSON.stringify(head))
      assert.deepEqual(value, ['EPERM', 'EPERM', 'EACCES', 'read', 'EPERM'])
    } finally {
      rmSync(scratch, { recursive: true })
    }
  })
})
