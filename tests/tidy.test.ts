import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { suite, test } from 'node:test'
import { deadFiles } from './tidy/dead.ts'
import { documentFaults, promiseFaults, promisesIn } from './tidy/documents.ts'
import { importFaults } from './tidy/imports.ts'
import { nativeFaults } from './tidy/native.ts'
import {
  countFaults,
  dependencyFaults,
  type Lock,
  joinedPackages,
  lockFaults,
  type Manifest,
  scriptFaults,
} from './tidy/packages.ts'
import { serverLoadFaults } from './tidy/server-loads.ts'
import {
  duplicateTypes,
  duplicateValues,
  importCycles,
  longFunctionFaults,
  openerFaults,
  shapesOf,
} from './tidy/shape.ts'
import { isTest, readTree, root, type Source } from './tidy/tree.ts'
import { wordFaults } from './tidy/words.ts'

const tree = readTree()
const shapes = shapesOf(tree)
const entry = 'src/cli/main.ts'

suite('The house is tidy', () => {
  test('Imports go one way, rooms never import each other, and only the warden starts processes', () => {
    assert.deepEqual(importFaults(tree), [])
  })

  test('No program of the server loads native code that reads or runs what nobody trusts', () => {
    assert.deepEqual(nativeFaults(tree, [entry, 'src/index.ts', 'src/assemble/assemble.ts']), [])
  })

  test('The server loads nothing of os/, jail/ or warden/, also indirectly', () => {
    const entries = [
      'src/assemble/assemble.ts',
      'src/cli/serve.ts',
      'src/gateway/server.ts',
      'src/index.ts',
    ]
    assert.deepEqual(serverLoadFaults(tree, entries), [])
  })

  test('Comments and test titles open with their noun or verb', () => {
    assert.deepEqual(openerFaults(shapes), [])
  })

  test('No function is longer than 70 lines; groups of tests are lists, and not measured', () => {
    assert.deepEqual(longFunctionFaults(shapes), [])
  })

  test('An exported type name is defined once, and no files import each other in a circle', () => {
    const own = tree.filter(({ path }) => path.startsWith('src/') && !isTest(path))
    const ownPaths = new Set(own.map(({ path }) => path))
    const ownShapes = shapes.filter(({ path }) => ownPaths.has(path))
    assert.deepEqual([...duplicateTypes(ownShapes)], [])
    const values = ownShapes.filter(({ path }) => !path.startsWith('src/web/'))
    assert.deepEqual([...duplicateValues(values)], [])
    const guests = tree.filter(({ path }) => path.startsWith('guest/'))
    assert.deepEqual(importCycles([...own, ...guests]), [])
  })

  test('Only its two folders, the two tables and the names of tiers know gVisor', () => {
    const own =
      /^src\/(tiers\/gvisor\/|warden\/engines\/(runsc\/|index\.ts)|assemble\/providers\.ts|contract\/tier\.ts)/
    const others = tree.filter(({ path }) => path.startsWith('src/') && !own.test(path))
    // The name of the tier is a word that configuration and profiles use like any other tier's.
    const named = others.filter(({ path, text }) => {
      const tierWord = /(['"\s])gvisor\1|^\s*gvisor:/gm
      return !isTest(path) && /gvisor|runsc/i.test(text.replace(tierWord, ''))
    })
    assert.deepEqual(
      named.map(({ path }) => path),
      [],
    )
  })

  test('Only its folders, the two tables, the names of tiers and the fixes of doctor know QEMU', () => {
    const own =
      /^src\/(tiers\/microvm\/|warden\/engines\/(qemu\/|index\.ts)|assemble\/providers\.ts|contract\/tier\.ts|cli\/missing-layers\.ts)/
    const others = tree.filter(({ path }) => path.startsWith('src/') && !own.test(path))
    assert.deepEqual(
      others.flatMap(({ path, text }) => (/qemu/i.test(text) ? [path] : [])),
      [],
    )
  })

  test('Only its folders, the two tables, the names of tiers and the fixes of doctor know user-mode Linux', () => {
    const own =
      /^src\/(tiers\/userkernel\/|warden\/engines\/(user-mode-linux\/|index\.ts)|assemble\/providers\.ts|contract\/tier\.ts|cli\/missing-layers\.ts)/
    const others = tree.filter(({ path }) => path.startsWith('src/') && !own.test(path))
    assert.deepEqual(
      others.flatMap(({ path, text }) => (/user-?mode.?linux|\bUML\b/i.test(text) ? [path] : [])),
      [],
    )
  })

  test('Only its folders, the two tables, the names of tiers and the fixes of doctor know Firecracker', () => {
    const own =
      /^src\/(tiers\/firecracker\/|warden\/engines\/(firecracker\/|index\.ts)|assemble\/providers\.ts|contract\/tier\.ts|cli\/missing-layers\.ts)/
    const others = tree.filter(({ path }) => path.startsWith('src/') && !own.test(path))
    // A name that a client of the capability registry may be told, like any other provider's.
    const word = /'firecracker'/g
    assert.deepEqual(
      others.flatMap(({ path, text }) =>
        /firecracker/i.test(text.replace(word, '')) ? [path] : [],
      ),
      [],
    )
  })

  test('No file is dead', { skip: !existsSync(join(root, entry)) && `no ${entry} yet` }, () => {
    assert.deepEqual(deadFiles(tree, roots()), [])
  })

  test('Names say something, and no file says what only its writers would understand', () => {
    assert.deepEqual(wordFaults(tree, root), [])
  })

  test('Documents name only files that are there', () => {
    assert.deepEqual(documentFaults(tree.filter(isDocument)), [])
  })

  test('Each decision has a number of its own, which its title repeats', () => {
    const decisions = tree.filter(({ path }) => path.startsWith('docs/decisions/'))
    const numbers = decisions.map(({ path }) => basename(path).slice(0, 4))
    assert.deepEqual(
      numbers.filter((one, at) => numbers.indexOf(one) !== at),
      [],
    )
    for (const { path, text } of decisions)
      assert.ok(text.startsWith(`# ${basename(path).slice(0, 4)}`), path)
  })

  test('The table of rooms has a row for each folder of src', () => {
    const table = textAt('docs/decisions/0021-rooms-and-words.md') ?? ''
    const rooms = new Set(tree.flatMap(({ path }) => /^src\/[^/]+\//.exec(path) ?? []))
    assert.deepEqual(
      [...rooms].filter((room) => !table.includes(`| \`${room}\` |`)),
      [],
    )
  })

  test('Every promise has its file and its test', () => {
    const promised = promisesIn(textAt('docs/promises.md') ?? '')
    assert.deepEqual(promiseFaults(promised, textAt), [])
  })

  test('The known fixes of Node are the same for people and for programs', () => {
    const { fixes } = JSON.parse(textAt('policies/node-fixes.json') ?? '') as {
      readonly fixes: readonly { readonly id: string; readonly fixedIn: string }[]
    }
    const document = textAt('docs/node-fixes.md') ?? ''
    const told = [...document.matchAll(/^## (\S+), of |^\| (CVE-\S+) /gm)]
    let version = ''
    const rows = told.flatMap(([, heading, id]) => {
      version = heading ?? version
      return id ? [`${id} ${version}`] : []
    })
    assert.deepEqual(rows.sort(), fixes.map(({ id, fixedIn }) => `${id} ${fixedIn}`).sort())
  })

  test('S4-17: Packages that run have free licences and need no install script', () => {
    const joined = joinedPackages(textAt('docs/dependencies.md') ?? '')
    assert.ok(joined.length > 0)
    assert.deepEqual(lockFaults(lock(), joined), [])
  })

  test('S4-17: No more packages run than the document of dependencies states', () => {
    const manifest = JSON.parse(textAt('package.json') ?? '') as Manifest
    const document = textAt('docs/dependencies.md') ?? ''
    assert.deepEqual(countFaults(manifest, lock(), document), [])
    const part = /node-(?:bin-)?(?:darwin|linux|win)-|@oxc-(?:parser|transform)\/binding-/
    const optional = Object.entries(lock()).filter(([, one]) => one.optional && !one.dev)
    assert.deepEqual(
      optional.map(([path]) => path).filter((path) => !part.test(path)),
      [],
    )
    const more = { dependencies: { ...manifest.dependencies, another: '1' } }
    assert.deepEqual(countFaults(more, {}, document), ['4 packages, not 3'])
    const many = Array.from({ length: 5 }, (_, n) => [`node_modules/one-${n}`, {}] as const)
    assert.deepEqual(countFaults(manifest, Object.fromEntries(many), document), [
      '5 packages with those that they need, not 4',
    ])
  })

  test('npm runs no install script', () => {
    const manifest = JSON.parse(textAt('package.json') ?? '') as Manifest
    assert.deepEqual(scriptFaults(manifest, lock()), [])
    assert.equal(scriptFaults({}, lock()).length, Object.keys(manifest.allowScripts ?? {}).length)
  })

  test('S4-17: Every dependency is explained, and nothing else is', () => {
    const manifest = JSON.parse(textAt('package.json') ?? '') as Manifest
    assert.deepEqual(dependencyFaults(manifest, textAt('docs/dependencies.md') ?? ''), [])
  })
})

suite('Untidiness is found', () => {
  const faulty: readonly (readonly [what: string, path: string, text: string, why: RegExp])[] = [
    ['a room that imports a room', 'src/pool/a.ts', "import '../threat/b.ts'", /never import each/],
    ['a library with domain words', 'src/lib/a.ts', "import '../contract/b.ts'", /other way/],
    [
      'a type imported upwards',
      'src/pool/a.ts',
      "import type { A } from '../life.ts'",
      /other way/,
    ],
    [
      'a late import upwards',
      'src/warden/a.ts',
      "await import('../assemble/assemble.ts')",
      /other way/,
    ],
    [
      'a server that loads the jail',
      'src/gateway/a.ts',
      "import '../jail/b.ts'",
      /only the warden/,
    ],
    [
      'a provider that loads its launcher',
      'src/tiers/x/provider.ts',
      "import './launch.ts'",
      /only the warden/,
    ],
    [
      'a launcher that loads its provider',
      'src/tiers/x/launch.ts',
      "import './provider.ts'",
      /other way/,
    ],
    [
      'a provider named outside assemble.ts',
      'src/cli/a.ts',
      "import '../tiers/x/provider.ts'",
      /names providers/,
    ],
    [
      'a server that starts a process',
      'src/pool/a.ts',
      "import 'node:child_process'",
      /start proc/,
    ],
    ['a guest that is imported', 'src/warden/a.ts', "import '../../guest/b.js'", /never imported/],
    ['a guest that imports the server', 'guest/a.js', "import '../src/life.ts'", /of the server/],
    [
      'a core of the warden that loads the jail',
      'src/warden/a.ts',
      "import '../jail/b.ts'",
      /only an engine/,
    ],
    [
      'a core of the warden that loads a launcher',
      'src/warden/a.ts',
      "import '../tiers/x/launch.ts'",
      /only an engine/,
    ],
    [
      'a core of the warden that loads control groups',
      'src/warden/a.ts',
      "import '../os/cgroup.ts'",
      /only an engine/,
    ],
    [
      'a core of the warden that loads an engine',
      'src/warden/a.ts',
      "import './engines/x/b.ts'",
      /names engines/,
    ],
    [
      'an engine that loads another',
      'src/warden/engines/x/a.ts',
      "import '../y/b.ts'",
      /names engines/,
    ],
    ['a second re-export', 'src/sdk/a.ts', "export { b } from './b.ts'", /re-exports/],
    ['a file outside every room', 'src/attic/a.ts', "import '../lib/b.ts'", /no room/],
  ]
  for (const [what, path, text, why] of faulty)
    test(`Imports: ${what}`, () => {
      const faults = importFaults([{ path, text }])
      assert.equal(faults.length, 1)
      assert.match(faults[0] ?? '', why)
    })

  test('Imports: a server that loads the warden by way of another file', () => {
    const sources: readonly Source[] = [
      { path: 'src/cli/serve.ts', text: "import { b } from '../pool/b.ts'" },
      { path: 'src/pool/b.ts', text: "await import('../lib/c.ts')" },
      { path: 'src/lib/c.ts', text: "import { d } from '../os/d.ts'" },
    ]
    assert.deepEqual(serverLoadFaults(sources, ['src/cli/serve.ts']), [
      'src/cli/serve.ts → src/pool/b.ts → src/lib/c.ts → src/os/d.ts',
    ])
  })

  test('Imports: nothing is said of those that are allowed', () => {
    const allowed: readonly Source[] = [
      { path: 'src/pool/a.ts', text: "import './b.ts'\nimport '../lib/c.ts'" },
      {
        path: 'src/warden/engines/x/a.ts',
        text: "import '../../../tiers/x/launch.ts'\nimport '../../../jail/b.ts'\nimport 'node:child_process'",
      },
      { path: 'src/warden/a.ts', text: "import '../os/proc.ts'" },
      { path: 'src/warden/engines/index.ts', text: "import './x/engine.ts'" },
      { path: 'src/assemble/providers.ts', text: "import '../tiers/x/provider.ts'" },
      { path: 'src/pool/a.test.ts', text: "import '../threat/b.ts'" },
    ]
    assert.deepEqual(importFaults(allowed), [])
  })

  test('A parser within reach of the server is found, its types alone are not', () => {
    const sources: readonly Source[] = [
      { path: entry, text: "import '../threat/a.ts'\nimport '../threat/b.ts'" },
      { path: 'src/threat/a.ts', text: "import { parseSync } from 'oxc-parser'" },
      { path: 'src/threat/b.ts', text: "import type { Program } from 'oxc-parser'" },
    ]
    assert.deepEqual(nativeFaults(sources, [entry]), [`${entry} → src/threat/a.ts → oxc-parser`])
  })

  test('Files named by a template or by their folder are alive', () => {
    const sources: readonly Source[] = [
      {
        path: entry,
        text: "const verbs = ['run']\nimport(`./${verb}.ts`)\nnew URL('../web/page/')",
      },
      { path: 'src/cli/run.ts', text: '' },
      { path: 'src/cli/walk.ts', text: '' },
      { path: 'src/web/page/a.js', text: '' },
      { path: 'src/web/attic/b.js', text: '' },
    ]
    assert.deepEqual(deadFiles(sources, [entry]), ['src/cli/walk.ts', 'src/web/attic/b.js'])
  })

  test('A file that only its own test imports is dead; one that is named in a string is not', () => {
    const sources: readonly Source[] = [
      { path: entry, text: "import '../pool/a.ts'\nnew URL('../../guest/g.js', import.meta.url)" },
      { path: 'src/pool/a.ts', text: '' },
      { path: 'src/pool/b.ts', text: '' },
      { path: 'src/pool/b.test.ts', text: "import './b.ts'" },
      { path: 'guest/g.js', text: '' },
    ]
    assert.deepEqual(deadFiles(sources, [entry]), ['src/pool/b.ts'])
  })

  test('An empty opener, a type defined twice and a circle of imports are found', () => {
    const openers = [
      { path: 'src/a.ts', text: '// Whoever asks\nexport const a = 1' },
      { path: 'src/b.ts', text: '/** What it is. */\nexport const b = 1' },
      { path: 'src/c.test.ts', text: "test('It works', () => {})" },
      { path: 'src/e.ts', text: '/** Its name. */\nexport const e = 1' },
      { path: 'src/f.ts', text: '// This module reads\nexport const f = 1' },
      { path: 'src/d.ts', text: '// Names it\n// where it was\nexport const d = 1' },
    ]
    assert.deepEqual(
      openerFaults(shapesOf(openers)).map((fault) => fault.split(':')[0]),
      ['src/a.ts', 'src/b.ts', 'src/c.test.ts', 'src/e.ts', 'src/f.ts'],
    )
    const twice = ['src/a.ts', 'src/b.ts'].map((path) => ({ path, text: 'export interface A {}' }))
    assert.deepEqual([...duplicateTypes(shapesOf(twice))], [['A', ['src/a.ts', 'src/b.ts']]])
    const values = ['src/pool/a.ts', 'src/watch/b.ts', 'src/tiers/a/c.ts', 'src/tiers/b/c.ts'].map(
      (path, at) => ({ path, text: at < 2 ? 'export const a = 1' : 'export function b() {}' }),
    )
    assert.deepEqual(
      [...duplicateValues(shapesOf(values))],
      [['a', ['src/pool/a.ts', 'src/watch/b.ts']]],
    )
    const circle = [
      { path: 'src/a.ts', text: "import type { B } from './b.ts'" },
      { path: 'src/b.ts', text: "import type { A } from './a.ts'" },
      { path: 'src/c.ts', text: "import './a.ts'" },
    ]
    assert.deepEqual(importCycles(circle), [['src/a.ts', 'src/b.ts']])
    const inComments = [
      { path: 'guest/a.js', text: "import { b } from './b.js'" },
      { path: 'guest/b.js', text: "/** @typedef {import('./a.js').A} A */\nexport const b = 1" },
    ]
    assert.deepEqual(importCycles(inComments), [['guest/a.js', 'guest/b.js']])
  })

  test('A long function is found; a group of tests is not measured, but each test in it is', () => {
    const body = '\n'.repeat(70)
    const faults = longFunctionFaults(
      shapesOf([
        { path: 'src/a.ts', text: `function a() {${body}}` },
        { path: 'src/b.ts', text: `suite('b', () => {${body}})` },
        { path: 'src/c.test.ts', text: `suite('c', () => {${body}})` },
        { path: 'src/d.test.ts', text: `suite('d', () => { test('e', () => {${body}}) })` },
        { path: 'src/e.ts', text: `function e() {${body.slice(1)}}` },
      ]),
    )
    assert.deepEqual(
      faults.map((fault) => fault.split(':')[0]),
      ['src/a.ts', 'src/b.ts', 'src/d.test.ts'],
    )
  })

  const words: readonly (readonly [what: string, path: string, text: string])[] = [
    ['a path of this machine', 'src/a.ts', '// see /srv/checkout/a.md'],
    ['the number of an issue', 'docs/a.md', 'as asked in issue #12'],
    ['the number alone', 'src/a.ts', '// because of (#12)'],
    ['a drawing that knows the page', 'src/picture/a.js', 'document.body.append(svg)'],
    ['an enum', 'src/a.ts', 'export const enum A { B }'],
    ['a namespace', 'src/a.ts', 'namespace A {}'],
    ['an empty name', 'src/pool/helpers.ts', ''],
    ['work left for later', 'src/a.ts', '// TODO'],
    ['JSON that V8 may misread', 'src/a.ts', 'const a = JSON.parse(text)'],
    ['a wait without a deadline', 'tests/a.test.ts', 'while (list.length === 0) await sleep(5)'],
  ]
  for (const [what, path, text] of words)
    test(`Words: ${what}`, () => {
      assert.equal(wordFaults([{ path, text }], '/srv/checkout').length, 1)
    })

  test('Words: private fields, colours and entities are no issues', () => {
    const text = "class A { #b = 1 }\nconst c = '#123456'\nconst d = '&#39;'\n"
    assert.deepEqual(wordFaults([{ path: 'src/a.ts', text }], '/srv/checkout'), [])
  })

  test('A document that names a missing file or link drifted', () => {
    const text =
      'See `src/gone.ts` and [this](docs/gone.md), not `src/there.ts` or [that](https://a.b)'
    const faults = documentFaults([{ path: 'README.md', text }], (path) => path === 'src/there.ts')
    assert.equal(faults.length, 2)
  })

  test('A promise whose file, test file or whole title is missing there is a fault', () => {
    const table = [
      '| S0-1 | a | `gone.ts` | `a.test.ts` | Kept |',
      '| S0-2 | a | `a.ts` | `gone.test.ts` | Kept |',
      '| S0-3 | a | `a.ts` | `a.test.ts` | Renamed |',
      '| S0-4 | a | `a.ts` | `a.test.ts` | Kept |',
      '| S0-5 | a | not yet | | |',
      '| S0-6 | a | `a.ts` | `a.test.ts` | Elsewhere |',
      '| S0-7 | a | `a.ts` | `a.test.ts` | Kept to the end |',
      '| S0-8 | a | `a.ts` | `a.test.ts` | Kept to the |',
      '| S0-9 | a | `a.ts` | `a.test.ts` | Planned |',
      "| S0-10 | a | `a.ts` | `a.test.ts` | A wall's ${name} |",
      '| S0-11 | a | `a.ts` | `a.test.ts` | |',
    ].join('\n')
    const files = new Map([
      ['a.ts', ''],
      [
        'a.test.ts',
        "// Planned\ntest('Kept', f)\ntest('Kept to the end', f)\ntest(`A wall's ${name}`, f)",
      ],
      ['other.test.ts', "test('Elsewhere', () => {})"],
    ])
    const faults = promiseFaults(promisesIn(table), (path) => files.get(path))
    assert.deepEqual(
      faults.map((fault) => fault.split(':')[0]),
      ['S0-1', 'S0-2', 'S0-3', 'S0-6', 'S0-8', 'S0-9', 'S0-11'],
    )
  })

  test('Two promises of one row with the same file and test are a fault', () => {
    const table = [
      '| S0-1 | a | `a.ts` | `a.test.ts` | Kept |',
      '| S0-1 | b | `a.ts` | `a.test.ts` | Kept |',
      '| S0-1 | c | `b.ts` | `a.test.ts` | Kept |',
      '| S0-2 | a | `a.ts` | `a.test.ts` | Kept |',
    ].join('\n')
    const faults = promiseFaults(promisesIn(table), () => "test('Kept', f)")
    assert.deepEqual(faults, ['S0-1: two lines name "a.ts" and the test "Kept"'])
  })

  test('A package with another licence, an install script or a named registry is found', () => {
    const found = {
      '': {},
      'node_modules/a': { license: 'GPL-3.0' },
      'node_modules/b': { license: 'MIT', hasInstallScript: true },
      'node_modules/c': { license: 'MIT', resolved: 'https://registry.example/c.tgz' },
      'node_modules/d': { license: 'GPL-3.0', dev: true },
      'node_modules/e': { license: 'MIT', dev: true, dependencies: { f: '1' } },
      'node_modules/f': { license: 'GPL-3.0', dev: true },
    }
    assert.deepEqual(
      lockFaults(found, ['e']).map((fault) => fault[0]),
      ['a', 'b', 'c', 'f'],
    )
  })

  test('A dependency without a line, a line without one, and an empty cell are found', () => {
    const faults = dependencyFaults(
      { dependencies: { a: '1', b: '1' } },
      '| `b` | saves | |\n| `c` | saves | breaks |',
    )
    assert.equal(faults.length, 3)
  })
})

/** Entry files: the programs, the library, and files that scripts of package.json and tests start. */
/** The agent of a guest is built and tested ahead of the first engine that boots one. */
const ofGuestAgent = [
  'src/jail/own-programs.ts',
  'src/agent-wire/conversation.ts',
  'src/images/machine.ts',
]
function roots(): readonly string[] {
  const started = tree.filter(({ path }) =>
    /^(bin\/mayfly\.js|src\/index\.ts|src\/sdk\/client\.js|bin\/(?:library|conformance|mock|ai|codemode|computesdk|deepagents)\.js|scripts\/[\w-]+\.ts)$/.test(
      path,
    ),
  )
  return [entry, ...ofGuestAgent, ...started.map(({ path }) => path)]
}

function isDocument({ path }: Source): boolean {
  return path.endsWith('.md')
}

function lock(): Lock {
  return (JSON.parse(textAt('package-lock.json') ?? '') as { packages: Lock }).packages
}

function textAt(path: string): string | undefined {
  const file = join(root, path)
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined
}
