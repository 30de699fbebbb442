import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parse } from 'smol-toml'
import { configSchema } from '../contract/config.ts'
import { inputSchema } from './check.ts'
import { loosenings, looseningRules } from './loosens.ts'

interface Node {
  readonly properties?: Readonly<Record<string, Node>>
  readonly additionalProperties?: Node | boolean
  readonly items?: Node
  readonly title?: string
}

/** Every key of a file, with `*` for names and list items; atomic values are not descended into. */
function* keysOf(node: Node, path: string): Generator<string> {
  if (node.title === undefined && node.properties)
    for (const [name, inner] of Object.entries(node.properties))
      yield* keysOf(inner, path === '' ? name : `${path}.${name}`)
  else if (node.title === undefined && node.items?.properties)
    yield* keysOf(node.items, `${path}.*`)
  else if (node.title === undefined && isTable(node.additionalProperties))
    yield* keysOf(node.additionalProperties, `${path}.*`)
  else yield path
}

function isTable(node: Node | boolean | undefined): node is Node {
  return typeof node === 'object' && node.properties !== undefined
}

const ruled = Object.keys(looseningRules())
const isRuled = (key: string) =>
  ruled.some((rule) => key === rule || (key.startsWith(`${rule}.`) && !hasBelow(rule)))
const hasBelow = (rule: string) => ruled.some((other) => other.startsWith(`${rule}.`))

test('Every key of the schema has a loosening rule, and no rule is for a removed key', () => {
  const keys = [...keysOf(inputSchema() as Node, '')]
  assert.ok(keys.length > 80, `${keys.length}`)
  assert.deepEqual(
    keys.filter((key) => !isRuled(key)),
    [],
    'give each of these a rule in src/config/loosens.ts',
  )
  const known = (rule: string) => keys.some((key) => key === rule || key.startsWith(`${rule}.`))
  assert.deepEqual(
    ruled.filter((rule) => !known(rule)),
    [],
  )
})

/** Keys that a text loosens. */
const loosened = (toml: string) => loosenings(parse(toml)).map(({ path }) => path.join('.'))

test('A file with the defaults, or less, loosens nothing', () => {
  assert.deepEqual(loosened(''), [])
  assert.deepEqual(
    loosened(`
default_provider = "auto"
network = "none"
[escalation]
0 = "process"
40 = "gvisor"
60 = "gvisor"
80 = "block"
[restraint]
10 = { cpu = 0.1, memory = 0.1, processes = 0.1, io = "1MB" }
[limits]
timeout = "1s"
memory = "64MB"
cpu = 0.5
[ceilings]
timeout = "10m"
network = { deny = ["*.internal.example"] }
output = "1MB"
[[tenants]]
name = "acme"
floor = "process"
ceilings = { memory = "1GB", network = { allow = ["api.example.com"] } }
[signing]
required = true
[capability_configs."ccos.io.read-file"]
timeout = "1s"
network_policy = "None"
[schedules.default]
phases = [{ name = "a", for = "1s", network = "open" }, { name = "b", for = "4s", network = "none" }]
on_anomaly = { low = "terminate", medium = "freeze", high = "capture" }
shorten = 0.1
[sessions]
anonymous = false
per_minute = 1
[cache]
bytes = 0
[server]
port = 8080
`),
    [],
  )
})

const loose: Readonly<Record<string, string>> = {
  network: 'network = "open"',
  'network ': 'network = { allow = ["a.example"] }',
  default_provider: 'default_provider = "mock"',
  state: 'state = "./state"',
  escalation: 'escalation = { 0 = "isolate", 40 = "process", 60 = "gvisor", 80 = "microvm" }',
  'escalation ': 'escalation = { 50 = "block" }',
  restraint: 'restraint = {}',
  'restraint ': 'restraint = { 20 = { cpu = 0.75 } }',
  'limits.timeout': '[limits]\ntimeout = "6s"',
  'limits.memory': 'limits = { memory = "1GB" }',
  'limits.result': 'limits.result = "5MB"',
  'ceilings.output': 'ceilings.output = "65MB"',
  'ceilings.artifacts': 'ceilings.artifacts = "65MB"',
  'tenants.0.keys': '[[tenants]]\nname = "a"\nkeys = []',
  'capability_configs.x.timeout': '[capability_configs.x]\ntimeout = "30s"',
  'capability_configs.x.network_policy':
    '[capability_configs.x]\nnetwork_policy = { AllowList = ["a.example"] }',
  'capability_configs.x.fs_policy': '[capability_configs.x]\nfs_policy = { ReadOnly = ["/etc"] }',
  'schedules.long.phases':
    '[schedules.long]\nphases = [{ name = "a", for = "3s" }, { name = "b", for = "3s" }]',
  'schedules.s.on_anomaly.high':
    '[schedules.s]\nphases = [{ name = "a", for = "1s" }]\non_anomaly = { high = "record" }',
  'schedules.s.zones.z.on_anomaly.medium':
    '[schedules.s]\nphases = [{ name = "a", for = "1s" }]\n[schedules.s.zones.z]\nphases = [{ name = "a", for = "1s" }]\non_anomaly = { medium = "record" }',
  'schedules.s.shorten': '[schedules.s]\nphases = [{ name = "a", for = "1s" }]\nshorten = 1',
  'anomalies.stronger_for': 'anomalies.stronger_for = "1h"',
  'mcp.servers': '[[mcp.servers]]\nname = "a"\nurl = "https://a.example"',
  webhooks: '[[webhooks]]\nurl = "https://a.example"\nsecret_file = "x"',
  credentials:
    '[[credentials]]\nname = "a"\nenv = "HOME"\nheader = "x-a"\nhosts = ["https://a.example"]',
  'cache.age': 'cache.age = "1h"',
  'server.host': 'server.host = "0.0.0.0"',
  'server.insecure_http': 'server.insecure_http = true',
  'server.tls_key': 'server.tls_key = "/etc/shadow"\nserver.tls_cert = "x"',
  'sessions.anonymous': 'sessions.anonymous = true',
  'sessions.cpu_share': 'sessions.cpu_share = 0.6',
  'sessions.bytes_per_minute': 'sessions.bytes_per_minute = "65MB"',
  'sessions.address.concurrency': 'sessions.address.concurrency = 17',
  'telemetry.endpoint': 'telemetry.endpoint = "https://a.example"',
  rules: '[[rules]]\nname = "a"\nwhen = "true"\nset = { network = "open" }',
  'a.b': '[a]\nb = 1',
}

for (const [key, toml] of Object.entries(loose))
  test(`A file that loosens "${key.trim()}" is detected: ${toml.split('\n', 1)[0]}`, () => {
    const found = loosened(toml)
    assert.ok(
      found.includes(key.trim()) || found.some((one) => key.startsWith(one)),
      `found ${found.join()}`,
    )
  })

test('A value that its rule cannot read counts as looser', () => {
  for (const toml of ['limits.timeout = []', 'escalation = 4', 'network = 7', 'restraint = "x"'])
    assert.equal(loosened(toml).length, 1, toml)
})

test('The rules compare with the defaults of the schema', () => {
  const { limits } = configSchema.parse({})
  assert.deepEqual(loosened(`limits.timeout = ${limits.timeout}`), [])
  assert.deepEqual(loosened(`limits.timeout = ${limits.timeout + 1}`), ['limits.timeout'])
})

test('A gate for images that lets more through loosens, a stricter one does not', () => {
  assert.deepEqual(
    loosened('[images]\nmax_severity = "low"\nunknown_severity = "critical"\nmax_feed_age = "12h"'),
    [],
  )
  assert.deepEqual(
    loosened(
      '[images]\nmax_severity = "high"\nunknown_severity = "low"\nmax_feed_age = "8d"\nallow_imported = true\nunscanned_defaults = true',
    ),
    [
      'images.max_severity',
      'images.unknown_severity',
      'images.max_feed_age',
      'images.allow_imported',
      'images.unscanned_defaults',
    ],
  )
})
