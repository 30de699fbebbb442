import { ownVariables } from './own-variables.ts'
import type { Attempts } from './program-trials.ts'

/** System call numbers on x86-64 and arm64, with arguments that have no effect if permitted. */
const calls = `{
  'ptrace': (101, 117, 0, 0, 0, 0), 'mount': (165, 40, 0, 0, 0, 0), 'unshare': (272, 97, 0x10000000, 0, 0, 0),
  'unshare net': (272, 97, 0x40000000, 0, 0, 0), 'setns': (308, 268, -1, 0, 0, 0), 'pivot_root': (155, 41, 0, 0, 0, 0),
  'io_uring_setup': (425, 425, 1, 0, 0, 0), 'bpf': (321, 280, 0, 0, 0, 0), 'keyctl': (250, 219, 0, -3, 0, 0),
  'perf_event_open': (298, 241, 0, 0, -1, -1), 'userfaultfd': (323, 282, 1, 0, 0, 0), 'kexec_load': (246, 104, 0, 1000, 0, 0),
  'process_vm_readv': (310, 270, 1, 0, 0, 0), 'init_module': (175, 105, 0, 0, 0, 0), 'open_by_handle_at': (304, 265, -1, 0, 0, 0),
}`

/** If /proc cannot be listed, tries the doctor's own pid. */
const processesWith = (word: string) => `pids = [str(input['pid'])]
    try: pids.extend(filter(str.isdigit, os.listdir('/proc')))
    except OSError: pass
    for pid in pids:
        try:
            with open('/proc/' + pid + '/cmdline') as line:
                if '${word}' in line.read(): found.append('process ' + pid)
        except OSError: pass`

/** Attack attempts in Python. */
export const inPython: Attempts = {
  network: `import socket
def main(input):
    found = []
    def attempt(name, run):
        try:
            run(); found.append(name)
        except OSError: pass
    def reach(family, address):
        with socket.socket(family, socket.SOCK_STREAM) as one:
            one.settimeout(0.3); one.connect(address)
    attempt('tcp', lambda: reach(socket.AF_INET, ('127.0.0.1', input['port'])))
    attempt('tcp6', lambda: reach(socket.AF_INET6, ('::ffff:127.0.0.1', input['port'])))
    attempt('abstract', lambda: reach(socket.AF_UNIX, '\\0/tmp/.X11-unix/X0'))
    attempt('raw', lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
    attempt('packet', lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
    attempt('alg', lambda: socket.socket(38, socket.SOCK_SEQPACKET))
    attempt('vsock', lambda: socket.socket(40, socket.SOCK_STREAM))
    return found`,
  files: `import os
def main(input):
    found = []
    def attempt(name, run):
        try:
            run(); found.append(name)
        except OSError: pass
    for path in [input['canary'], '/etc/shadow', '/proc/1/root' + input['canary'], '/proc/kcore', '/dev/mem']:
        attempt('read ' + path, lambda: os.close(os.open(path, os.O_RDONLY)))
    # An image has the database of its packages below /var/lib, and this machine more than that.
    for path, own in [('/root/.ssh', ()), ('/home', ()), ('/var/lib', ('dpkg', 'misc'))]:
        try: found.extend('list ' + path + '/' + name for name in os.listdir(path) if name not in own)
        except OSError: pass
    attempt('write', lambda: os.close(os.open(input['mark'], os.O_CREAT | os.O_WRONLY)))
    for path in ['/usr/mayfly-doctor', '/etc/mayfly-doctor', '/opt/mayfly/mayfly-doctor']:
        attempt('write ' + path, lambda: (os.close(os.open(path, os.O_CREAT | os.O_WRONLY)), os.unlink(path)))
    return found`,
  memory: `held = []
def main(input):
    for n in range(1024): held.append(b'x' * (1 << 20))
    return len(held)`,
  // Several sessions: beside other load (autogroup shares by session) a single loop may get less than half a core
  // without any limit.
  cpu: `import os, resource, time
def main(input):
    began, before = time.monotonic(), time.process_time()
    children = []
    for n in range(4):
        try: child = os.fork()
        except OSError: break
        if child == 0:
            os.setsid()
            while time.monotonic() - began < 0.6: pass
            os._exit(0)
        children.append(child)
    while time.monotonic() - began < 0.6: pass
    for child in children: os.waitpid(child, 0)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    all = time.process_time() - before + used.ru_utime + used.ru_stime
    return [all * 1000]`,
  // A watch, in place of a limit of the kernel, looks at intervals, and later on a busy machine.
  processes: `import subprocess, time
def main(input):
    started = []
    for n in range(40):
        try: started.append(subprocess.Popen(['/bin/sleep', '3']))
        except OSError: pass
    if len(started) == 40: time.sleep(2)
    for one in started: one.kill()
    return len(started)`,
  time: `import signal, subprocess, time
def main(input):
    for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(one, signal.SIG_IGN)
    try: subprocess.Popen(['/bin/sleep', '3'], start_new_session=True)
    except OSError: pass
    end = time.monotonic() + 3
    while time.monotonic() < end:
        try: time.sleep(1)
        except BaseException: pass`,
  kernel: `import ctypes, errno, os
def main(input):
    libc = ctypes.CDLL(None, use_errno=True)
    arm = os.uname().machine == 'aarch64'
    refused = (errno.EPERM, errno.ENOSYS, errno.EACCES)
    found = [os.uname().release]
    for name, (here, there, *args) in ${calls}.items():
        ctypes.set_errno(0)
        libc.syscall(*[ctypes.c_long(one) for one in (there if arm else here, *args)])
        if ctypes.get_errno() not in refused: found.append(name)
    return found`,
  artifacts: `import os
def main(input):
    out = os.environ['MAYFLY_OUT']
    with open(out + '/plain', 'w') as plain: plain.write('plain')
    for make in (
        lambda: os.symlink(input['canary'], out + '/link'), lambda: os.symlink('/etc', out + '/folder'),
        lambda: os.link('/etc/passwd', out + '/hard'), lambda: os.mkfifo(out + '/pipe'),
    ):
        try: make()
        except OSError: pass`,
  secrets: `import os
def main(input):
    own = ${JSON.stringify(ownVariables)}
    found = [name for name in os.environ if name in input['names'] and name not in own and not name.startswith(('NODE_', 'PYTHON'))]
    ${processesWith('doctor')}
    return found`,
  leaves: `import subprocess
def main(input):
    for folder in ('/work', '/tmp', '/dev/shm', '/var/tmp'):
        try: open(folder + '/mayfly-left', 'w').close()
        except OSError: pass
    try: subprocess.Popen(['/bin/sleep', '7.25'], start_new_session=True)
    except OSError: pass`,
  looks: `import os
def main(input):
    found = []
    for folder in ('/work', '/tmp', '/dev/shm', '/var/tmp'):
        try:
            os.unlink(folder + '/mayfly-left'); found.append(folder)
        except OSError: pass
    ${processesWith('7.25')}
    return found`,
}
