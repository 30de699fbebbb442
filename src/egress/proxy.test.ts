import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Server, Socket } from 'node:net'
import { test } from 'node:test'
import { networkOf } from '../contract/network.ts'
import { Ledger } from './ledger.ts'
import { openProxy } from './proxy.ts'

const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length

test('A connection without a caller on a shared listener leaves no timer', async () => {
  const listener = new Server()
  const budget = { sentMax: 100, receivedMax: 100 }
  const emitter = { emit: () => undefined }
  const ledger = new Ledger(budget, { emitter, run: null })
  openProxy({ listener, isShared: true, network: () => networkOf('open'), ledger })
  const before = timers()
  // Unconnected, as that of a client which reset its connection at once.
  const sockets = Array.from({ length: 10 }, () => new Socket())
  const signal = AbortSignal.timeout(10_000)
  const closed = sockets.map((socket) => once(socket, 'close', { signal }))
  for (const socket of sockets) listener.emit('connection', socket)
  await Promise.all(closed)
  assert.equal(timers(), before)
})
