import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readCondition, type LifeView } from './condition.ts'
import { conditionCharactersMax } from './phase.ts'

const view: LifeView = {
  life: { age: 2000.9, phase: 'full', phaseAge: 500, cpu: 40 },
  events: { 'egress/denied': 3 },
  anomaly: { last: 'medium', count: 2 },
  output: { bytes: 4096 },
  calls: 7,
}

test('A condition sees the age, phase and cpu time of a life, its events, anomalies, output and calls', () => {
  const all = {
    'life.age == 2000': true,
    'life.phase == "full" && life.phaseAge < 1000': true,
    'life.phase in ["quiet", "brief"]': false,
    'life.cpu * 2 >= 80': true,
    'events["egress/denied"] >= 3': true,
    'events["egress/allowed"] > 0': false,
    'anomaly.last == "medium" && anomaly.count > 1': true,
    'anomaly.last in ["medium", "high"] || anomaly["last"] == "high"': true,
    'output.bytes > 1000000 || calls > 6': true,
    'double(calls) / 2.0 > 3.4 ? true : false': true,
    '!life.phase.startsWith("qu")': true,
  }
  for (const [text, answer] of Object.entries(all))
    assert.equal(readCondition(text).holds(view), answer, text)
})

test('An invalid condition is refused at parse time, with the expected form', () => {
  const all = {
    'life.age >': /in CEL/,
    'life.agee > 4': /agee/,
    'x > 1': /Unknown variable: x/,
    calls: /not a value of type "int"/,
    life: /not a value of type/,
    '"a" > 1': /in CEL/,
    'events["egress/deneid"] > 1': /not "egress\/deneid"/,
    'events[life.phase] > 1': /name of a point/,
    'events["limit/hit"] > 0': /that a life reaches while it runs, not "limit\/hit"/,
    'calls > 1 || events["server/started"] > 0': /while it runs, not "server\/started"/,
    'anomaly.last == "severe"': /one of none, low, medium, high, not "severe"/,
    '"High" != anomaly.last': /not "High"/,
    'anomaly.last in ["low", "severe"]': /not "severe"/,
    'anomaly.last >= "medium"': /compared by ==, != or in/,
    'anomaly.last.startsWith("crit")': /compared by ==, != or in/,
    'size(anomaly["last"]) > 4': /compared by ==, != or in/,
    'events.foo > 1': /name of a point/,
    'events[?"egress/denied"].hasValue()': /CEL|name of a point|hasValue/,
    '"seen/honeytokn" in events': /name of a point/,
    'calls > 1 || !("seen/honeytoken" in events)': /name of a point/,
    'size(events) > 3': /name of a point/,
    'events == {"seen/honeytokn": 1}': /name of a point/,
    '[events][0]["seen/honeytokn"] > 0': /name of a point/,
    '(calls > 1 ? events : events)["seen/honeytokn"] > 0': /name of a point/,
    [`calls > ${'1'.repeat(conditionCharactersMax)}`]: /at most/,
  }
  for (const [text, expected] of Object.entries(all))
    assert.throws(() => readCondition(text), { name: 'RangeError', message: expected }, text)
})

test('Slow constructs are refused: loops, regular expressions, deep or long expressions', () => {
  const refused = [
    '[1, 2].all(x, x > 0)',
    '[1].map(x, [1].map(y, x)).size() > 0',
    'events.exists(x, events[x] > 1)',
    'life.phase.matches("(a+)+$")',
    'has(life.age)',
    `${'('.repeat(40)}true${')'.repeat(40)}`,
    Array.from({ length: 70 }, () => 'true').join('||'),
    `1 in [${Array.from({ length: 40 }, () => '1').join()}]`,
  ]
  for (const text of refused) assert.throws(() => readCondition(text), RangeError, text)
})

test('A condition throws if it cannot be evaluated: unknown values, overflow, division by zero', () => {
  const unknown = { ...view, life: { ...view.life, cpu: undefined } }
  assert.throws(() => readCondition('life.cpu > 1').holds(unknown), /cpu/)
  assert.throws(() => readCondition('9223372036854775807 + calls > 0').holds(view), /overflow/)
  assert.throws(() => readCondition('1 / (calls - 7) > 0').holds(view), /zero/)
})

test('A parsed condition tells whether it reads CPU time', () => {
  for (const text of ['life.cpu > 1', 'calls > 1 || !(life.cpu + 1 < 2)', 'size([life.cpu]) > 0'])
    assert.equal(readCondition(text).readsCpu, true, text)
  for (const text of ['life.age > 1', 'life.phase == "cpu"', 'life.phase == "life.cpu"'])
    assert.equal(readCondition(text).readsCpu, false, text)
})
