import { openOwnProgram } from '../../src/jail/own-programs.ts'
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { callClasses, type CallClass } from '../../src/contract/calls.ts'
import { machineBoot } from '../../src/images/machine.ts'
import { imageFolder } from '../../src/images/store.ts'
import { signerFolder } from '../../src/lib/state-folder.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { PolicyCompiler } from '../../src/warden/engines/agent-guest/policy-compiler.ts'
import { imageKey } from '../../src/warden/image-signer.ts'
import { inPython } from '../conformance/guests-of-programs.ts'
import { makeMicroVm, noMachines } from '../conformance/microvm.ts'
import { Stand, type Made } from '../conformance/stand.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { machineState } from '../fixtures/machine-images.ts'
import { PlayedMachine } from '../fixtures/machine.ts'

/** Profiles of AppArmor in machines, and programs that try to do what a closed class forbids. */
const skip = noMachines ?? whyNoParser()
/** A boot under emulation takes seven seconds of processor time, and a busy machine gives it a twentieth. */
const timeout = 900_000
const limits = { timeout: 240_000 }

/**
 * Ways to do what each class is about, with what was opened while all were open. Each list is tried in an endless loop until its first
 * is refused; then all of it, and what was refused is told.
 */
const attacks = `
import ctypes, errno, os, socket, subprocess, threading, time
libc = ctypes.CDLL(None, use_errno=True)
LOADER = '/lib64/ld-linux-x86-64.so.2'
def why(act):
    try: act()
    except OSError as error: return errno.errorcode[error.errno]
    except RuntimeError: return 'EAGAIN'
    return 'done'
def execveat(fd):
    child = os.fork()
    if child == 0:
        libc.syscall(322, fd, b'', (ctypes.c_char_p * 2)(b'true', None), None, 0x1000)
        os._exit(ctypes.get_errno())
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code: raise OSError(code, 'execveat')
def copied(to):
    os.write(to, open('/bin/busybox', 'rb').read())
    return to
def threads():
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
def forks():
    child = os.fork()
    if child == 0: os._exit(0)
    os.waitpid(child, 0)
def main(input):
    open('/work/script', 'w').write('#!/bin/sh\\nexit 0\\n')
    os.close(copied(os.open('/work/true', os.O_WRONLY | os.O_CREAT)))
    for name in ('script', 'true'): os.chmod('/work/' + name, 0o755)
    os.symlink('/etc/passwd', '/work/link')
    memory = copied(os.memfd_create('true'))
    etc, held = os.open('/etc', os.O_RDONLY), os.open('/etc/passwd', os.O_PATH)
    server = socket.create_server(('127.0.0.1', 0))
    address = server.getsockname()
    made, datagrams = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
    near = socket.create_connection(address)
    far, _ = server.accept()
    near.send(b'x' * 100)
    own, other = socket.socketpair()
    tries = {
        'exec': [lambda: subprocess.run(['/bin/true']), lambda: subprocess.run([LOADER, '/bin/true']),
            lambda: subprocess.run(['/work/script']), lambda: subprocess.run(['/work/true']), lambda: execveat(memory),
            lambda: subprocess.run(['/proc/self/fd/%d' % memory], pass_fds=[memory])],
        'network': [lambda: socket.socket(), lambda: near.send(b'x'), lambda: os.write(near.fileno(), b'x'), lambda: far.recv(1),
            lambda: made.connect(address), lambda: datagrams.sendto(b'x', address), lambda: socket.socket(socket.AF_INET6)],
        'outside': [lambda: open('/etc/passwd'), lambda: open('/work/link'), lambda: os.open('passwd', os.O_RDONLY, dir_fd=etc),
            lambda: open('/proc/self/fd/%d' % held), lambda: open('/proc/self/root/etc/passwd'), lambda: open('/proc/1/status'),
            lambda: os.listdir('/usr'), lambda: open('/proc/self/maps')],
        'process': [forks, threads],
    }
    told = {'profiles': [open('/proc/self/attr/current').read().strip(),
        subprocess.run(['cat', '/proc/self/attr/current'], capture_output=True, text=True).stdout.strip()]}
    for name, acts in tries.items(): told['open ' + name] = [why(act) for act in acts]
    made = socket.socket()
    for name, acts in tries.items():
        print('trying ' + name, flush=True)
        while why(acts[0]) == 'done': time.sleep(0.005)
        told[name] = [why(act) for act in acts]
    own.send(b'x')
    open('/work/kept', 'w').write('x')
    told['still'] = [other.recv(1).decode(), open('/work/kept').read(), os.read(os.open('/dev/urandom', os.O_RDONLY), 1) != b'']
    return told`

/** Attempts of the guest's root confined by the profile, each with `done` or its error. */
const asRoot = `
import ctypes, errno, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    if libc.syscall(number, *args) < 0: raise OSError(ctypes.get_errno(), 'call')
def write(file, text):
    fd = os.open(file, os.O_WRONLY)
    os.write(fd, text)
tries = {
    'mount': lambda: call(165, b'none', b'/tmp', b'tmpfs', 0, 0),
    'remount': lambda: call(165, None, b'/usr', None, 0x21, None),
    'device': lambda: os.mknod('/work/memory', 0o20600, os.makedev(1, 1)),
    'signal': lambda: os.kill(1, 9),
    'trace': lambda: call(101, 16, 1, 0, 0),
    'setting': lambda: write('/proc/sys/kernel/core_pattern', b'|/work/x'),
    'sysrq': lambda: write('/proc/sysrq-trigger', b'c'),
    'profile': lambda: write('/proc/self/attr/apparmor/current', b'changeprofile unconfined'),
    'profile at exec': lambda: write('/proc/self/attr/apparmor/exec', b'exec unconfined'),
    'packet': lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    'raw': lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
    'module': lambda: call(313, 0, b'', 0),
    'user': lambda: os.setuid(1000),
    'root': lambda: os.chroot('/work'),
    'namespace': lambda: call(272, 0x00020000),
    'off': lambda: call(169, 0xfee1dead, 672274793, 0x4321fedc, 0),
    'image': lambda: open('/usr/own', 'w'),
    'bpf': lambda: call(321, 0, (ctypes.c_uint32 * 32)(2, 4, 4, 1), 128),
}
assert os.getuid() == 0
for name, act in tries.items():
    try: act()
    except OSError as error: print(name, 'EPERM' if error.errno == errno.EPERM else errno.errorcode[error.errno])
    else: print(name, 'done')
print(open('/proc/self/attr/current').read().strip(), open('/work/own', 'w').write('x'))
`

suite('Programs of a machine under a profile of AppArmor', { skip, timeout }, () => {
  let made: Made
  before(async () => void (made = await makeMicroVm({}, 'python')))
  after(async () => {
    await made.provider.close?.()
    await made.close()
  })
  const stand = () =>
    new Stand(made.provider, () => Promise.reject(new Error('no other')), inPython)

  test('S1-11: each program is confined by a profile made for the phase, replaced while it runs: execs, sockets, files and forks are refused', async () => {
    const running = await stand().start(attacks, { limits })
    await using sandbox = running.sandbox
    const { controls } = stand().profile({})
    const closing: readonly CallClass[] = ['exec', 'network', 'outside', 'process']
    for (const [at, name] of closing.entries()) {
      await running.said(`trying ${name}`)
      const syscalls = callClasses.filter((one) => !closing.slice(0, at + 1).includes(one))
      const { unenforced, trust, answers } = await sandbox.tighten({ ...controls, syscalls })
      assert.deepEqual([unenforced, trust], [[], 'guest'])
      assert.equal(answers?.[name], name === 'process' ? 'EAGAIN' : 'EACCES')
    }
    const { resultText, ...end } = await running.end
    assert.equal(end.status, 'ok', JSON.stringify(end))
    assert.equal(sandbox.held?.['access'], 'apparmor')
    const { profiles, still, ...seen } = JSON.parse(resultText) as Record<string, string[]>
    assert.deepEqual(profiles, Array(2).fill('mayfly-job (enforce)'))
    assert.deepEqual(still, ['x', 'x', true])
    for (const name of closing) {
      assert.deepEqual(new Set(seen[`open ${name}`]), new Set(['done']), JSON.stringify(seen))
      const expected = name === 'process' ? 'EAGAIN' : 'EACCES'
      assert.deepEqual(new Set(seen[name]), new Set([expected]), JSON.stringify(seen))
    }
  })

  test('A first phase without a class applies its profile before the release of user code', async () => {
    const tries = `import os\ndef main(input):\n    try: os.execv('/bin/true', ['true'])\n    except PermissionError as error: return error.errno`
    await using sandbox = await stand().launch({ limits })
    const syscalls = callClasses.filter((name) => name !== 'exec')
    await sandbox.tighten({ ...stand().profile({}).controls, syscalls })
    const end = await stand().begin(sandbox, tries).end
    assert.equal(end.resultText, '13', JSON.stringify(end))
  })
})

suite('A machine without apparmor_parser', { skip, timeout }, () => {
  test('reports it, closes the classes that need no profile, and names the others', async () => {
    const other = await makeMicroVm({ hide: ['apparmor_parser'] }, 'python')
    try {
      const proved = await other.provider.detect()
      assert.ok(proved.available)
      assert.ok(!proved.layers.includes('apparmor'))
      assert.match(
        proved.missing.join('\n'),
        /^apparmor: .*only the classes process and write of .*the package apparmor/m,
      )
      const stand = new Stand(other.provider, () => Promise.reject(new Error('none')), inPython)
      await using sandbox = await stand.launch({ limits })
      const { controls } = stand.profile({})
      const { unenforced, answers } = await sandbox.tighten({ ...controls, syscalls: ['exec'] })
      assert.deepEqual(unenforced, ['syscalls'])
      assert.deepEqual(answers, { process: 'EAGAIN', write: 'EROFS' })
      assert.equal(sandbox.held?.['access'], 'none')
    } finally {
      await other.provider.close?.()
      await other.close()
    }
  })
})

suite('Root of a guest', { skip, timeout }, () => {
  test('Attack: confined by the profile it has no rights of root; unconfined it can remove the profile, which the next phase detects', async () => {
    const policies = new PolicyCompiler()
    await using machine = await PlayedMachine.boot(
      await bootOf(await policies.compile(callClasses)),
    )
    const { abilities } = await machine.find('hello')
    assert.deepEqual(abilities, ['limits-memory', 'counts-tasks', 'confines', 'watches', 'zones'])
    const enter = `echo 'exec mayfly-job' > /proc/self/attr/apparmor/exec; exec python3 -c "$0"`
    const said = await machine.outputOf('', { args: ['sh', '-c', enter, asRoot] })
    const [last, ...tried] = said.trim().split('\n').toReversed()
    assert.equal(last, 'mayfly-job (enforce) 1', machine.complaint)
    assert.equal(tried.length, 18)
    assert.deepEqual(
      tried.filter((line) => !/ (EACCES|EPERM)$/.test(line)),
      [],
    )
    const closed = await policies.compile(['process', 'write', 'outside'])
    assert.equal(await phase(machine, closed), 0)
    const denied = `echo 'exec mayfly-job' > /proc/self/attr/apparmor/exec; exec sh -c '/bin/true || echo refused'`
    assert.equal(await machine.outputOf(denied), 'refused\n')
    for (const [bytes, at] of [
      [closed, 0],
      [Buffer.from('profile'), 71],
    ] as const)
      assert.equal((await phase(machine, bytes)) > 0, at > 0)
    assert.equal(await phase(machine, await policies.compile(callClasses), ['exec']), 1)
    assert.equal(await machine.outputOf(denied), 'refused\n')
    const remove = `mount -t securityfs s /tmp && printf mayfly-job > /tmp/apparmor/.remove && echo removed`
    assert.equal(await machine.outputOf(remove), 'removed\n')
    assert.ok((await phase(machine, closed)) > 0)
  })

  test('The feature tree of the locked kernel is the one that profiles are compiled for', async () => {
    await using machine = await PlayedMachine.boot(await bootOf())
    const asked = `mount -t securityfs s /tmp && cd /tmp/apparmor/features && find . -type f | sort | while read -r f; do echo "$f $(cat $f)"; done`
    const lines = (await machine.outputOf(asked)).trim().split('\n')
    const recorded = new URL('../../policies/apparmor/linux-6.12.features', import.meta.url)
    assert.deepEqual(
      featuresIn(readFileSync(recorded, 'utf8')),
      lines.map((line) => line.slice(2)),
    )
  })
})

/** Lines "PATH VALUE" of the compiler's form, in which a folder is a name with braces around what is in it. */
function featuresIn(text: string): readonly string[] {
  const [found, folders] = [[] as string[], [] as string[]]
  for (const [, name, value] of text.matchAll(/([\w.-]+) \{|([^{}]*)\}/g)) {
    if (name !== undefined) folders.push(name)
    else {
      const words = value!.trim()
      if (words !== '') found.push(`${folders.join('/')} ${words}`)
      folders.pop()
    }
  }
  return found.sort()
}

async function phase(
  machine: PlayedMachine,
  policy: Uint8Array,
  closes: readonly CallClass[] = ['exec', 'network'],
): Promise<number> {
  const nonce = machine.nonce()
  machine.send({ kind: 'phase', nonce, command: { do: 'replace-policy', closes, policy } })
  return (await machine.find('phased', (one) => one.nonce === nonce)).errno
}

async function bootOf(policy?: Uint8Array) {
  const [state, agent] = [await machineState(), await openOwnProgram('agent')]
  if ('missing' in state || 'missing' in agent) throw new Error('no machine can be booted')
  return machineBoot({
    store: imageFolder(state.state),
    folder: bootFolder,
    key: imageKey(signerFolder(state.state)),
    image: 'python',
    agent: readFileSync(agent.file),
    ...(policy && { policy }),
  })
}

/** With `CI=true` it has to be there. */
function whyNoParser(): string | false {
  if (findProgram('apparmor_parser')) return false
  if (process.env['CI'] === 'true') throw new Error('apparmor_parser is missing')
  return 'apparmor_parser is missing'
}

const bootFolder = mkdtempSync(path.join(tmpdir(), 'mayfly-policy-'))
after(() => rmSync(bootFolder, { recursive: true, force: true }))
