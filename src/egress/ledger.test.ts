import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Accounts } from './account.ts'
import { attemptsMax, Ledger } from './ledger.ts'

const voice = { say: () => undefined }
const budget = { sentMax: 100, receivedMax: 100 }

function ledgerOf(accounts: Accounts, own = budget): Ledger {
  return new Ledger(own, { voice, run: 'exec_1', account: accounts.of('exec_1') })
}

test('What several walls of a run move is one sum, and a wall with less has less', () => {
  const accounts = new Accounts()
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

test('What was tightened binds all of them, and nobody who has ended', () => {
  const accounts = new Accounts()
  const [one, two] = [ledgerOf(accounts), ledgerOf(accounts)]
  one.bind({ sentMax: 10, receivedMax: 10 })
  assert.ok(!one.maySend(11) && two.maySend(11))
  two.bind({ sentMax: 20, receivedMax: 20 })
  one.count({ sent: 10 })
  assert.ok(two.maySend(10) && !two.maySend(11))
  two.close()
  assert.ok(!one.maySend(1))
})

test('Of a run that has no way out any more nothing is kept', () => {
  const accounts = new Accounts()
  const [one, two] = [ledgerOf(accounts), ledgerOf(accounts)]
  one.close()
  accounts.close('exec_1')
  assert.equal(accounts.size, 1)
  two.close()
  accounts.close('exec_1')
  accounts.close('exec_none')
  assert.equal(accounts.size, 0)
})

test('What is being opened has its line kept free, and none is opened once the run is over', () => {
  const said: string[] = []
  const ledger = new Ledger(budget, { voice: { say: (point) => void said.push(point) }, run: null })
  const request = { scheme: 'https', host: 'a.example', port: 443 } as const
  const asked = Array.from({ length: attemptsMax + 5 }, () => ledger.ask(request))
  assert.equal(asked.filter((one) => one !== undefined).length, attemptsMax)
  const [first, second] = asked
  assert.ok(ledger.settle(first!))
  ledger.enter(request, { verdict: 'allowed', because: 'it is granted' })
  assert.ok(ledger.isFull)
  ledger.end('the run is over')
  assert.ok(!ledger.settle(second!))
  assert.equal(ledger.ask(request), undefined)
  assert.equal(ledger.attempts.length, attemptsMax)
  assert.equal(ledger.attempts.filter(({ verdict }) => verdict === 'allowed').length, 1)
  assert.equal(said.filter((point) => point === 'egress/cut').length, attemptsMax - 1)
})

test('What is looked into takes the place of a line until it is known what is asked in it', () => {
  const ledger = ledgerOf(new Accounts())
  const to = { scheme: 'https', host: 'a.example', port: 443 } as const
  for (let n = 0; n < attemptsMax; n++) assert.ok(ledger.look())
  assert.ok(ledger.isFull && !ledger.look())
  ledger.looked(to, true)
  assert.deepEqual([ledger.isFull, ledger.attempts.length], [false, 0])
  ledger.looked(to, false)
  assert.deepEqual([ledger.isFull, ledger.attempts.length], [false, 1])
  assert.ok(ledger.look() && ledger.isFull)
  ledger.end('the run is over')
  ledger.looked(to, false)
  assert.equal(ledger.attempts.length, 1, 'a run that is over says no more')
  assert.ok(!ledger.look())
})

test('What one has leave to send nobody else has, until it ends', () => {
  const accounts = new Accounts()
  const [one, two] = [ledgerOf(accounts), ledgerOf(accounts)]
  const allowed = { verdict: 'allowed', because: 'it is granted' } as const
  const entry = one.enter({ scheme: 'https', host: 'a.example', port: 443 }, allowed)
  assert.ok(entry.reserve(60) && !entry.reserve(41) && entry.reserve(10))
  assert.ok(!one.maySend(31) && !two.maySend(31) && two.maySend(30))
  one.bind({ sentMax: 69, receivedMax: 100 })
  assert.deepEqual([one.overdrawn, two.overdrawn], ['send', undefined])
  entry.close()
  assert.equal(one.overdrawn, undefined)
  assert.ok(one.maySend(69) && two.maySend(100) && !entry.reserve(1))
})

test('Whoever shares an account is told when one of them may move less', () => {
  const accounts = new Accounts()
  const told: string[] = []
  const [one] = ['one', 'two'].map((name) => {
    const account = accounts.of('exec_1')
    return new Ledger(budget, { voice, run: 'exec_1', account, narrowed: () => told.push(name) })
  })
  one!.bind({ sentMax: 10, receivedMax: 10 })
  assert.deepEqual(told, ['one', 'two'])
})
