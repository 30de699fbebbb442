import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { Clock } from '../contract/clock.ts'
import type { ImageAnswer } from '../contract/image-reference.ts'
import type { Provider } from '../contract/provider.ts'
import { configOf } from '../../tests/fixtures/profile-world.ts'
import { ConfiguredSpares } from './configured-spares.ts'

const refused: ImageAnswer = {
  kind: 'refused',
  error: { code: 'IMAGE_REFUSED', message: 'TOO_SEVERE' },
}
const admitted = (digest: string): ImageAnswer => ({ kind: 'admitted', digest, scanned: '' })

/** A provider that logs its `keep` calls, images with a list of answers, and a clock advanced by hand. */
function stand(rows: readonly object[], answers: ImageAnswer[] = []) {
  const kept: string[] = []
  const told: string[] = []
  const asked: string[] = []
  let ring: () => void = () => undefined
  const provider = {
    name: 'played',
    images: { python: 'python' },
    keep: (language: string, image: string | undefined, count: number) =>
      void kept.push(`${language} ${image ?? 'none'} ${count}`),
  } as unknown as Provider
  const walls = {
    proveNamed: () => Promise.resolve(),
    proved: [{ provider, availability: { available: true } as never }],
  }
  const images = {
    answer: (name: string, isDefault: boolean) => {
      asked.push(`${name} ${isDefault}`)
      return Promise.resolve(answers.length > 1 ? answers.shift()! : answers[0]!)
    },
  }
  const after: Clock['after'] = (_ms, then) => {
    ring = then
    return { cancel: () => void (ring = () => undefined) }
  }
  const emitter = {
    emit: (point: string, fields: { readonly key?: string; readonly reason?: string }) =>
      void told.push(`${point} ${fields.key} ${fields.reason}`),
  }
  const clock = { now: () => 0, date: () => 0, after }
  const spares = new ConfiguredSpares({
    rows: configOf({ spares: rows }).spares,
    walls,
    images,
    clock,
    emitter,
  })
  const look = async () => {
    ring()
    await spares.settled
    await new Promise((resolve) => void setImmediate(resolve))
  }
  return { spares, kept, told, asked, look, walls }
}

suite('Spares that the configuration asks for', () => {
  test('use the image of their row, or else the default image of the provider', async () => {
    const rows = [
      { provider: 'played', language: 'python', count: 2 },
      { provider: 'played', language: 'python', image: 'other', count: 1 },
      { provider: 'played', language: 'node', count: 1 },
    ]
    const { spares, kept, asked } = stand(rows, [admitted('a')])
    await spares.settled
    assert.deepEqual(kept, ['python a 2', 'python a 1', 'node none 1'])
    assert.deepEqual(asked, ['python true', 'other false'])
    await spares.close()
  })

  test('S0-5: are replaced when the tag moves to another image, and ended when it is refused', async () => {
    const row = { provider: 'played', language: 'python', count: 2 }
    const answers = [admitted('a'), admitted('b'), refused, admitted('b')]
    const { spares, kept, told, look } = stand([row], answers)
    await spares.settled
    await new Promise((resolve) => void setImmediate(resolve))
    for (let times = 0; times < 3; times++) await look()
    assert.deepEqual(kept, ['python a 2', 'python a 0', 'python b 2', 'python b 0', 'python b 2'])
    assert.deepEqual(told, ['tier/unavailable played/python TOO_SEVERE'])
    await spares.close()
  })

  test('are reported as unavailable if a look at them fails, and the next look has them', async () => {
    const row = { provider: 'played', language: 'python', count: 2 }
    const { spares, kept, told, look, walls } = stand([row], [admitted('a')])
    await spares.settled
    await new Promise((resolve) => void setImmediate(resolve))
    walls.proveNamed = () => Promise.reject(new Error('no more processes'))
    await look()
    walls.proveNamed = () => Promise.resolve()
    await look()
    assert.deepEqual(kept, ['python a 2', 'python a 2'])
    assert.deepEqual(told, ['tier/unavailable played/python no more processes'])
    await spares.close()
  })

  test('are reported as unavailable if their provider is missing', async () => {
    const { spares, kept, told } = stand([{ provider: 'gone', language: 'python', count: 1 }])
    await spares.settled
    assert.deepEqual(kept, [])
    assert.deepEqual(told, ['tier/unavailable gone/python there is no such provider'])
    await spares.close()
  })
})
