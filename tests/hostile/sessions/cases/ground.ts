import { sessionCasesOf, type SessionCase } from '../case.ts'

const { python, node, bash, sh } = sessionCasesOf('ground')
const text = String.raw
/** A pipe, a folder or a symbolic link in place of each file that the manager writes for the next exec. */
const planted = (how: string) => text`
tmp="$TMPDIR"
for n in 2 3 4 5 6 7 8 9; do for name in .mayfly-cell-$n.sh .mayfly-cell-$n.js.sh; do ${how} "$tmp/$name" 2>/dev/null; done; done
for name in .mayfly-stdin .mayfly-input; do rm -f "$tmp/$name"; ${how} "$tmp/$name" 2>/dev/null; done
:`

/** Attacks on folders, files, disk space and limits that a later exec needs. */
export const ground: readonly SessionCase[] = [
  python('working-folder', 'another working folder, or none', [
    'import os\nos.makedirs("gone"); os.chdir("gone"); os.rmdir("../gone")',
  ]),
  python(
    'full-disk',
    'no room for the input and the files of a later exec',
    [
      text`
try:
    with open('full', 'wb') as file:
        while True: file.write(b'x' * 2**20)
except OSError: pass`,
      { command: 'rm -f full' },
    ],
    { limits: { disk: '32MB' } },
  ),
  python(
    'no-descriptors',
    'every descriptor of the interpreter is taken',
    [
      text`
import os
try:
    while True: os.open('/dev/null', os.O_RDONLY)
except OSError: pass`,
    ],
    { spares: 'manager' },
  ),
  python(
    'limits-of-the-interpreter',
    'limits that a later cell runs under',
    [
      text`
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))`,
    ],
    { spares: 'manager' },
  ),
  python(
    'limits-of-the-manager',
    'limits of the process that serves the next exec',
    [
      text`
import os, resource
for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC, resource.RLIMIT_CPU):
    try: resource.prlimit(os.getppid(), kind, (0, 0))
    except (OSError, ValueError): pass`,
    ],
    { spares: 'session' },
  ),
  python('input-replaced', 'a folder in the place of the input and of the result', [
    text`
import os
for name in ('.mayfly-input', '.mayfly-result'):
    place = os.path.join(os.environ['TMPDIR'], name)
    if os.path.lexists(place): os.unlink(place)
    os.mkdir(place)`,
  ]),
  python('pipe-for-input', 'a pipe in the place of the input and of the result', [
    text`
import os
for name in ('.mayfly-input', '.mayfly-result'):
    place = os.path.join(os.environ['TMPDIR'], name)
    if os.path.lexists(place): os.unlink(place)
    os.mkfifo(place)`,
  ]),
  python(
    'many-files',
    'ten thousand files, which each later exec looks through',
    [
      text`
import os
os.mkdir('many')
for n in range(10_000): os.close(os.open(f'many/{n}', os.O_CREAT | os.O_WRONLY))`,
    ],
    { limits: { disk: '256MB' } },
  ),
  python('deep-folders', 'a folder deeper than any path', [
    text`
import os
here = os.getcwd()
for _ in range(400):
    os.mkdir('d' * 100); os.chdir('d' * 100)
os.chdir(here)`,
    { owner: (box) => box.files.list() },
  ]),
  python('locked-folders', 'folders and files that nobody may read', [
    text`
import os
os.makedirs('locked/in'); open('shut', 'w').close()
os.chmod('shut', 0); os.chmod('locked', 0)`,
    { owner: async (box) => assertListed(await box.files.list(), 'shut') },
  ]),
  python('umask', 'files of later execs that nobody may read', ['import os\nos.umask(0o777)']),
  python('links-out', 'links in the place of files that a later put and get follow', [
    text`
import os
aim = os.path.join(os.environ['TMPDIR'], 'aim')
os.mkdir(aim); open(aim + '/kept', 'w').close(); os.symlink(aim, 'out-link'); os.symlink(aim + '/kept', 'in.txt')`,
    { owner: (box) => box.files.put('in.txt', 'put') },
    { owner: (box) => box.files.put('out-link/kept', 'put').catch(() => undefined) },
    { owner: (box) => box.files.put('out-link/new/kept', 'put').catch(() => undefined) },
    text`if os.listdir(aim) != ['kept'] or os.path.getsize(aim + '/kept'): print('ESC' + 'APED:put', os.listdir(aim))`,
  ]),
  node('pipes-for-node', 'pipes in the place of files that the manager writes', [
    { command: planted('mkfifo') },
  ]),
  node(
    'working-folder-of-node',
    'a working folder that is gone',
    [
      text`const fs = require('node:fs'); fs.mkdirSync('gone'); process.chdir('gone'); fs.rmdirSync('../gone'); process.umask(0o777); undefined`,
    ],
    { prints: true },
  ),
  node(
    'pipes-of-the-manager',
    'the manager’s own pipes, by /proc: libuv reads pointers from one of them',
    [
      {
        command: text`for fd in /proc/$PPID/fd/*; do case $(readlink $fd) in pipe:*) (printf 'AAAAAAAAAAAAAAAA' > $fd) 2>/dev/null;; esac; done; :`,
      },
    ],
    { spares: 'session' },
  ),
  bash('pipes-for-bash', 'pipes in the place of the files that hold the next cells', [
    planted('mkfifo'),
  ]),
  bash('folders-for-bash', 'folders in the place of the files that hold the next cells', [
    planted('mkdir'),
  ]),
  bash('links-for-bash', 'links in the place of the files that hold the next cells', [
    planted('ln -s "$HOME/aim"'),
    ':',
    `[ -e "$HOME/aim" ] && printf 'ESC''APED:followed\\n'; :`,
  ]),
  bash(
    'limits-of-bash',
    'limits that a later cell runs under',
    ['ulimit -f 0; ulimit -n 40; ulimit -t 1'],
    { spares: 'manager' },
  ),
  bash('stty', 'settings of a terminal that is not there', [
    'stty -echo raw 2>/dev/null\nstty sane < /dev/tty 2>/dev/null\n:',
  ]),
  sh('folder-gone', 'the working folder itself', [
    'cd /; rm -rf "$HOME"/* 2>/dev/null; rmdir "$HOME" 2>/dev/null; :',
  ]),
  sh('result-kept-open', 'the descriptor of the result, in a background process', [
    '(n=0; while [ $n -lt 30 ]; do echo forged >&3; sleep 0.05; n=$((n + 1)); done) &',
  ]),
]

function assertListed(entries: readonly { readonly path: string }[], path: string): void {
  if (!entries.some((one) => one.path === path)) throw new Error(`"${path}" is not listed`)
}
