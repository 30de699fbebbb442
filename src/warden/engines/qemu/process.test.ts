import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { duplexPair, type Duplex } from 'node:stream'
import { suite, test } from 'node:test'
import { QemuProcess } from './process.ts'

/** A played QEMU, with the control connection of a real one and no process of this host. */
suite('A machine and its control connection', () => {
  test('A guest that floods it with events ends, and its end names the cause', async () => {
    const { machine, say, signals } = await greeted()
    for (let count = 0; count <= 256; count++) say({ event: 'ACPI_DEVICE_OST' })
    const { signal, said } = await machine.ended
    assert.deepEqual([signal, signals], ['SIGKILL', ['SIGKILL']])
    assert.match(said, /its control connection ended: it sent too many events/)
  })

  test('A machine that does not answer in time is killed', async () => {
    const { machine } = await greeted()
    await assert.rejects(machine.control.ask('stop', undefined, { msMax: 20 }), {
      code: 'PROTOCOL',
    })
    assert.equal((await machine.ended).signal, 'SIGKILL')
  })

  test('A machine that closes it when it exits has its own exit code', async () => {
    const { machine, peer, exit, signals } = await greeted()
    peer.end()
    await machine.control.ended
    exit(7)
    const { exitCode, said } = await machine.ended
    assert.deepEqual([exitCode, said, signals], [7, '', []])
  })

  test('A machine that closes it and goes on is killed after a while', async (t) => {
    const { machine, peer, signals } = await greeted()
    t.mock.timers.enable({ apis: ['setTimeout'] })
    peer.end()
    await machine.control.ended
    await new Promise((resolve) => void setImmediate(resolve))
    assert.deepEqual(signals, [])
    t.mock.timers.tick(5_000)
    assert.equal((await machine.ended).signal, 'SIGKILL')
  })
})

class PlayedChild extends EventEmitter {
  readonly pid = undefined
  readonly stdio: (Duplex | null)[]
  readonly signals: string[] = []
  exitCode: number | null = null
  signalCode: string | null = null

  constructor(control: Duplex) {
    super()
    this.stdio = [null, null, null, control, null, null]
  }

  kill(signal: string): void {
    this.signals.push(signal)
    this.signalCode = signal
    this.emit('exit')
  }
}

async function greeted() {
  const [own, peer] = duplexPair()
  const child = new PlayedChild(own)
  const forked = { id: 'w1', child, processes: [], complaint: () => '' }
  const machine = new QemuProcess(forked as never, {} as never, {} as never)
  const say = (line: object) => void peer.write(`${JSON.stringify(line)}\n`)
  // The first question alone is answered.
  peer.once('data', () => say({ return: {}, id: 1 }))
  say({ QMP: { version: { qemu: { major: 10, minor: 0, micro: 0 } }, capabilities: [] } })
  await machine.greet()
  peer.resume()
  const exit = (code: number) => {
    child.exitCode = code
    child.emit('exit')
  }
  return { machine, peer, say, exit, signals: child.signals }
}
