import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { compilePython } from '../../src/images/compile-python.ts'
import { openSpool } from '../../src/images/spool.ts'
import { ImageTree } from '../../src/images/tree.ts'

/** A script in place of the image's loader plays the interpreter. */
const skip = process.platform !== 'linux' && 'it needs Linux'
const library = 'usr/lib/x86_64-linux-gnu'
const parts = ['libc.so.6', 'libm.so.6', 'libz.so.1', 'libexpat.so.1'].map(
  (name) => `${library}/${name}`,
)
const modules = ['os.py', 'encodings/__init__.py', 'encodings/aliases.py', 'encodings/utf_8.py']
const places = [
  'usr/bin/python3.13',
  ...parts,
  ...modules.map((one) => `usr/lib/python3.13/${one}`),
]
const loader = 'usr/lib64/ld-linux-x86-64.so.2'
/** Writes `bytes` to the path of its last argument, and prints `lines`. */
const saying = (lines: string, bytes = '') =>
  `#!/bin/sh\nfor into; do :; done\nprintf '${bytes}' > "$into"\nprintf '${lines}'\n`

async function compile(
  script: string,
  { without, sources = ['usr/lib/python3/**.py'] }: { without?: string; sources?: string[] } = {},
) {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-compile-'))
  try {
    using spool = openSpool(join(folder, 'spool'))
    const tree = new ImageTree()
    const add = (path: string, text: string) => {
      const at = spool.size
      spool.write(Buffer.from(text))
      tree.add({ kind: 'file', path, mode: 0o755, size: Buffer.byteLength(text), target: '' }, at)
    }
    for (const place of places.filter((one) => one !== without)) add(place, '')
    if (without !== loader) add(loader, script)
    const link = {
      kind: 'link',
      path: 'usr/bin/python3',
      mode: 0o777,
      size: 0,
      target: 'python3.13',
    } as const
    tree.add(link, 0)
    add('usr/lib/python3/a.py', 'a = 1\n')
    add('usr/lib/python3/b/c.py', ')')
    const failed = await compilePython({
      tree,
      spool,
      spoolFile: join(folder, 'spool'),
      sources,
      architecture: 'amd64',
      folder: join(folder, 'python'),
      signal: undefined,
    })
    const made = tree.filesMatching(['**.pyc'])
    return [failed, made.map(([place, { at, size }]) => [place, String(spool.read(at, size))])]
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

suite('Compiling the Python of an image', { skip }, () => {
  test('adds a file for each source that compiles, beside it', async () => {
    assert.deepEqual(await compile(saying('.cpython-313.pyc\\n3\\n0\\n', 'pyc')), [
      1,
      [['usr/lib/python3/__pycache__/a.cpython-313.pyc', 'pyc']],
    ])
    assert.deepEqual(await compile(saying(''), { sources: ['usr/share/**.py'] }), [0, []])
  })

  test('needs an interpreter, its loader and its libraries in the image', async () => {
    for (const without of [loader, parts[1]!, 'usr/bin/python3.13', 'usr/lib/python3.13/os.py'])
      await assert.rejects(compile(saying(''), { without }), { code: 'INVALID' }, without)
  })

  const answers: Readonly<Record<string, readonly [script: string, cause: RegExp]>> = {
    'too few sizes': [saying('.cpython-313.pyc\\n3\\n', 'pyc'), /malformed/],
    'a size for more sources than there are': [
      saying('.cpython-313.pyc\\n1\\n1\\n1\\n', 'pyc'),
      /malformed/,
    ],
    'a suffix that is a path': [saying('/../../../x\\n3\\n0\\n', 'pyc'), /malformed/],
    'fewer bytes than it says': [saying('.cpython-313.pyc\\n4\\n0\\n', 'pyc'), /truncated/],
    'a size below zero': [saying('.cpython-313.pyc\\n-1\\n0\\n', 'pyc'), /reports -1 bytes/],
    'a size above every bound': [
      saying('.cpython-313.pyc\\n99999999999\\n0\\n', 'pyc'),
      /reports 99999999999 bytes/,
    ],
    'an exit code': ['#!/bin/sh\nexit 3\n', /ended with 3/],
    'an answer without an end': ['#!/bin/sh\nexec yes\n', /too large/],
  }
  for (const [what, [script, cause]] of Object.entries(answers))
    test(`Attack: an interpreter that answers with ${what} is refused`, async () => {
      await assert.rejects(compile(script), cause)
    })
})
