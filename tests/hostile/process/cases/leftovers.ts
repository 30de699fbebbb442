import { casesOf, type ProcessCase } from '../case.ts'

const { node, python, sh } = casesOf('leftovers')
const text = String.raw
/** A file that all walls of this machine share, another one for each run. */
const shared = text`
def shared():
    names = sorted(name for name in os.listdir('/usr/bin') if os.access('/usr/bin/' + name, os.R_OK))
    return '/usr/bin/' + names[bait['key'] % len(names)]`

/** State that survives a job, as seen by the next one. Daemons end by themselves. */
export const leftovers: readonly ProcessCase[] = [
  sh(
    'daemon',
    'a process that is nobody’s child',
    `(setsid sh -c "sleep 5; : $NAME" >/dev/null 2>&1 </dev/null &) ; exit 0`,
  ),
  sh(
    'no-hangup',
    'one that the end of its terminal does not end',
    `nohup sh -c "sleep 5; : $NAME" >/dev/null 2>&1 & exit 0`,
  ),
  python(
    'daemon-without-streams',
    'twice forked, nothing open, in the root folder',
    text`
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.chdir('/'); os.closerange(0, 1024); os.execv('/bin/sh', ['sh', '-c', 'sleep 5; : ' + bait['name']])
    os._exit(0)
time.sleep(0.1)`,
  ),
  python(
    'daemon-by-respawn',
    'each end starts the next',
    text`
code = 'for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.5; done; : ' + bait['name']
for i in range(3):
    if os.fork() == 0:
        os.setsid(); os.closerange(0, 3)
        tried(lambda: os.execv('/bin/sh', ['sh', '-c', code])); os._exit(0)
os._exit(0)`,
  ),
  python(
    'daemon-stopped',
    'it stands still, so that no polite signal ends it',
    text`
child = os.fork()
if child == 0: os.closerange(0, 3); os.execv('/bin/sh', ['sh', '-c', 'sleep 5; : ' + bait['name']])
time.sleep(0.1); os.kill(child, signal.SIGSTOP)`,
  ),
  python(
    'daemon-starting',
    'forking at the moment of the end',
    text`
end = time.time() + 1.5
child = os.fork()
if child == 0:
    os.closerange(0, 3)
    while time.time() < end:
        if os.fork(): os._exit(0)
    os.execv('/bin/sh', ['sh', '-c', 'sleep 4; : ' + bait['name']])
os._exit(0)`,
  ),
  sh('file-in-tmp', 'a folder that all share', `echo "$SECRET" > "/tmp/$NAME"; exit 0`, {
    second: `cat "/tmp/$NAME" /tmp/* 2>/dev/null; exit 0`,
  }),
  sh(
    'file-in-var-tmp',
    'the one that outlives a restart',
    `echo "$SECRET" > "/var/tmp/$NAME"; exit 0`,
    { second: `cat "/var/tmp/$NAME" 2>/dev/null; exit 0` },
  ),
  sh('file-in-work', 'the working folder', `echo "$SECRET" > "left"; exit 0`, {
    second: `cat left 2>/dev/null; exit 0`,
  }),
  sh(
    'file-in-home',
    'the home folder, and what is run from there',
    `echo "echo $SECRET" >> "$HOME/.profile"; echo "$SECRET" > "$HOME/.left"; exit 0`,
    { second: `cat "$HOME/.left" "$HOME/.profile" 2>/dev/null; exit 0` },
  ),
  python(
    'shared-memory',
    'the folder of shared memory',
    `tried(lambda: open('/dev/shm/' + bait['name'], 'w').write(bait['secret']))`,
    { second: `tried(lambda: show(read('/dev/shm/' + bait['name'])))` },
  ),
  python(
    'system-v-segment',
    'memory with a number',
    text`
s = call('shmget', bait['key'], 4096, 0o1000 | 0o666)
if s >= 0:
    libc.shmat.restype = ctypes.c_void_p; at = libc.shmat(s, None, 0); ctypes.memmove(at, bait['secret'].encode(), len(bait['secret']))`,
    {
      second: text`
s = call('shmget', bait['key'], 0, 0)
if s >= 0:
    libc.shmat.restype = ctypes.c_void_p; at = libc.shmat(s, None, 0); show(ctypes.string_at(at, 60))`,
    },
  ),
  python(
    'system-v-queue',
    'messages with a number',
    text`
q = call('msgget', bait['key'], 0o1000 | 0o666)
if q >= 0:
    b = ctypes.create_string_buffer(struct.pack('q', 1) + bait['secret'].encode()); call('msgsnd', q, ctypes.addressof(b), 50, 0o4000)`,
    {
      second: text`
q = call('msgget', bait['key'], 0)
b = ctypes.create_string_buffer(200)
if q >= 0 and call('msgrcv', q, ctypes.addressof(b), 100, 0, 0o4000) > 0: show(b.raw[8:60])`,
    },
  ),
  python(
    'system-v-semaphore',
    'a counter with a number',
    `call('semget', bait['key'], 1, 0o1000 | 0o666)`,
    { second: `if call('semget', bait['key'], 0, 0) >= 0: mark('semaphore')` },
  ),
  python(
    'posix-queue',
    'messages with a name',
    text`
q = call('mq_open', ('q' + bait['name']).encode(), 0o102, 0o666, 0)
if q >= 0: call('mq_timedsend', q, bait['secret'].encode(), len(bait['secret']), 0, 0)`,
    {
      second: text`
q = call('mq_open', ('q' + bait['name']).encode(), 0, 0, 0)
b = ctypes.create_string_buffer(9000)
if q >= 0: call('mq_unlink', ('q' + bait['name']).encode())
if q >= 0 and call('mq_timedreceive', q, ctypes.addressof(b), 8192, 0, 0) > 0: show(b.value)`,
    },
  ),
  python(
    'abstract-socket',
    'a name that the next job could ask for',
    text`
s = socket.socket(socket.AF_UNIX); s.bind('\0' + bait['name']); s.listen()
if os.fork() == 0:
    os.closerange(0, 3); os.setsid(); signal.alarm(5)
    c, _ = s.accept(); c.sendall(bait['secret'].encode()); time.sleep(1); os._exit(0)
os._exit(0)`,
    {
      second: `s = socket.socket(socket.AF_UNIX); s.settimeout(1)\ntried(lambda: s.connect('\\0' + bait['name']), lambda: show(s.recv(100)))`,
    },
  ),
  python(
    'loopback-listener',
    'a port that the next job could ask for',
    text`
s = socket.socket(); s.bind(('127.0.0.1', 20000 + bait['key'] % 10000)); s.listen()
if os.fork() == 0:
    os.closerange(0, 3); os.setsid(); signal.alarm(5)
    c, _ = s.accept(); c.sendall(bait['secret'].encode()); time.sleep(1); os._exit(0)
os._exit(0)`,
    {
      second: `tried(lambda: show(socket.create_connection(('127.0.0.1', 20000 + bait['key'] % 10000), 1).recv(100)))`,
    },
  ),
  python(
    'kernel-key',
    'a key of the user’s, which no process holds',
    text`
k = ctypes.create_string_buffer(bait['secret'].encode())
call('add_key', b'user', bait['name'].encode(), ctypes.addressof(k), len(bait['secret']), -4)`,
    {
      second: text`
key = call('keyctl', 10, -4, b'user', bait['name'].encode(), 0)
b = ctypes.create_string_buffer(200)
if key > 0 and call('keyctl', 11, key, ctypes.addressof(b), 100) > 0: show(b.value)`,
    },
  ),
  python(
    'file-lock',
    'a lock on a file of the system, held on',
    text`
import fcntl
${shared}
f = open(shared()); fcntl.flock(f, fcntl.LOCK_EX)
if os.fork() == 0: os.closerange(0, 3); os.setsid(); time.sleep(4); os._exit(0)
os._exit(0)`,
    {
      second: text`
import fcntl
${shared}
def go(): fcntl.flock(open(shared()), fcntl.LOCK_SH | fcntl.LOCK_NB)
try: go()
except BlockingIOError: mark('locked')`,
    },
  ),
  sh(
    'scheduled',
    'something that starts it again',
    text`
echo "* * * * * true" | crontab - 2>/dev/null && { mark cron; crontab -r; }
for d in /etc/cron.d /var/spool/cron /var/spool/cron/crontabs /var/spool/at /etc/systemd/system /etc/init.d /etc/profile.d; do [ -w "$d" ] && mark "$d"; done; exit 0`,
  ),
  node(
    'child-let-go',
    'a child that the runtime forgets',
    text`
tried(() => require('node:child_process').spawn('/bin/sh', ['-c', 'sleep 5; : ' + bait.name], { detached: true, stdio: 'ignore' }).on('error', () => {}).unref()); setTimeout(() => process.exit(0), 100)`,
  ),
  node(
    'process-wide-state',
    'what the next job of the same process would see',
    text`
globalThis.left = bait.secret; process.env.LEFT = bait.secret; Object.prototype.left = bait.secret; process.title = bait.secret
require('node:module')._cache.left = bait.secret`,
    {
      second: `show([globalThis.left, process.env.LEFT, ({}).left, process.title].join())`,
    },
  ),
]
