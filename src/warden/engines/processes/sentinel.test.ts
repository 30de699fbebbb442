import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { Sentinel } from './sentinel.ts'

test('A sentinel that saw the end of its wall has no programs whose calls it could close; one that failed cannot be used', async () => {
  for (const [code, signal, isKeeper, error] of [
    [0, null, false, 'NOT_FOUND'],
    [1, null, false, 'UNAVAILABLE'],
    [null, 'SIGKILL', false, 'UNAVAILABLE'],
    [0, null, true, 'NOT_FOUND'],
    [3, null, true, 'NOT_FOUND'],
    [255, null, true, 'NOT_FOUND'],
    [null, 'SIGKILL', true, 'UNAVAILABLE'],
  ] as const) {
    const control = new PassThrough()
    const child = Object.assign(new EventEmitter(), { stdio: [control, new PassThrough()] })
    const parts = { child: child as never, control: 0, memory: 1, isKeeper }
    const sentinel = new Sentinel(parts)
    const asked = sentinel.flip([{ afterMs: 0, allow: [] }])
    child.emit('exit', code, signal)
    control.destroy()
    await assert.rejects(asked, { code: error }, `${code} ${signal} ${isKeeper}`)
    await assert.rejects(sentinel.status(), { code: error })
  }
})
