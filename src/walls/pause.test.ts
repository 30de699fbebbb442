import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PauseState } from './pause.ts'

function stillness() {
  const said: string[] = []
  const still = new PauseState({
    stop: () => Promise.resolve(said.push('stop')),
    resume: () => Promise.resolve(said.push('go on')),
  })
  return { still, said }
}

test('A freeze during a capture stays after it', async () => {
  const { still, said } = stillness()
  const look = Promise.withResolvers<string>()
  const looked = still.during(() => look.promise)
  await still.freeze()
  look.resolve('seen')
  assert.equal(await looked, 'seen')
  assert.deepEqual(said, ['stop', 'stop'])
  await still.thaw()
  assert.equal(said.at(-1), 'go on')
})

test('The last capture thaws it, also when it failed', async () => {
  const { still, said } = stillness()
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const looks = [still.during(() => first.promise), still.during(() => second.promise)]
  await still.thaw()
  first.resolve()
  await looks[0]
  assert.deepEqual(said, ['stop', 'stop'])
  second.reject(new Error('it is late'))
  await assert.rejects(looks[1]!, /late/)
  assert.deepEqual(said, ['stop', 'stop', 'go on'])
})

test('A held wall never thaws: not on request, not after a capture, not if it was frozen before', async () => {
  const { still, said } = stillness()
  const look = Promise.withResolvers<void>()
  await still.freeze()
  const looked = still.during(() => look.promise)
  await still.hold()
  await assert.rejects(still.thaw(), { code: 'CONFLICT' })
  look.resolve()
  await looked
  assert.ok(!said.includes('go on'))
})
