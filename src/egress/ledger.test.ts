import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TrafficAccounts } from './traffic-account.ts'
import { attemptsMax, Ledger } from './ledger.ts'

const emitter = { emit: () => undefined }
const budget = { sentMax: 100, receivedMax: 100 }

function ledgerOf(accounts: TrafficAccounts, own = budget, run = 'exec_1'): Ledger {
  return new Ledger(own, { emitter, run, account: accounts.of(run) })
}

test('Bytes of all walls of a run are one sum, and a smaller wall budget holds on its own', () => {
  const accounts = new TrafficAccounts()
  const [one, two, small] = [
    ledgerOf(accounts),
    ledgerOf(accounts),
    ledgerOf(accounts, { sentMax: 10, receivedMax: 10 }),
  ]
  one.count({ sent: 60 })
  assert.ok(two.maySend(40) && !two.maySend(41))
  assert.ok(small.maySend(10) && !small.maySend(11))
  two.count({ sent: 20, received: 101 })
  assert.deepEqual(
    [one.overdrawn, two.overdrawn, small.overdrawn],
    ['receive', 'receive', 'receive'],
  )
})

test('A tightened budget binds all open walls, and closed walls no longer count', () => {
  const accounts = new TrafficAccounts()
  const [one, two] = [ledgerOf(accounts), ledgerOf(accounts)]
  one.lowerBudget({ sentMax: 10, receivedMax: 10 })
  assert.ok(!one.maySend(11) && two.maySend(11))
  two.lowerBudget({ sentMax: 20, receivedMax: 20 })
  one.count({ sent: 10 })
  assert.ok(two.maySend(10) && !two.maySend(11))
  two.close()
  assert.ok(!one.maySend(1))
})

test('Accounts of runs without an open egress path are deleted', () => {
  const accounts = new TrafficAccounts()
  const [one, two] = [ledgerOf(accounts), ledgerOf(accounts)]
  one.close()
  accounts.close('exec_1')
  assert.equal(accounts.size, 1)
  two.close()
  accounts.close('exec_1')
  accounts.close('exec_none')
  assert.equal(accounts.size, 0)
})

test('A run, its forks and a fork of one have what the run had left, also once it has ended; another run has its own', () => {
  const accounts = new TrafficAccounts()
  const parent = ledgerOf(accounts)
  parent.count({ sent: 30 })
  accounts.join('child', 'exec_1')
  accounts.join('small', 'exec_1')
  accounts.join('grandchild', 'child')
  const [child, small, grandchild] = [
    ledgerOf(accounts, budget, 'child'),
    ledgerOf(accounts, { sentMax: 10, receivedMax: 10 }, 'small'),
    ledgerOf(accounts, budget, 'grandchild'),
  ]
  const other = ledgerOf(accounts, budget, 'exec_2')
  assert.ok(child.maySend(70) && !child.maySend(71) && small.maySend(10) && !small.maySend(11))
  grandchild.count({ sent: 65 })
  for (const one of [parent, child, small]) assert.ok(one.maySend(5) && !one.maySend(6))
  for (const [run, one] of [
    ['exec_1', parent],
    ['child', child],
    ['grandchild', grandchild],
  ] as const) {
    one.close()
    accounts.close(run)
  }
  // The only wall that is open has a smaller budget than the family has spent.
  assert.ok(small.maySend(5) && !small.maySend(6))
  assert.equal(small.overdrawn, undefined)
  small.count({ sent: 5, received: 1 })
  assert.ok(!small.maySend(1) && other.maySend(100))
})

test('Received bytes of a fork cut its parent and its siblings', () => {
  const accounts = new TrafficAccounts()
  const parent = ledgerOf(accounts)
  for (const run of ['one', 'two']) accounts.join(run, 'exec_1')
  const [one, two] = ['one', 'two'].map((run) => ledgerOf(accounts, budget, run))
  one!.count({ received: 60 })
  assert.equal(two!.overdrawn, undefined)
  two!.count({ received: 41 })
  assert.deepEqual(
    [parent, one!, two!].map(({ overdrawn }) => overdrawn),
    Array(3).fill('receive'),
  )
})

test('A parent that is tightened once it was forked leaves its children the budget that they have', () => {
  const accounts = new TrafficAccounts()
  const parent = ledgerOf(accounts)
  accounts.join('child', 'exec_1')
  const child = ledgerOf(accounts, { sentMax: 50, receivedMax: 50 }, 'child')
  parent.lowerBudget({ sentMax: 10, receivedMax: 10 })
  assert.ok(child.maySend(50) && !child.maySend(51) && !parent.maySend(11))
  parent.close()
  assert.ok(child.maySend(50) && !child.maySend(51))
})

test('The account of a family is deleted once all have ended, in any order, and also if a child never opened a path', () => {
  const runs = ['exec_1', 'child', 'grandchild'] as const
  for (const order of [runs, runs.toReversed(), ['child', 'exec_1', 'grandchild'] as const]) {
    const accounts = new TrafficAccounts()
    const ledgers = { exec_1: ledgerOf(accounts) } as Record<string, Ledger>
    const leaves: Record<string, () => void> = {
      child: accounts.join('child', 'exec_1'),
      grandchild: accounts.join('grandchild', 'child'),
    }
    ledgers['child'] = ledgerOf(accounts, budget, 'child')
    for (const run of order) {
      assert.ok(accounts.size > 0)
      ledgers[run]?.close()
      if (ledgers[run]) accounts.close(run)
      leaves[run]?.()
      leaves[run]?.()
    }
    assert.equal(accounts.size, 0, order.join())
  }
})

test('Pending attempts reserve their ledger line, and none is opened after the run ends', () => {
  const said: string[] = []
  const ledger = new Ledger(budget, {
    emitter: { emit: (point) => void said.push(point) },
    run: null,
  })
  const request = { scheme: 'https', host: 'a.example', port: 443 } as const
  const asked = Array.from({ length: attemptsMax + 5 }, () => ledger.beginAttempt(request))
  assert.equal(asked.filter((one) => one !== undefined).length, attemptsMax)
  const [first, second] = asked
  assert.ok(ledger.endAttempt(first!))
  ledger.record(request, { verdict: 'allowed', because: 'it is granted' })
  assert.ok(ledger.isFull)
  ledger.end('the run is over')
  assert.ok(!ledger.endAttempt(second!))
  assert.equal(ledger.beginAttempt(request), undefined)
  assert.equal(ledger.attempts.length, attemptsMax)
  assert.equal(ledger.attempts.filter(({ verdict }) => verdict === 'allowed').length, 1)
  assert.equal(said.filter((point) => point === 'egress/cut').length, attemptsMax - 1)
})

test('A long reason is cut short in attempts and events, of a denied connection and of one that is cut', () => {
  const told: unknown[] = []
  const emitter = { emit: (_point: string, fields: object = {}) => void told.push(fields) }
  const ledger = new Ledger(budget, { emitter, run: 'exec_1' })
  const to = { scheme: 'http', host: 'a.example', port: 80 } as const
  const long = 'x'.repeat(8000)
  ledger.record(to, { verdict: 'denied', because: long })
  ledger.record(to, { verdict: 'allowed', because: 'it is granted' }).cut(long)
  for (const { because } of ledger.attempts) assert.equal(because.length, 1000)
  assert.ok(JSON.stringify(told).length < 3000)
})

test('A TLS inspection holds a ledger line until its request is known', () => {
  const ledger = ledgerOf(new TrafficAccounts())
  const to = { scheme: 'https', host: 'a.example', port: 443 } as const
  for (let n = 0; n < attemptsMax; n++) assert.ok(ledger.beginInspection())
  assert.ok(ledger.isFull && !ledger.beginInspection())
  ledger.endInspection(to, true)
  assert.deepEqual([ledger.isFull, ledger.attempts.length], [false, 0])
  ledger.endInspection(to, false)
  assert.deepEqual([ledger.isFull, ledger.attempts.length], [false, 1])
  assert.ok(ledger.beginInspection() && ledger.isFull)
  ledger.end('the run is over')
  ledger.endInspection(to, false)
  assert.equal(ledger.attempts.length, 1, 'a run that is over says no more')
  assert.ok(!ledger.beginInspection())
})

test('Reserved bytes are exclusive until their entry is closed', () => {
  const accounts = new TrafficAccounts()
  const [one, two] = [ledgerOf(accounts), ledgerOf(accounts)]
  const allowed = { verdict: 'allowed', because: 'it is granted' } as const
  const entry = one.record({ scheme: 'https', host: 'a.example', port: 443 }, allowed)
  assert.ok(entry.reserve(60) && !entry.reserve(41) && entry.reserve(10))
  assert.ok(!one.maySend(31) && !two.maySend(31) && two.maySend(30))
  one.lowerBudget({ sentMax: 69, receivedMax: 100 })
  assert.deepEqual([one.overdrawn, two.overdrawn], ['send', undefined])
  entry.close()
  assert.equal(one.overdrawn, undefined)
  assert.ok(one.maySend(69) && two.maySend(100) && !entry.reserve(1))
})

test('All walls of an account are notified when one of them is tightened', () => {
  const accounts = new TrafficAccounts()
  const told: string[] = []
  const [one] = ['one', 'two'].map((name) => {
    const account = accounts.of('exec_1')
    return new Ledger(budget, { emitter, run: 'exec_1', account, narrowed: () => told.push(name) })
  })
  one!.lowerBudget({ sentMax: 10, receivedMax: 10 })
  assert.deepEqual(told, ['one', 'two'])
})
