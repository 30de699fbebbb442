import { casesOf, type ProcessCase } from '../case.ts'

const { node, python, sh } = casesOf('proc')
const text = String.raw

/**
 * /proc and /sys: information about the host, and writable files. They are opened and closed, never written.
 */
export const proc: readonly ProcessCase[] = [
  sh('read-a-file-of-the-host', 'the plainest reach of all', `cat "$OPEN_FILE"; exit 0`),
  sh(
    'read-passwords',
    'files of the host’s own accounts',
    text`
cat /etc/shadow /etc/gshadow 2>/dev/null && mark shadow
grep -q '^root:[^x*!]' /etc/passwd && mark passwd; exit 0`,
  ),
  sh(
    'read-homes',
    'what people keep',
    text`
for f in /root/.ssh/* /root/.bash_history /home/*/.ssh/* /home/*/.bash_history; do [ -r "$f" ] && mark "$f"; done; exit 0`,
  ),
  sh(
    'read-logs',
    'what the host writes of others',
    text`
for f in /var/log/* /run/log /var/spool/cron/*; do [ -f "$f" ] && [ -s "$f" ] && [ -r "$f" ] && mark "$f" && break; done; exit 0`,
  ),
  sh('write-a-mark', 'a file where everybody may write', `echo "$NAME" > "$MARK_FILE"; exit 0`),
  python(
    'environment-of-others',
    'secrets are kept in environments',
    text`
for pid in [bait['victim'], bait['server'], os.getppid(), 1] + [int(p) for p in os.listdir('/proc') if p.isdigit()]:
    try:
        found = read('/proc/%d/environ' % pid)
        if b'canary-' in found: show(found)
    except OSError: pass`,
  ),
  python(
    'memory-of-others',
    'the same, from their memory',
    text`
pid = bait['victim']
def look():
    for line in read('/proc/%d/maps' % pid, 10**6).decode().splitlines():
        if 'stack' in line:
            a, b = [int(x, 16) for x in line.split()[0].split('-')]
            with open('/proc/%d/mem' % pid, 'rb', 0) as f: f.seek(a); data = f.read(b - a)
            at = data.find(b'canary-')
            if at >= 0: show(data[at:at + 60])
tried(look)`,
  ),
  python(
    'memory-map-of-others',
    'where things lie in another process',
    text`
for pid in (bait['victim'], bait['server'], os.getppid()):
    for what in ('maps', 'smaps', 'stack', 'auxv', 'syscall', 'pagemap'):
        try:
            if os.path.basename(os.readlink('/proc/%d/exe' % pid)) == 'sleep' and read('/proc/%d/%s' % (pid, what)): mark(what, pid)
        except OSError: pass`,
  ),
  python(
    'command-lines-of-others',
    'what runs on the host, with its arguments',
    text`
others = []
for p in os.listdir('/proc'):
    try:
        if p.isdigit() and b'\0' in read('/proc/%s/cmdline' % p): others.append(p)
    except OSError: pass
if str(bait['victim']) in others and read('/proc/%d/comm' % bait['victim']).strip() == b'sleep': mark('sees', bait['victim'])
if len(others) > 24: mark('processes', len(others))`,
  ),
  python(
    'root-of-pid-1',
    'the root folder of whoever is first',
    text`
for pid in (1, os.getppid(), bait['victim'], bait['server']):
    for way in ('root', 'cwd'):
        try: show(read('/proc/%d/%s%s' % (pid, way, bait['openFile'])))
        except OSError: pass`,
  ),
  python(
    'own-root-upwards',
    'more dots than there are folders',
    text`
tried(lambda: show(read('/proc/self/root' + '/..' * 40 + bait['openFile'])), lambda: show(read('../' * 60 + bait['openFile'])))`,
  ),
  python(
    'own-program-overwritten',
    'the runtime is a file: the way of CVE-2019-5736',
    text`
for path in ('/proc/self/exe', '/proc/1/exe', '/proc/%d/exe' % os.getppid()):
    def go():
        f = os.open(path, os.O_WRONLY); mark('writable', path); os.close(f)
    def late():
        f = os.open(path, os.O_PATH); g = os.open('/proc/self/fd/%d' % f, os.O_RDWR); mark('writable', path)
    tried(go, late)`,
  ),
  python(
    'kernel-settings',
    'every setting of the kernel that opens for writing',
    text`
found = 0
for folder, _, names in os.walk('/proc/sys'):
    for n in names:
        try: os.close(os.open(folder + '/' + n, os.O_WRONLY)); mark('setting', folder + '/' + n); found += 1
        except OSError: pass
        if found > 3: break
    if found > 3: break`,
  ),
  python(
    'core-pattern',
    'a program that the kernel starts as root when something crashes',
    text`
def go():
    if opens('/proc/sys/kernel/core_pattern', os.O_WRONLY): mark('core_pattern')
tried(go)`,
  ),
  python(
    'modprobe-and-hotplug',
    'others that the kernel starts as root',
    text`
for path in ('/proc/sys/kernel/modprobe', '/proc/sys/kernel/hotplug', '/sys/kernel/uevent_helper', '/proc/sys/fs/binfmt_misc/register', '/proc/sys/kernel/poweroff_cmd'):
    def go():
        if opens(path, os.O_WRONLY): mark('opened', path)
    tried(go)`,
  ),
  python(
    'sysrq-trigger',
    'a letter there restarts the machine; it is opened, nothing is written',
    text`
def go():
    if opens('/proc/sysrq-trigger', os.O_WRONLY): mark('sysrq')
tried(go)`,
  ),
  python(
    'kernel-memory',
    'the memory of the whole machine as a file',
    text`
for path in ('/proc/kcore', '/dev/mem', '/dev/kmem', '/dev/port', '/proc/kallsyms', '/proc/kpagemap', '/proc/kpagecount', '/proc/kpageflags'):
    def go():
        data = read(path, 4096)
        if path == '/proc/kallsyms' and not any(l.split()[0].strip(b'0') for l in data.splitlines() if l): return
        if data: mark('read', path)
    tried(go)`,
  ),
  python(
    'kernel-log',
    'addresses and secrets are logged',
    text`
for path in ('/dev/kmsg', '/proc/kmsg'):
    def go():
        if opens(path, os.O_RDONLY | os.O_NONBLOCK): mark('log', path)
    tried(go)
buffer = ctypes.create_string_buffer(4096)
if call('syslog', 3, ctypes.addressof(buffer), 4096) > 0: mark('syslog')`,
  ),
  python(
    'keys-of-the-kernel',
    'its list of keys and who has them',
    text`
for path in ('/proc/keys', '/proc/key-users'):
    def go():
        if read(path): mark('keys', path)
    tried(go)`,
  ),
  python(
    'timers-and-locks-of-all',
    'lists that name processes of everybody',
    text`
for path in ('/proc/timer_list', '/proc/sched_debug', '/proc/locks', '/proc/latency_stats', '/proc/slabinfo', '/proc/vmallocinfo'):
    def go():
        data = read(path)
        if data and path != '/proc/locks': mark('list', path)
    tried(go)`,
  ),
  python(
    'interrupts-and-latency',
    'side channels that the kernel offers',
    text`
for path in ('/proc/acpi', '/proc/scsi', '/proc/bus', '/proc/asound', '/sys/firmware', '/sys/kernel/debug', '/sys/kernel/tracing', '/sys/devices/virtual/powercap'):
    def go():
        names = os.listdir(path)
        if names: mark('folder', path)
    tried(go)`,
  ),
  python(
    'devices-of-the-host',
    'disks and consoles as files',
    text`
import stat
allowed = {'null', 'zero', 'full', 'random', 'urandom', 'tty', 'ptmx', 'console'}
for name in os.listdir('/dev'):
    try:
        mode = os.lstat('/dev/' + name).st_mode
        if (stat.S_ISBLK(mode) or stat.S_ISCHR(mode)) and name not in allowed: mark('device', name)
    except OSError: pass`,
  ),
  python(
    'system-tree',
    'what the machine is made of',
    text`
def go():
    if os.listdir('/sys'): mark('sys', len(os.listdir('/sys')))
tried(go)`,
  ),
  python(
    'control-groups-written',
    'to lift its own limits, and the way out of CVE-2022-0492',
    text`
found = 0
for folder, _, names in os.walk('/sys/fs/cgroup'):
    for n in names:
        try: os.close(os.open(folder + '/' + n, os.O_WRONLY)); mark('cgroup', folder + '/' + n); found += 1
        except OSError: pass
        if found: break
    if found: break`,
  ),
  python(
    'out-of-memory-score',
    'to be the last one that the kernel ends',
    text`
def go():
    before = int(read('/proc/self/oom_score_adj'))
    with open('/proc/self/oom_score_adj', 'w') as f: f.write('-1000')
    mark('oom', before)
def others():
    with open('/proc/%d/oom_score_adj' % bait['victim'], 'w') as f: f.write('1000')
tried(go, others)`,
  ),
  python(
    'identity-maps-written',
    'to become root of a namespace by its own maps',
    text`
for path in ('uid_map', 'gid_map', 'setgroups', 'projid_map'):
    def go():
        with open('/proc/self/' + path, 'w') as f: f.write('0 0 1\n' if path != 'setgroups' else 'allow')
        mark('map', path)
    tried(go)`,
  ),
  python(
    'network-of-the-host',
    'what the host is connected to',
    text`
def go():
    port = ':%04X ' % bait['port']
    for name in ('tcp', 'tcp6', 'unix', 'udp'):
        data = read('/proc/net/' + name, 10**6).decode()
        if port in data or bait['abstract'] in data or bait['unixPath'] in data: mark('net', name)
tried(go)`,
  ),
  python(
    'mounts-of-the-host',
    'where things are mounted from',
    text`
data = read('/proc/self/mountinfo', 10**6).decode()
for line in data.splitlines():
    words = line.split(' ')
    if words[4] == '/' and 'ro' not in words[5].split(',') : mark('root-writable', words[5])`,
  ),
  python(
    'name-of-the-host',
    'its name and its boot are nobody’s business',
    text`
if os.uname().nodename != 'mayfly': mark('hostname', os.uname().nodename)`,
  ),
  sh(
    'environment-of-its-own',
    'what was handed down by mistake',
    text`
env | grep -i -E 'canary|secret|token|api_key|password|SSH_|AWS_|NODE_OPTIONS|LD_PRELOAD|MAYFLY_(WARDEN|STATE|CONFIG|API)' | grep -v -E '^(SECRET|NAME)=|^NODE_OPTIONS=--max-old-space-size=[0-9]+ --max-semi-space-size=[0-9]+$' && mark env; exit 0`,
  ),
  node(
    'files-by-every-way',
    'many ways to one file',
    text`
for (const p of [bait.openFile, '/proc/self/root' + bait.openFile, '/proc/self/task/' + process.pid + '/root' + bait.openFile, '/proc/self/cwd/../../../../../..' + bait.openFile, '/dev/fd/../..' + bait.openFile, '//' + bait.openFile]) tried(() => show(fs.readFileSync(p, 'utf8')))`,
  ),
  node(
    'reports-and-logs',
    'a runtime that writes files by itself',
    text`
tried(() => process.report.writeReport(bait.markFile), () => require('node:v8').writeHeapSnapshot(bait.markFile), () => fs.writeFileSync(bait.markFile, bait.name))`,
  ),
]
