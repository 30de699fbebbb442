import { casesOf, type ProcessCase } from '../case.ts'

const { node, python, sh } = casesOf('disk')
const over = { over: 'disk' } as const
const text = String.raw

/** Disk usage beyond the limit. Uncontained they write some hundred megabytes and end. */
export const disk: readonly ProcessCase[] = [
  python(
    'one-large-file',
    'until it is full',
    text`
block = b'x' * 2**20
def fill():
    with open('large', 'wb') as f:
        for i in range(250): f.write(block)
tried(fill); time.sleep(0.1)`,
    over,
  ),
  sh(
    'dd',
    'a tool, and the folder for temporary files',
    `dd if=/dev/zero of="/tmp/$NAME" bs=1M count=250 2>/dev/null; sleep 0.1; exit 0`,
    over,
  ),
  python(
    'both-folders',
    'the working folder and the temporary one have one bound together',
    text`
block = b'x' * 2**20
for folder in ('.', '/tmp'):
    def fill():
        with open(folder + '/' + bait['name'], 'wb') as f:
            for i in range(60): f.write(block); f.flush()
    tried(fill)
time.sleep(0.1)`,
    over,
  ),
  python(
    'many-middling-files',
    'no file is large',
    text`
def fill():
    for i in range(2000):
        with open('f%d' % i, 'wb') as f: f.write(b'x' * 131072)
tried(fill); time.sleep(0.1)`,
    over,
  ),
  python(
    'allocated-at-once',
    'space is taken without writing',
    text`
def take():
    fd = os.open('taken', os.O_CREAT | os.O_RDWR)
    os.posix_fallocate(fd, 0, 250 * 2**20)
tried(take); time.sleep(0.1)`,
    over,
  ),
  python(
    'removed-but-open',
    'a file without a name still takes its space',
    text`
block = b'x' * 2**20
f = open('ghost', 'wb'); os.unlink('ghost')
def fill():
    for i in range(250): f.write(block)
tried(fill); time.sleep(0.2)`,
    over,
  ),
  python(
    'mapped-file',
    'written through memory, so that no write is ever called',
    text`
import mmap
def fill():
    with open('mapped', 'w+b') as f:
        f.truncate(250 * 2**20)
        m = mmap.mmap(f.fileno(), 0)
        for i in range(0, len(m), 4096): m[i] = 1
tried(fill); time.sleep(0.1)`,
    over,
  ),
  python(
    'sparse-terabyte',
    'a size that is no space, for whoever trusts the size',
    text`
def make():
    with open('sparse', 'wb') as f: f.truncate(2**40)
tried(make)`,
  ),
  python(
    'many-inodes',
    'empty files take no blocks',
    text`
made = 0
try:
    for i in range(20000): os.close(os.open('e%d' % i, os.O_CREAT | os.O_WRONLY)); made += 1
except OSError as e: print(e.errno)
print('made', made)`,
  ),
  python(
    'deep-folders',
    'a path longer than any path may be',
    text`
depth = 0
try:
    for i in range(3000): os.mkdir('d'); os.chdir('d'); depth += 1
except OSError as e: print(e.errno)
print('depth', depth)`,
  ),
  python(
    'giant-names',
    'names of 255 bytes, thousands of them',
    text`
try:
    for i in range(4000): os.close(os.open(('%05d' % i) + 'n' * 250, os.O_CREAT | os.O_WRONLY))
except OSError as e: print(e.errno)`,
  ),
  python(
    'extended-attributes',
    'attributes are space beside the file',
    text`
os.close(os.open('x', os.O_CREAT | os.O_WRONLY))
def fill():
    for i in range(2000): os.setxattr('x', 'user.a%d' % i, b'x' * 4000)
tried(fill)`,
  ),
  sh(
    'system-folders',
    'any folder of the host that may be written',
    text`
for folder in /usr /etc /bin /lib /var /var/tmp /run /opt /home /root /mnt /srv /boot /; do
  ( : > "$folder/$NAME" ) 2>/dev/null && { case "$folder" in /) ;; *) : ;; esac; }
done; exit 0`,
  ),
  node(
    'asynchronous-fill',
    'many writes under way at once',
    text`
const block = Buffer.alloc(2 ** 20, 1)
for (let i = 0; i < 250; i++) fs.writeFile('a' + i, block, () => {})`,
    over,
  ),
  node(
    'copy-forever',
    'a file copied beside itself',
    text`
fs.writeFileSync('c', Buffer.alloc(5 * 2 ** 20, 1))
tried(() => { for (let i = 0; i < 50; i++) fs.copyFileSync('c', 'c' + i) })`,
    over,
  ),
]
