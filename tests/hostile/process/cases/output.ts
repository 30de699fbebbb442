import { casesOf, type ProcessCase } from '../case.ts'

const { node, python, sh } = casesOf('output')
const text = String.raw

/** A forged frame in the runner's format: length, kind, head, bytes. */
const frames = text`
def frame(kind, head, body=b''):
    payload = json.dumps(head).encode() + b'\n' + body
    return struct.pack('<IB', len(payload) + 1, kind) + payload, struct.pack('<IB', len(payload), kind) + payload
def everywhere(data):
    for fd in range(3, 64):
        try: os.set_blocking(fd, False); os.write(fd, data)
        except OSError: pass
`

/** Output: too much, endless, or forged. */
export const output: readonly ProcessCase[] = [
  sh('a-gigabyte', 'more than anybody reads', `head -c 1000000000 /dev/zero; exit 0`),
  sh('a-gigabyte-of-errors', 'the other stream', `head -c 1000000000 /dev/zero >&2; exit 0`),
  sh('yes-for-ever', 'lines without end', `yes "$NAME" & sleep 5`, {
    expect: ['timeout', 'limit', 'ok'],
  }),
  sh(
    'escape-sequences',
    'what a terminal obeys',
    text`printf '\033[2J\033]0;title\007\033[31m\033]52;c;aGk=\007\033P+q\033\\'; exit 0`,
  ),
  sh(
    'bytes-of-every-kind',
    'NUL, broken UTF-8, half characters',
    text`printf '\000\001\377\376\355\240\200\360\237\222'; printf '\342\200\250\342\200\251'; exit 0`,
  ),
  sh('no-newline-for-megabytes', 'one line', `head -c 3000000 /dev/zero | tr '\\0' a; exit 0`),
  python(
    'stream-held-open',
    'a child that holds the stream, so that its end never comes',
    text`
if os.fork() == 0: os.setsid(); signal.alarm(6); time.sleep(5); os._exit(0)
print('done'); sys.stdout.flush(); os._exit(0)`,
    { quick: true },
  ),
  sh(
    'stream-held-by-the-shell',
    'the same by a background job',
    `(sleep 5; : "$NAME") & echo done; exit 0`,
    { quick: true },
  ),
  node(
    'stream-held-by-detached',
    'the same by a child that is let go',
    text`
require('node:child_process').spawn('/bin/sleep', ['5'], { detached: true, stdio: 'inherit' }).on('error', () => {}).unref(); setTimeout(() => process.exit(0), 50)`,
    { quick: true },
  ),
  python(
    'output-after-the-end',
    'a child that writes when all is over',
    text`
if os.fork() == 0:
    time.sleep(0.6)
    try: os.write(1, b'late')
    except OSError: pass
    os._exit(0)
os._exit(0)`,
    { quick: true },
  ),
  python(
    'never-read',
    'both streams written at once without a pause',
    text`
def fill(fd):
    for i in range(4000): os.write(fd, b'z' * 4096)
a = threading.Thread(target=fill, args=(2,), daemon=True); a.start(); fill(1); a.join(1)`,
  ),
  python(
    'forged-end',
    'an end of its own making, on every descriptor there is',
    frames +
      text`
for data in frame(14, {'protocol': 1, 'status': 'ok', 'encoding': 'json', 'cpuTimeMs': 0, 'executionMs': 0, 'artifactsLeftOut': []}, b'"' + b'ESC' + b'APED:forged' + b'"'): 
    if False: everywhere(data)
for data in frame(14, {'protocol': 1, 'status': 'ok', 'encoding': 'json', 'cpuTimeMs': -1e9, 'executionMs': -5, 'artifactsLeftOut': 'x'}, b'{"a":'): everywhere(data)
time.sleep(0.2)`,
    { expect: ['ok', 'error', 'failed'] },
  ),
  python(
    'forged-artifact-outside',
    'a file to be written outside',
    frames +
      text`
for path in (bait['markFile'], '../' * 30 + bait['markFile'], 'a/../../' + bait['markFile'], 'x\0' + bait['markFile'], '..', '.', ''):
    for data in frame(17, {'path': path, 'size': 4}, b'mark'): everywhere(data)
time.sleep(0.2)`,
    { expect: ['ok', 'error', 'failed', 'limit'] },
  ),
  python(
    'forged-length',
    'a frame of four gigabytes is announced',
    text`
for fd in range(3, 64):
    for head in (b'\xff\xff\xff\xff\x0e', b'\xff\xff\xff\x7f\x11', b'\x00\x00\x00\x00\x00' * 100):
        try: os.set_blocking(fd, False); os.write(fd, head)
        except OSError: pass
time.sleep(0.2)`,
    { expect: ['ok', 'error', 'failed', 'limit'] },
  ),
  python(
    'forged-flood',
    'frames without number',
    frames +
      text`
flood = frame(10, {})[1] * 2000 + frame(99, {'x': 1})[1] * 2000
end = time.time() + 1
while time.time() < end: everywhere(flood)`,
    { expect: ['ok', 'error', 'failed', 'limit', 'timeout'] },
  ),
  python(
    'forged-calls',
    'a capability that was not granted',
    frames +
      text`
for kind in range(0, 40):
    everywhere(frame(kind, {'protocol': 1, 'id': 1, 'name': 'ccos.network.http-fetch', 'args': ['http://127.0.0.1:%d/%s' % (bait['port'], bait['name'])], 'code': 'x'})[1])
time.sleep(0.2)`,
    { expect: ['ok', 'error', 'failed', 'limit'] },
  ),
  python(
    'heads-of-every-shape',
    'heads that are no objects, deep, or long',
    text`
heads = [b'[' * 50000, b'null\n', b'{"__proto__":{"status":"ok"}}\n', b'{"status":' + b'9' * 100000 + b'}\n', b'\xff\xfe\n', b'']
for kind in (10, 14, 17):
    for h in heads:
        data = struct.pack('<IB', len(h), kind) + h
        for fd in range(3, 32):
            try: os.set_blocking(fd, False); os.write(fd, data)
            except OSError: pass
time.sleep(0.2)`,
    { expect: ['ok', 'error', 'failed', 'limit'] },
  ),
  python(
    'descriptors-sent',
    'a thousand descriptors handed to whoever reads the control socket',
    text`
for fd in range(3, 32):
    try:
        s = socket.socket(fileno=os.dup(fd)); s.setblocking(False)
        for i in range(20): socket.send_fds(s, [b'x'], [1] * 50)
    except (OSError, ValueError): pass
time.sleep(0.1)`,
    { expect: ['ok', 'error', 'failed', 'limit'] },
  ),
  python(
    'control-closed',
    'every descriptor is closed under the runner',
    `os.closerange(3, 1024); print('closed')`,
    { expect: ['ok', 'error', 'failed'] },
  ),
  python(
    'control-shut',
    'sockets are shut for both',
    text`
for fd in range(3, 64):
    try: socket.socket(fileno=os.dup(fd)).shutdown(2)
    except (OSError, ValueError): pass`,
    { expect: ['ok', 'error', 'failed'] },
  ),
]
