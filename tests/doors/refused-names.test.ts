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

  test('S3-9: a dynamic import whose refusal the code catches leaves an event, also one of made code', async () => {
    const made = "import('f' + 's')"
    for (const refusal of [
      "await import('fs')",
      "await new Promise((_, reject) => import('fs').catch(reject))",
      "await Promise.all([1, import('fs')])",
      `await eval("${made}")`,
      `await (0, eval)("im" + "port('fs')")`,
      `await new Function("return ${made}")()`,
      `await (async () => {}).constructor("await ${made}")()`,
      `await []['filter']['constructor'](atob('cmV0dXJuIGltcG9ydCgnZnMnKQ=='))()`,
      "for await (const one of [import('fs')]) one",
    ]) {
      const { id, tier, status, result, error } = await run(
        `try { ${refusal} } catch { return 'refused' } return 'imported'`,
      )
      const about = `${refusal}: ${JSON.stringify(error)}`
      assert.deepEqual([tier, status, result], ['isolate', 'ok', 'refused'], about)
      assert.deepEqual(namesOf(recordOf(id).events), ['import'], about)
    }
  })

  test('Code that could import at run time and does not leaves no event, and sees a promise as any other', async () => {
    const shows = 'console.log(Promise.resolve(1), (class Own extends Promise {}).resolve(1));'
    const plain = await run(shows)
    const { id, status, result, error, stdout } = await run(`${shows}
      const skipped = () => import('fs')
      const rejected = Promise.reject(new Error('own')).catch(({ message }) => message)
      const same = [Promise.prototype.constructor, Promise.resolve().constructor].every((one) => one === Promise)
      class Own extends Promise {}
      return [await rejected, same, (await Own.resolve(eval('2'))), Own.resolve() instanceof Own, skipped.length]`)
    assert.deepEqual([status, result], ['ok', ['own', true, 2, true, 0]], JSON.stringify(error))
    assert.deepEqual([stdout, plain.status], [plain.stdout, 'ok'])
    assert.match(stdout, /^Promise .*Own /)
    assert.deepEqual(recordOf(id).events, [])
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

  test('In a session a name is reported once, and an import once for each module, in the lines of the session', async () => {
    const box = await mayfly.open({ language: 'js' })
    assert.equal((await box.run({ code: 'typeof process' })).result, 'undefined')
    const imported = await box.run({ code: "import fs from 'node:fs'" })
    assert.equal(imported.status, 'error')
    const caught = "await import('x').then(() => 'imported', () => 'refused')"
    assert.equal((await box.run({ code: caught })).result, 'refused')
    await box.run({ code: 'try { fetch(1) } catch {}; typeof process; globalThis.process' })
    await box.close()
    const { events } = recordOf(box.id)
    assert.deepEqual(namesOf(events), ['process', 'import', 'import', 'fetch'])
    assert.deepEqual([events[1].fields.module, events[2].fields.module], ['fs', undefined])
  })

  test('A job that uses none of these names leaves no such line', async () => {
    const { id } = await run(
      'console.log(new URL("http://a/b"), typeof window); return [1].map(String)',
    )
    assert.deepEqual(recordOf(id).events, [])
  })
})
