import assert from 'node:assert/strict'
import { Socket } from 'node:net'
import { suite, test } from 'node:test'
import { MayflyError } from '../contract/error.ts'
import { Client, facade } from './client.ts'
import type { Request } from './protocol.ts'

suite('The server’s half of the warden', () => {
  test('Each answer finds its question, in any order', async () => {
    const { client, asked } = standing()
    const [one, two] = [client.ask({ op: 'facts' }), client.ask({ op: 'kill', wall: 'w1' })]
    client.hear({ id: asked[1]!.id, ok: true, value: 'second' })
    client.hear({ id: asked[0]!.id, ok: true, value: 'first' })
    assert.deepEqual([(await one).value, (await two).value], ['first', 'second'])
  })

  test('A refusal is an error with its code and hint', async () => {
    const { client, asked } = standing()
    const answer = client.ask({ op: 'facts' })
    client.hear({ id: asked[0]!.id, ok: false, code: 'NO_JAIL', message: 'No', hint: 'Do' })
    await assert.rejects(answer, {
      name: 'MayflyError',
      code: 'NO_JAIL',
      message: 'No',
      hint: 'Do',
    })
  })

  test('A socket that nobody waits for any more is closed', () => {
    const { client } = standing()
    const socket = new Socket()
    client.hear({ id: 99, ok: true, value: {} }, socket)
    assert.equal(socket.destroyed, true)
  })

  test('When the warden is lost, whoever waits is told, and whoever asks later', async () => {
    const { client } = standing()
    let told = 0
    client.onLost(() => told++)
    const waiting = client.ask({ op: 'facts' })
    client.lose()
    client.lose()
    await assert.rejects(waiting, isLost)
    await assert.rejects(client.ask({ op: 'facts' }), isLost)
    assert.equal(told, 1)
  })

  test('The end of a wall is told once, also to whoever listens late', () => {
    const { client } = standing()
    const warden = facade(client, () => Promise.resolve())
    const ends: string[] = []
    const end = { how: 'memory', peakBytes: 7, detail: 'exit 1' } as const
    client.hear({ ended: 'w1', ...end })
    warden.onEnded('w1', (how) => ends.push(`late ${how}`))
    warden.onEnded('w2', (how, peak) => ends.push(`${how} ${peak}`))
    client.hear({ ended: 'w2', ...end })
    client.hear({ ended: 'w2', ...end })
    assert.deepEqual(ends, ['late memory', 'memory 7'])
  })
})

function standing() {
  const asked: Request[] = []
  return { client: new Client((request) => void asked.push(request)), asked }
}

function isLost(thrown: unknown): boolean {
  return thrown instanceof MayflyError && thrown.code === 'WARDEN_LOST'
}
