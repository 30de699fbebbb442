import { casesOf, type ProcessCase } from '../case.ts'

const { python, sh } = casesOf('namespaces')
const text = String.raw

/**
 * Nested namespaces: a user namespace gives root inside it, and with it most of the kernel’s attack surface.
 */
export const namespaces: readonly ProcessCase[] = [
  python('unshare-user', 'root in a namespace of its own', `entry('unshare', 0x10000000)`),
  python(
    'unshare-every-kind',
    'each kind beside the user’s',
    text`
for flag in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x20000000, 0x40000000, 0x80): 
    if call('unshare', flag) == 0: mark('unshare', hex(flag))`,
  ),
  python(
    'clone-into-namespaces',
    'the same as it is made',
    text`
answer = call('clone', 0x10000000 | 0x20000000 | 17, 0, 0, 0, 0)
if answer == 0: os._exit(0)
if answer > 0: mark('clone', answer); os.waitpid(answer, 0)`,
  ),
  python(
    'clone3-into-namespaces',
    'the newer call, whose flags no filter can see',
    text`
args = struct.pack('11Q', 0x10000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0)
buffer = ctypes.create_string_buffer(args)
answer = call('clone3', ctypes.addressof(buffer), len(args))
if answer == 0: os._exit(0)
if answer != -errno.ENOSYS and answer != -errno.EPERM: mark('clone3', answer)`,
  ),
  python(
    'unshare-then-mount',
    'the whole way: user, mounts, then a file system',
    text`
if call('unshare', 0x10000000 | 0x00020000) == 0:
    mark('unshared')
    if libc.mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0: mark('mounted')`,
  ),
  sh(
    'unshare-by-tool',
    'the tool that everybody has',
    `unshare -Ur id -u 2>/dev/null | grep -qx 0 && mark root; exit 0`,
  ),
  sh(
    'bubblewrap-inside',
    'a sandbox inside of a sandbox',
    `bwrap --ro-bind / / --unshare-all true 2>/dev/null && mark bwrap; exit 0`,
  ),
  python(
    'setns-to-the-first',
    'into the namespaces of whoever is first',
    text`
for pid in (1, os.getppid(), bait['victim'], bait['server']):
    for kind in ('mnt', 'net', 'pid', 'user', 'ipc', 'uts', 'cgroup'):
        try: fd = os.open('/proc/%d/ns/%s' % (pid, kind), os.O_RDONLY)
        except OSError: continue
        if call('setns', fd, 0) == 0: mark('setns', '%d %s' % (pid, kind))
        os.close(fd)`,
  ),
  python('setns-entry', 'the entry point itself', `entry('setns', -1, 0)`),
  python('mount', 'a file system over a folder', `entry('mount', 0, 0, 0, 0, 0)`),
  python(
    'remount',
    'what is read-only made writable',
    text`
for path in (b'/', b'/usr', b'/proc', b'/dev', os.getcwdb()):
    if call('mount', 0, path, 0, 32 | 4096, 0) == 0: mark('remounted', path)`,
  ),
  python(
    'mount-proc',
    'a new view of processes, without what masks the old',
    text`
tried(lambda: os.mkdir('p'))
if call('mount', b'proc', b'p', b'proc', 0, 0) == 0: mark('proc')`,
  ),
  python(
    'bind-the-root',
    'a mask is gone where its folder is bound again',
    text`
tried(lambda: os.mkdir('b'))
if call('mount', b'/proc', b'b', 0, 4096 | 16384, 0) == 0: mark('bound')`,
  ),
  python(
    'unmount',
    'a mask taken away',
    text`
for path in (b'/proc/sys', b'/proc', b'/tmp', b'/work', b'/dev'):
    if call('umount2', path, 2) == 0: mark('unmounted', path)
entry('umount2', 0, 0)`,
  ),
  python(
    'new-mount-calls',
    'file systems by the newer calls',
    text`
entry('fsopen', 0, 0); entry('fspick', -1, 0, 0); entry('fsmount', -1, 0, 0)
entry('open_tree', -1, 0, 0); entry('move_mount', -1, 0, -1, 0, 0); entry('mount_setattr', -1, 0, 0, 0, 0)`,
  ),
  python('pivot-root', 'another root', `entry('pivot_root', 0, 0)`),
  python(
    'chroot-twice',
    'the oldest way out of a root',
    text`
tried(lambda: os.mkdir('c'))
if call('chroot', b'c') == 0:
    mark('chroot')
    for i in range(40): os.chdir('..')
    call('chroot', b'.'); tried(lambda: show(read(bait['openFile'])))`,
  ),
  python('chroot-entry', 'the entry point itself', `entry('chroot', 0)`),
  python(
    'names-of-the-host',
    'the host has another name',
    text`
entry('sethostname', 0, 3); entry('setdomainname', 0, 3)`,
  ),
]
