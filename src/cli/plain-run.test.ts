import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Command } from 'commander'
import type { RunFlags } from './run-flags.ts'
import { register } from './run.ts'
import { plainRun } from './plain-run.ts'

/** Words as commander reads them, with its own action in place of the run. */
async function byCommander(argv: readonly string[]) {
  const program = new Command('mayfly')
    .exitOverride()
    .configureOutput({ writeErr: () => undefined })
  program.option('--json').option('--short').option('--quiet').option('--verbose')
  program.option('--config <file>').option('--state <folder>')
  register(program)
  const command = program.commands[0]!.exitOverride()
  const read = Promise.withResolvers<object>()
  command.action((file: string, args: readonly string[], _own, itself: Command) => {
    read.resolve({ file, args, flags: itself.optsWithGlobals<RunFlags>() })
  })
  const spelled = argv.flatMap((word) => (word === '--json=short' ? ['--json', '--short'] : [word]))
  await program.parseAsync(spelled, { from: 'user' })
  return await read.promise
}

const plain = [
  'run a.js',
  'run -',
  'run a.js --json',
  '--json run a.js',
  'run a.js --json=short --quiet',
  '--state /s run a.js',
  'run --state /s --timeout 5s a.js --input {"a":1} --memory 64MB',
  'run a.js --input @in.json --disk 1MB --output 4B --schedule s --provider wasi',
  'run a.js --timeout 1s --timeout 2s',
  'run a.js --idempotent --pass-exit-code --stdin --explain --no-packages',
  'run a.js -- x --json -- y',
]

for (const line of plain)
  test(`The short reader and commander read "${line}" alike`, async () => {
    const argv = line.split(' ')
    const read = plainRun(argv)
    assert.ok(read)
    assert.deepEqual({ ...read, args: [...read.args] }, await byCommander(argv))
  })

const left = [
  'run',
  'run a.js b.js',
  'serve a.js',
  'run a.js --timeout',
  'run a.js --timeout --json',
  'run a.js --input -5',
  'run a.js --timeout=5s',
  'run a.js --tier isolate',
  'run a.js --env A=1',
  'run a.js --file b',
  'run a.js --packages',
  'run a.js --allow h',
  'run a.js --watch',
  'run a.js --artifacts out',
  'run a.js --config x.toml',
  'run a.js --constructor',
  'run a.js --unknown',
  'run a.js -j',
]

for (const line of left)
  test(`The short reader leaves "${line}" to commander`, () => {
    assert.equal(plainRun(line.split(' ')), undefined)
  })
