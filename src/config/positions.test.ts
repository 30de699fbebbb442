import { test } from 'node:test'
import assert from 'node:assert/strict'
import { parse } from 'smol-toml'
import { type KeyPath, positionsOf } from './positions.ts'

const toml = `# a comment with [brackets] and "quotes"
default_provider = "auto"   # trailing
  "quoted key".'literal'.bare = 1

[escalation]
0 = "isolate"
40 = "process"

[[tenants]]
name = "one"

[[tenants]]
name = "two"
ceilings = { memory = "1GB", cpu = 2, nested = { deep = [1, 2] } }

[tenants.extra]
x = """
[not.a.table]
y = 1"""""
z = 'C:\\'

[capability_configs."ccos.network.http-fetch"]
network_policy = { AllowList = ["a", "b"] }

[schedules.default]
phases = [
  { name = "full", for = "5s" }, # first
  { name = "none",
    network = "none" },
]
"tab\\tkey\\u0041" = 1979-05-27 07:32:00
`

function at(path: KeyPath): string {
  const position = positionsOf(toml)(path)
  return position ? `${position.line}:${position.column}` : 'nowhere'
}

test('the sample is valid TOML', () => assert.ok(parse(toml)))

const expected: readonly (readonly [KeyPath, string])[] = [
  [['default_provider'], '2:1'],
  [['quoted key'], '3:3'],
  [['quoted key', 'literal'], '3:16'],
  [['quoted key', 'literal', 'bare'], '3:26'],
  [['escalation'], '5:2'],
  [['escalation', '40'], '7:1'],
  [['tenants'], '9:3'],
  [['tenants', 0], '9:3'],
  [['tenants', 0, 'name'], '10:1'],
  [['tenants', 1], '12:3'],
  [['tenants', 1, 'name'], '13:1'],
  [['tenants', 1, 'ceilings', 'cpu'], '14:30'],
  [['tenants', 1, 'ceilings', 'nested', 'deep', 1], '14:61'],
  [['tenants', 1, 'extra'], '16:10'],
  [['tenants', 1, 'extra', 'z'], '20:1'],
  [['capability_configs', 'ccos.network.http-fetch'], '22:21'],
  [['capability_configs', 'ccos.network.http-fetch', 'network_policy', 'AllowList', 1], '23:38'],
  [['schedules', 'default', 'phases', 0, 'for'], '27:20'],
  [['schedules', 'default', 'phases', 1, 'network'], '29:5'],
  [['schedules', 'default', 'tab\tkeyA'], '31:1'],
  [['not'], 'nowhere'],
]

for (const [path, position] of expected)
  test(`${JSON.stringify(path)} is at ${position}`, () => assert.equal(at(path), position))

test('windows line ends do not move a column', () => {
  const find = positionsOf('a = 1\r\n[b]\r\nc = 2\r\n')
  assert.deepEqual(find(['b', 'c']), { line: 3, column: 1 })
})
