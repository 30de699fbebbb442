import { casesOf, type ProcessCase } from '../case.ts'

const { node, python, sh } = casesOf('files')
const text = String.raw
const x = 'brought'
const expect = ['ok', 'error', 'rejected', 'limit'] as const
/** Looks for the file in the wall, which the host does not see. */
const look = `[ -e /tmp/hostile-climbed ] && mark climbed; exit 0`

/** Job files with dangerous names. */
export const files: readonly ProcessCase[] = [
  sh('climbing', 'a name with dots', look, {
    expect,
    files: [{ path: '../../../../tmp/hostile-climbed', content: x }],
  }),
  sh('climbing-inside', 'dots in the middle', look, {
    expect,
    files: [{ path: 'a/../../../tmp/hostile-climbed', content: x }],
  }),
  sh('absolute', 'a name from the root', look, {
    expect,
    files: [{ path: '/tmp/hostile-climbed', content: x }],
  }),
  sh('with-nul', 'a name with an end in its middle', `exit 0`, {
    expect,
    files: [{ path: 'a\0/../../b', content: x }],
  }),
  sh('empty-parts', 'slashes, dots and nothing', `ls -la; exit 0`, {
    expect,
    files: [
      { path: './/a/./b//c', content: x },
      { path: 'd/', content: x },
    ],
  }),
  sh('folder-and-file', 'the same name as a file and as a folder', `exit 0`, {
    expect,
    files: [
      { path: 'a', content: x },
      { path: 'a/b', content: x },
    ],
  }),
  sh('same-twice', 'the same name twice', `cat a; exit 0`, {
    expect,
    files: [
      { path: 'a', content: '1' },
      { path: 'a', content: '2' },
    ],
  }),
  sh(
    'over-the-program',
    'names that a runner may use for itself',
    `cat main.sh job result out 2>/dev/null; exit 0`,
    {
      expect,
      files: [
        'main.sh',
        'main.py',
        'main.js',
        'job',
        'result',
        'out',
        'out/a',
        '.mayfly',
        'index.js',
      ].map((path) => ({
        path,
        content:
          path.endsWith('.sh') || path === 'job'
            ? `printf 'ESC''APED:shadowed'`
            : `print('ESC' + 'APED:shadowed')`,
      })),
    },
  ),
  sh('over-the-result', 'the file of the result is brought along', `ls -la; exit 0`, {
    expect,
    files: [
      { path: 'out/result', content: x },
      { path: '.result', content: '"forged"' },
    ],
  }),
  sh('two-thousand', 'as many as may come', `ls | wc -l; exit 0`, {
    expect,
    files: Array.from({ length: 2_000 }, (_, i) => ({ path: `many/f${i}`, content: 'x' })),
  }),
  sh('longest-name', 'a name as long as may be, and longer', `exit 0`, {
    expect,
    files: [
      { path: 'n'.repeat(255), content: x },
      { path: 'n'.repeat(256), content: x },
    ],
  }),
  sh('deepest-path', 'many folders', `exit 0`, {
    expect,
    files: [{ path: `${'d/'.repeat(500)}f`, content: x }],
  }),
  python('too-large', 'more than the disk that was given', `print(os.listdir('.'))`, {
    expect,
    files: Array.from({ length: 4 }, (_, i) => ({
      path: `l${i}`,
      content: 'x'.repeat(7 * 2 ** 20),
    })),
  }),
  node('names-of-objects', 'names that mean something to JavaScript', `show(fs.readdirSync('.'))`, {
    expect,
    files: ['__proto__', 'constructor', 'toString/valueOf', 'hasOwnProperty'].map((path) => ({
      path,
      content: x,
    })),
  }),
  python(
    'written-back',
    'what was brought is changed for the next job',
    text`
for name in os.listdir('.'):
    tried(lambda: open(name, 'a').write('changed by ' + bait['secret']))`,
    {
      files: [{ path: 'a', content: 'as brought' }],
      second: `print(os.listdir('.'))\nfor n in os.listdir('.'):\n    if os.path.isfile(n): show(read(n))`,
    },
  ),
]
