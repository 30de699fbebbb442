import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { Mayfly } from '../../src/index.ts'
import type { Box } from '../../src/sdk/box.ts'
import { unable } from '../walls/process-stands.ts'

/** A session reads a planted secret in one exec, and sends it through an output in a later one. */
const read = 'import os\nsecret = os.environ["DATABASE_PASSWORD"]'
const html = 'class Shown:\n  def _repr_html_(self): return "<b>" + secret + "</b>"\nShown()'
const ran = async (box: Box, code: string) => {
  const outcome = await box.run({ code, artifacts: 'inline' })
  const files = outcome.artifacts.map(({ content = '' }) =>
    Buffer.from(content, 'base64').toString(),
  )
  return JSON.stringify([outcome, files])
}
const waysOut: readonly (readonly [string, (box: Box) => Promise<string>])[] = [
  ['the result of an exec', (box) => ran(box, 'secret')],
  ['an error', (box) => ran(box, 'raise ValueError(secret)')],
  ['printed output', (box) => ran(box, 'print(secret)')],
  ['a display', (box) => ran(box, html)],
  ['an artifact', (box) => ran(box, 'open(os.environ["MAYFLY_OUT"] + "/a", "w").write(secret)')],
  [
    'a file that its owner gets',
    async (box) => {
      await box.run({ code: 'open("out.txt", "w").write(secret)' })
      return Buffer.from(await box.files.get('out.txt')).toString()
    },
  ],
  [
    'a name in a listing',
    async (box) => {
      await box.run({ code: 'open(secret, "w").close()' })
      return JSON.stringify(await box.files.list())
    },
  ],
  [
    'a terminal',
    async (box) => {
      const terminal = await box.pty()
      await terminal.write('echo $DATABASE_PASSWORD; exit\n')
      let text = ''
      for await (const chunk of terminal.readable) text += Buffer.from(chunk).toString()
      return text
    },
  ],
]

suite('A planted secret cannot leave a session', { skip: unable('python') }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-planted-'))
  let mayfly: Mayfly
  before(async () => {
    mayfly = await Mayfly.open({ state: join(folder, 'state'), anomalies: { honeytokens: true } })
  })
  after(async () => {
    await mayfly[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  })

  for (const [name, leave] of waysOut)
    test(`S2-14: a planted secret that one exec read does not leave a session by ${name}, and ends it`, async () => {
      const box = await mayfly.open({ language: 'python' })
      assert.equal(box.row.tier, 'process')
      await box.run({ code: read })
      const { result } = await box.run({ code: '"-".join(secret)' })
      const secret = String(result).replaceAll('-', '')
      assert.match(secret, /^\w{24}$/)
      const said = await leave(box).catch((thrown: Error) => thrown.message)
      assert.ok(!said.includes(secret), said.slice(0, 500))
      const { status, error } = await box.close()
      assert.equal(status, 'terminated')
      assert.match(error!.message, /planted secret "database-password"/)
    })

  test('Planted files may be downloaded under their own paths, and a session that sends none continues', async () => {
    await using box = await mayfly.open({ language: 'python' })
    const planted = Buffer.from(await box.files.get('.aws/credentials')).toString()
    assert.match(planted, /aws_secret_access_key/)
    await box.files.put('own.txt', 'own')
    assert.equal(Buffer.from(await box.files.get('own.txt')).toString(), 'own')
    assert.ok((await box.files.list()).some(({ path }) => path === 'own.txt'))
    assert.equal((await box.run({ code: '20 + 1' })).result, 21)
  })
})
