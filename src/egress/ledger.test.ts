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
  one.count(60, 0)
  assert.ok(two.maySend(40) && !two.maySend(41))
  assert.ok(small.maySend(10) && !small.maySend(11))
  two.count(20, 101)
  assert.ok(one.isOverdrawn && two.isOverdrawn && small.isOverdrawn)
})

test('What was tightened binds all of them, and nobody who has ended', () => {
  const accounts = new Accounts()
  const [one, two] = [ledgerOf(accounts), ledgerOf(accounts)]
  one.bind({ sentMax: 10, receivedMax: 10 })
  assert.ok(!one.maySend(11) && two.maySend(11))
  two.bind({ sentMax: 20, receivedMax: 20 })
  one.count(10, 0)
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
  const request = { scheme: 'https', host: 'a.example', port: 443 }
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
