import { casesOf, type ProcessCase } from '../case.ts'

const { node, python, sh } = casesOf('artifacts')
const text = String.raw
const go = 'cd "$MAYFLY_OUT" || exit 1'

/** Files that attack the artifact collector. */
export const artifacts: readonly ProcessCase[] = [
  sh(
    'link-to-root-only',
    'a link to what only the collector may read',
    `${go}; ln -s "$ROOT_FILE" a; exit 0`,
  ),
  sh(
    'link-to-a-file',
    'a link to a file of the host',
    `${go}; ln -s "$OPEN_FILE" a; ln -s /etc/shadow b; exit 0`,
  ),
  sh(
    'link-relative',
    'a link that climbs',
    `${go}; ln -s "../../../../../../../../..$ROOT_FILE" a; exit 0`,
  ),
  sh(
    'link-to-proc',
    'a link into the collector’s own process',
    `${go}; ln -s /proc/self/environ a; ln -s /proc/self/cmdline c; exit 0`,
  ),
  sh(
    'link-to-a-folder',
    'a link to a folder, so that its files seem to be below',
    `${go}; ln -s "$(dirname "$ROOT_FILE")" folder; exit 0`,
  ),
  sh(
    'out-is-a-link',
    'the folder itself is replaced',
    text`rmdir "$MAYFLY_OUT" 2>/dev/null || rm -rf "$MAYFLY_OUT"; ln -s "$(dirname "$ROOT_FILE")" "$MAYFLY_OUT"; exit 0`,
  ),
  sh(
    'link-chain',
    'links to links, and around',
    `${go}; ln -s b a; ln -s c b; ln -s "$ROOT_FILE" c; ln -s x y; ln -s y x; exit 0`,
  ),
  sh(
    'hard-link',
    'another name for a file that is not its own',
    `${go}; ln "$OPEN_FILE" a; ln /etc/passwd b; ln /usr/bin/env c; [ -e a ] && mark linked; exit 0`,
  ),
  sh('fifo', 'a file that holds whoever opens it', `${go}; mkfifo a; exit 0`, { quick: true }),
  python(
    'socket',
    'a file that is no file',
    text`
os.chdir(os.environ['MAYFLY_OUT']); s = socket.socket(socket.AF_UNIX); s.bind('a'); s.listen()`,
  ),
  python(
    'device',
    'a file without an end',
    text`
os.chdir(os.environ['MAYFLY_OUT'])
tried(lambda: os.symlink('/dev/zero', 'a'), lambda: os.mknod('b', 0o666 | 0o020000, os.makedev(1, 5)))`,
    { quick: true },
  ),
  sh('sparse-giant', 'ten gigabytes that are nothing', `${go}; truncate -s 10G a; exit 0`, {
    quick: true,
  }),
  sh(
    'sparse-many',
    'many files, each below the bound',
    `${go}; i=0; while [ $i -lt 20 ]; do truncate -s 30M f$i; i=$((i+1)); done; exit 0`,
    { quick: true },
  ),
  python(
    'many-files',
    'more than anybody wants',
    text`
os.chdir(os.environ['MAYFLY_OUT'])
def make():
    for i in range(30000): os.close(os.open('f%d' % i, os.O_CREAT | os.O_WRONLY))
tried(make)`,
  ),
  python(
    'many-folders',
    'folders are files too',
    text`
os.chdir(os.environ['MAYFLY_OUT'])
def make():
    for i in range(3000): os.mkdir('d%d' % i); open('d%d/f' % i, 'w').close()
tried(make)`,
  ),
  python(
    'deep',
    'a path that has no end',
    text`
os.chdir(os.environ['MAYFLY_OUT'])
def make():
    for i in range(2500): os.mkdir('d'); os.chdir('d')
    open('f', 'w').close()
tried(make)`,
  ),
  python(
    'names',
    'dots, newlines, tabs, stars, minus, backslashes and what is no UTF-8',
    text`
os.chdir(os.environ['MAYFLY_OUT'])
for name in (b'..x', b'...', b'a\nb', b'a\tb', b'-rf', b'*', b'a\\..\\b', b'\xff\xfe', b' ', b'a\x7fb', b'\xe2\x80\xae.exe', b'C:', b'a' * 255, b'%2e%2e%2fx', b'__proto__', b'\x1b[31m'):
    tried(lambda: open(name, 'wb').write(b'x'))`,
  ),
  python(
    'folder-names',
    'folders that look like ways',
    text`
os.chdir(os.environ['MAYFLY_OUT'])
for name in ('..%2f', '..\\', ' ..', '.. ', '...'):
    tried(lambda: os.mkdir(name), lambda: open(name + '/f', 'w').write('x'))`,
  ),
  python(
    'link-race',
    'a file becomes a link while it is collected',
    text`
os.chdir(os.environ['MAYFLY_OUT'])
if os.fork() == 0:
    os.closerange(0, 3); os.setsid(); end = time.time() + 4
    open('file', 'w').write('x'); os.symlink(bait['rootFile'], 'link')
    while time.time() < end:
        try: call('renameat2', -100, b'file', -100, b'link', 2)
        except OSError: pass
    os._exit(0)
time.sleep(0.1)`,
  ),
  python(
    'folder-race',
    'a folder becomes a link while it is walked',
    text`
os.chdir(os.environ['MAYFLY_OUT'])
os.mkdir('d'); open('d/root', 'w').write('x'); os.symlink(os.path.dirname(bait['rootFile']), 'l')
if os.fork() == 0:
    os.closerange(0, 3); os.setsid(); end = time.time() + 4
    while time.time() < end: call('renameat2', -100, b'd', -100, b'l', 2)
    os._exit(0)
time.sleep(0.1)`,
  ),
  python(
    'growing',
    'a file that grows while it is read',
    text`
os.chdir(os.environ['MAYFLY_OUT'])
if os.fork() == 0:
    os.closerange(0, 3); os.setsid(); end = time.time() + 3
    f = open('grows', 'ab')
    try:
        while time.time() < end and f.tell() < 200 * 2**20: f.write(b'x' * 65536); f.flush()
    finally: os._exit(0)
time.sleep(0.1)`,
  ),
  python(
    'unreadable',
    'files and folders that refuse their own collector',
    text`
os.chdir(os.environ['MAYFLY_OUT'])
os.mkdir('d'); open('d/f', 'w').close(); open('f', 'w').close(); os.chmod('f', 0); os.chmod('d', 0)`,
  ),
  sh(
    'archive-tricks',
    'an archive with a link and then a file below it, unpacked by itself',
    text`${go}
ln -s "$(dirname "$MARK_FILE")" way; echo "$NAME" > "way/$(basename "$MARK_FILE")" 2>/dev/null; exit 0`,
  ),
  node(
    'mapped-and-held',
    'files that stay open in the runner',
    text`
const out = process.env.MAYFLY_OUT
for (let i = 0; i < 200; i++) fs.openSync(out + '/f' + i, 'w')
fs.symlinkSync(bait.rootFile, out + '/z'); tried(() => fs.linkSync(bait.openFile, out + '/h'))`,
  ),
]
