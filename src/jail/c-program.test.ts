import assert from 'node:assert/strict'
import { mkdirSync, mkdtempDisposableSync, readdirSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { noCompiler } from '../../tests/fixtures/c-compiler.ts'
import { openCProgram } from './c-program.ts'

test(
  'A compiler removes the folder of one that was killed an hour ago, and none that may be in use',
  { skip: noCompiler },
  async () => {
    using place = mkdtempDisposableSync(path.join(tmpdir(), 'mayfly-abandoned-'))
    const [folder, source] = [path.join(place.path, 'cache'), path.join(place.path, 'made.c')]
    writeFileSync(source, 'int main(void) { return 0; }')
    for (const name of ['making-old', 'making-new'])
      mkdirSync(path.join(folder, name), { recursive: true, mode: 0o700 })
    const hours = Date.now() / 1000 - 7200
    utimesSync(path.join(folder, 'making-old'), hours, hours)
    const made = await openCProgram({ name: 'made', sources: [source], folder })
    assert.ok(!('missing' in made), JSON.stringify(made))
    const left = readdirSync(folder).filter((name) => name.startsWith('making-'))
    assert.deepEqual(left, ['making-new'])
  },
)
