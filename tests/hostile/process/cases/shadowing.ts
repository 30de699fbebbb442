import { casesOf, type ProcessCase } from '../case.ts'

const { node, python, sh } = casesOf('shadowing')
const text = String.raw

/** Writes the mark if loaded before the job's own program. */
const pyMark = `import sys
if 'hostile_main' not in sys.modules:
    print('ESC' + 'APED:loaded:' + __name__)
`
const jsMark = `if (!globalThis.hostileMain) console.log('ESC' + 'APED:loaded:' + __filename)\nmodule.exports = {}\n`

/** Files with names that a runner or an interpreter loads automatically. */
export const shadowing: readonly ProcessCase[] = [
  python('site-customisation', 'a module that every start loads', `print('ran')`, {
    files: ['sitecustomize.py', 'usercustomize.py', 'site.py'].map((path) => ({
      path,
      content: pyMark,
    })),
  }),
  python('standard-modules', 'modules of the runner’s own', `print('ran')`, {
    files: [
      'json.py',
      'os.py',
      'struct.py',
      'socket.py',
      'ast.py',
      'io.py',
      'signal.py',
      'types.py',
      'encodings.py',
      'codecs.py',
      'traceback.py',
      'select.py',
    ].map((path) => ({ path, content: pyMark })),
  }),
  python('packages', 'the same as folders', `print('ran')`, {
    files: [
      'json/__init__.py',
      'encodings/__init__.py',
      'collections/__init__.py',
      'importlib/__init__.py',
    ].map((path) => ({ path, content: pyMark })),
  }),
  python('paths-by-files', 'files that add to where modules are looked for', `print('ran')`, {
    files: [
      { path: 'evil.pth', content: `import os; os.write(1, b'ESC' b'APED:pth')` },
      { path: 'pyvenv.cfg', content: 'home = /work\n' },
      { path: 'python311._pth', content: '.\n' },
    ],
  }),
  node('modules-by-name', 'modules with names of built-in ones', `show('ran')`, {
    files: [
      'node_modules/fs/index.js',
      'node_modules/net/index.js',
      'node_modules/module/index.js',
      'node_modules/node:fs/index.js',
    ].map((path) => ({ path, content: jsMark })),
  }),
  node(
    'package-of-the-folder',
    'what kind of modules there are, and their aliases',
    `show('ran')`,
    {
      files: [
        {
          path: 'package.json',
          content: JSON.stringify({
            type: 'commonjs',
            main: './evil.cjs',
            imports: { '#a': './evil.cjs' },
            exports: './evil.cjs',
          }),
        },
        { path: 'evil.cjs', content: jsMark },
      ],
    },
  ),
  node('package-broken', 'a package file that is none', `show('ran')`, {
    files: [{ path: 'package.json', content: '{"type": ' }],
  }),
  node('options-by-file', 'options from files', `show('ran')`, {
    files: [
      { path: '.env', content: 'NODE_OPTIONS=--require ./evil.cjs' },
      { path: 'node.config.json', content: '{"nodeOptions":{"require":["./evil.cjs"]}}' },
      { path: '.noderc', content: '--require ./evil.cjs' },
      { path: 'evil.cjs', content: jsMark },
    ],
  }),
  node(
    'node-options-for-children',
    'what a child of the runner is started with',
    text`
process.env.NODE_OPTIONS = '--require ' + process.cwd() + '/evil.cjs'; process.env.LD_PRELOAD = '/work/x.so'; process.env.NODE_PATH = '/work'
show('ran')`,
    {
      files: [{ path: 'evil.cjs', content: `console.log('ESC' + 'APED:child')` }],
    },
  ),
  sh(
    'start-files-of-shells',
    'files that shells read as they start',
    `export ENV="$PWD/evil"; echo ran; exit 0`,
    {
      files: ['.profile', '.bashrc', '.shrc', 'evil', '.bash_profile'].map((path) => ({
        path,
        content: `printf 'ESC''APED:profile'\n`,
      })),
    },
  ),
  sh('programs-by-name', 'programs with names of tools', `echo ran; exit 0`, {
    files: ['sh', 'node', 'python3', 'cat', 'ls', 'env', 'bwrap', 'unshare'].map((path) => ({
      path,
      content: `#!/bin/sh\nprintf 'ESC''APED:program'\n`,
    })),
  }),
  sh(
    'libraries-by-name',
    'libraries where a loader may look',
    `export LD_LIBRARY_PATH=. ; echo ran; exit 0`,
    {
      // A loader that took one of them would end the program before its first line.
      expect: ['ok'],
      files: ['libc.so.6', 'libdl.so.2', 'libm.so.6', 'ld.so.preload'].map((path) => ({
        path,
        content: 'no library',
      })),
    },
  ),
]
