import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { until } from '../conformance/stand.ts'
import { Mayfly } from '../../src/index.ts'
import { verifyFile } from '../../src/evidence/verify.ts'
import { openLog } from '../../src/evidence/log-reader.ts'
import { refusedNames } from '../../src/contract/refused-names.ts'

/** The record after jobs that use names which an isolate does not define. */
suite('A refused name is in the record', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-refused-names-'))
  let mayfly: Mayfly

  before(async () => {
    mayfly = await Mayfly.open({ state: join(folder, 'state'), escalation: { 0: 'isolate' } })
  })
  after(async () => {
    await mayfly[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  })

  /** Lines of a run: its events, and the ended one. */
  const recordOf = (id: string) => {
    using log = openLog(join(folder, 'state', 'audit.db'))
    const lines = log.last(200, id).map(({ bodyText }) => JSON.parse(bodyText))
    return {
      events: lines.filter(({ point }) => point === 'name/refused'),
      admitted: lines[0],
      ended: lines.at(-1),
    }
  }
  const run = (code: string) => mayfly.run({ code, language: 'js', entry: 'body' })
  const namesOf = (events: readonly { fields: { name: string } }[]) =>
    events.map(({ fields }) => fields.name)

  test('S3-6 to S3-9: each of fs, fetch, process, require, import and WebAssembly leaves an event and a timeline entry', async () => {
    for (const [code, name] of [
      ["try { fs.readFileSync('/etc/passwd') } catch {} return 1", 'fs'],
      ["try { await fetch('http://example.com') } catch {} return 1", 'fetch'],
      ['return globalThis["pro" + "cess"]?.env ?? 1', 'process'],
      ["try { return eval(`require('fs')`) } catch { return 1 }", 'require'],
      ["return await import('fs')", 'import'],
      ['try { await WebAssembly.instantiateStreaming(0) } catch {} return 1', 'WebAssembly'],
    ] as const) {
      const { id, tier, status, timeline: told } = await run(code)
      assert.deepEqual([tier, status], ['isolate', name === 'import' ? 'error' : 'ok'], code)
      const { events, ended } = recordOf(id)
      assert.deepEqual(namesOf(events), [name], code)
      assert.equal(events[0]!.trust, 'guest')
      for (const timeline of [told, ended.timeline])
        assert.ok(
          timeline.some(
            ({ event, reason = '' }: { event: string; reason?: string }) =>
              event === 'denied' && reason.includes(`"${name}"`),
          ),
          `${code}: ${JSON.stringify(timeline)}`,
        )
    }
    const audit = () => verifyFile(join(folder, 'state', 'audit.db'))
    await until(() => audit().unsigned === 0, 'a signature of the last line')
    assert.ok(audit().ok && audit().checkpoints > 0)
  })

  test('A dynamic import whose refusal the code catches is a finding of the record', async () => {
    const { id, tier, status, result } = await run(
      "try { await import('fs') } catch { return 'refused' } return 'imported'",
    )
    assert.deepEqual([tier, status, result], ['isolate', 'ok', 'refused'])
    const { events, admitted } = recordOf(id)
    assert.deepEqual(events, [])
    assert.match(JSON.stringify(admitted.security.findings), /IMPORT/)
  })

  test('A job that looks up every name a thousand times leaves one line for each name, and its ended line', async () => {
    const names = JSON.stringify(refusedNames)
    const { id, tier, status } = await run(
      `for (let i = 0; i < 1000; i++) for (const name of ${names}) globalThis[name]; return 1`,
    )
    const { events, ended } = recordOf(id)
    assert.deepEqual([tier, status], ['isolate', 'ok'])
    assert.equal(ended.eventsDropped, undefined)
    assert.deepEqual(
      namesOf(events).toSorted(),
      refusedNames.filter((name) => !['import', 'globalThis'].includes(name)).toSorted(),
    )
  })

  test('In a session a name is reported once, in the lines of the session', async () => {
    const box = await mayfly.open({ language: 'js' })
    assert.equal((await box.run({ code: 'typeof process' })).result, 'undefined')
    const imported = await box.run({ code: "import fs from 'node:fs'" })
    assert.equal(imported.status, 'error')
    await box.run({ code: 'try { fetch(1) } catch {}; typeof process; globalThis.process' })
    await box.close()
    const { events } = recordOf(box.id)
    assert.deepEqual(namesOf(events), ['process', 'import', 'fetch'])
    assert.equal(events[1].fields.module, 'fs')
  })

  test('A job that uses none of these names leaves no such line', async () => {
    const { id } = await run(
      'console.log(new URL("http://a/b"), typeof window); return [1].map(String)',
    )
    assert.deepEqual(recordOf(id).events, [])
  })
})
