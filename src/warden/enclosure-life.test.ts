import assert from 'node:assert/strict'
import { AssertionError } from 'node:assert'
import { suite, test } from 'node:test'
import { MayflyError } from '../contract/error.ts'
import { assertFallen, EnclosureLife, meetBounds } from './enclosure-life.ts'

const bounds = { memory: 100, cpu: 1 }

suite('The life of an enclosure', () => {
  test('goes from starting to parked to claimed to ended', () => {
    const life = new EnclosureLife('w1', true)
    assert.equal(life.state, 'starting')
    life.park()
    assert.equal(life.state, 'parked')
    life.claim('a', bounds)
    assert.equal(life.state, 'claimed')
    life.end('exit')
    assert.deepEqual([life.state, life.how, life.reported(false)], ['ended', 'exit', 'exit'])
  })

  test('A single-use enclosure that is claimed twice is a conflict', () => {
    const life = parked(true)
    life.claim('a', bounds)
    assert.throws(() => life.claim('a', bounds), isConflict)
    assert.equal(life.state, 'claimed')
  })

  test('A worker serves jobs of one tenant, and no other', () => {
    const life = parked(false)
    life.claim('', bounds)
    life.claim('a', bounds)
    life.claim('', bounds)
    life.claim('a', bounds)
    assert.throws(() => life.claim('b', bounds), isConflict)
    assert.equal(life.tenant, 'a')
  })

  test('No state is skipped, and none is entered twice', () => {
    const starting = new EnclosureLife('w1', true)
    assert.throws(() => starting.claim('a', bounds), AssertionError)
    assert.throws(() => starting.reported(false), AssertionError)
    const ended = parked(true)
    ended.end('killed')
    assert.throws(() => ended.claim('a', bounds), AssertionError)
    assert.throws(() => ended.park(), AssertionError)
    assert.throws(() => ended.tighten({ memory: 1 }), isConflict)
    assert.throws(() => parked(true).park(), AssertionError)
  })

  test('The first cause of an end stays; an OOM kill replaces every other cause but a deadline', () => {
    const killed = parked(true)
    killed.end('killed')
    killed.end('deadline')
    assert.deepEqual([killed.reported(false), killed.reported(true)], ['killed', 'memory'])
    const late = parked(true)
    late.end('deadline')
    assert.equal(late.reported(true), 'deadline')
  })

  test('A request for looser bounds changes nothing', () => {
    const life = parked(true)
    life.claim('a', { memory: 100, cpu: 1, processes: 8 })
    assert.deepEqual(life.tighten({ memory: 200, cpu: 0.5 }).next, {
      memory: 100,
      cpu: 0.5,
      processes: 8,
    })
    assert.deepEqual(life.tighten({ cpu: 2, io: 10 }).next, {
      memory: 100,
      cpu: 0.5,
      io: 10,
      processes: 8,
    })
    assert.deepEqual(life.tighten({}).next, { memory: 100, cpu: 0.5, io: 10, processes: 8 })
  })

  test('An order to tighten that settles after the next claim changes nothing of that job', () => {
    for (const isHeld of [true, false]) {
      const life = parked(false)
      life.claim('a', bounds)
      const { settle } = life.tighten({ memory: 50, cpu: 0.5 })
      life.claim('a', bounds)
      assert.deepEqual(life.bounds, bounds)
      settle(isHeld)
      assert.deepEqual(life.bounds, bounds, `held: ${isHeld}`)
    }
  })

  test('Bounds that rise, or are dropped, fail an assertion of the warden', () => {
    assert.throws(() => assertFallen({ memory: 1 }, { memory: 2 }), AssertionError)
    assert.throws(() => assertFallen({ memory: 1, cpu: 1 }, { memory: 1 }), AssertionError)
    assert.throws(() => assertFallen({ memory: 1, io: 1 }, { memory: 1, io: 2 }), AssertionError)
    assertFallen({ memory: 2 }, { memory: 1, processes: 5 })
  })

  test('The meet of bounds is no looser than either', () => {
    assert.deepEqual(meetBounds({ memory: 5, cpu: 2 }, { memory: 7, cpu: 1, processes: 3 }), {
      memory: 5,
      cpu: 1,
      processes: 3,
    })
  })
})

function parked(isSingleUse: boolean): EnclosureLife {
  const life = new EnclosureLife('w1', isSingleUse)
  life.park()
  return life
}

function isConflict(thrown: unknown): boolean {
  return thrown instanceof MayflyError && thrown.code === 'CONFLICT'
}
