import assert from 'node:assert/strict'
import { code, type Chapter } from '../case.ts'
import { messageIn } from '../stand.ts'

const utf8 = 'utf8' as const

export const files: Chapter = {
  name: 'Files and modules of the job',
  cases: [
    {
      title: 'A module imports files of the job by relative path',
      needs: [{ language: 'js' }, code, { can: 'files' }, { can: 'modules' }],
      async run(stand) {
        const { end } = await stand.run(
          `import { twice } from './lib/twice.js'
           import data from './data.json' with { type: 'json' }
           export default (input) => ({ twice: twice(input.n), name: data.name })`,
          {
            entry: 'module',
            input: { n: 21 },
            files: [
              {
                path: 'lib/twice.js',
                content: 'export const twice = (n) => 2 * n',
                encoding: utf8,
              },
              {
                path: 'data.json',
                content: Buffer.from('{"name":"brought"}').toString('base64'),
                encoding: 'base64',
              },
            ],
          },
        )
        assert.equal(end.resultText, '{"twice":42,"name":"brought"}', messageIn(end))
      },
    },
    {
      title: 'A file that the job does not have cannot be imported',
      needs: [{ language: 'js' }, code, { can: 'modules' }],
      async run(stand) {
        for (const from of ['./absent.js', '../../package.json', '/etc/hostname', 'node:fs']) {
          const { end } = await stand.run(`import * as it from '${from}'\nexport default it`, {
            entry: 'module',
          })
          assert.equal(end.status, 'error', `${from}: ${end.resultText}`)
        }
      },
    },
  ],
}
