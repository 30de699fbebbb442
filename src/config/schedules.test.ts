import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { MayflyError } from '../contract/error.ts'
import { loadConfig } from './load.ts'
import type { Issue } from './parse.ts'

const folder = mkdtempSync(join(tmpdir(), 'mayfly-schedules-'))
after(() => rmSync(folder, { recursive: true }))

function load(toml: string) {
  writeFileSync(join(folder, 'mayfly.toml'), toml)
  return loadConfig({ cwd: folder, file: 'mayfly.toml', env: { XDG_STATE_HOME: '/state' } })
}

/** Every fault as `line:column: message`. */
function faultsOf(toml: string): readonly string[] {
  try {
    load(toml)
    return []
  } catch (thrown) {
    assert(thrown instanceof MayflyError)
    const { issues } = thrown.details as { readonly issues: readonly Issue[] }
    return issues.map(({ line, column, message }) => `${line}:${column}: ${message}`)
  }
}

const warningsOf = (toml: string) =>
  load(toml).warnings.map((text) => text.slice(text.indexOf('mayfly.toml')))

test('S2-9: five seconds of everything, then no network, then the end, is a schedule', () => {
  const { config, warnings } = load(`[schedules.default]
phases = [
  { name = "full", for = "5s" },
  { name = "no-network", for = "10s", network = "none" },
]
`)
  assert.deepEqual(warnings, [])
  const { phases, clock, shorten } = config.schedules['default']!
  assert.deepEqual(
    phases.map((phase) => [phase.name, phase.for, phase.controls]),
    [
      ['full', 5000, {}],
      ['no-network', 10_000, { network: { allow: [], deny: [] } }],
    ],
  )
  assert.deepEqual([clock, shorten], ['wall', 0.5])
})

test('A schedule that loosens is reported with line and column: a later phase, and a zone beyond its whole', () => {
  const faults = faultsOf(`[schedules.default]
phases = [
  { name = "one", for = "1s", network = "none", cpu = 1 },
  { name = "two", for = "1s", network = { allow = ["a.example"] } },
]
[schedules.default.zones.input-validation]
phases = [
  { name = "brief", for = "1s", cpu = 2 },
  { name = "less", for = "1s", cpu = 0.5 },
  { name = "more", for = "1s", cpu = 0.6 },
]
`)
  assert.deepEqual(faults, [
    '4:31: schedules.default.phases.1.network: expected no more than the phase before it has: {"allow":[],"deny":[]}',
    '8:33: schedules.default.zones.input-validation.phases.0.cpu: expected no more than the whole has: 1',
    '10:32: schedules.default.zones.input-validation.phases.2.cpu: expected no more than the phase before it has: 0.5',
  ])
})

test('S2-28: a misspelt class of system calls is an error with its line, as its phase would close the class meant', () => {
  const faults = faultsOf(`[schedules.default]
phases = [
  { name = "one", for = "1s", syscalls = ["exec", "proces", "write"] },
  { name = "two", for = "1s", syscalls = "none" },
]
`)
  assert.deepEqual(faults, [
    '3:31: schedules.default.phases.0.syscalls: expected classes (exec, process, network, write, outside), not "proces"; did you mean "process"?',
  ])
})

test('An invalid condition is a fault at its key', () => {
  const faults = faultsOf(`[schedules.default]
phases = [
  { name = "one", for = "1s", advance_if = 'life.agee > 5' },
  { name = "two", for = "1s", terminate_if = 'calls' },
  { name = "three", for = "1s", terminate_if = 'events["egress/denied"] > 3', advance_if = "[1].all(x, true)" },
]
`)
  assert.deepEqual(
    faults.map((fault) => fault.slice(0, fault.indexOf(' '))),
    ['3:31:', '4:31:', '5:79:'],
  )
  assert.match(faults[1]!, /expected true or false, not a value of type "int"$/)
})

test('A condition on an event that no life reaches is a fault at its key', () => {
  const faults = faultsOf(`[schedules.default]
phases = [
  { name = "one", for = "1s", terminate_if = 'events["seen/honeytoken"] > 0' },
  { name = "two", for = "1s", advance_if = 'events["pool/queued"] > 0' },
]
[schedules.default.zones.parsing]
phases = [{ name = "a", for = "1s", terminate_if = 'events["job/ended"] > 0' }]
`)
  const expected = 'expected events["…"] with a point that a life reaches while it runs'
  assert.deepEqual(faults, [
    `4:31: schedules.default.phases.1.advance_if: ${expected}, not "pool/queued"`,
    `7:37: schedules.default.zones.parsing.phases.0.terminate_if: ${expected}, not "job/ended"`,
  ])
})

test('Phases longer than the longest life in total are a fault', () => {
  const day = '{ name = "a", for = "24h" }, { name = "b", for = 1 }'
  assert.deepEqual(faultsOf(`[schedules.default]\nphases = [${day}]\n`), [
    '2:1: schedules.default.phases: expected an end within 86400000 ms, found 86400001 ms of phases',
  ])
})

test('An origin and a capability have one schedule each', () => {
  const phases = 'phases = [{ name = "a", for = 1 }]'
  const faults = faultsOf(`[schedules.one]
${phases}
for_origins = ["page", "event"]
for_capabilities = ["webassembly"]
[schedules.two]
${phases}
for_origins = ["event"]
for_capabilities = ["webassembly"]
`)
  assert.deepEqual(faults, [
    '7:16: schedules.two.for_origins.0: expected one schedule for origin "event"; "one" is another',
    '8:21: schedules.two.for_capabilities.0: expected one schedule for capability "webassembly"; "one" is another',
  ])
  assert.match(faultsOf(`[schedules.one]\n${phases}\nfor_origins = ["fax"]\n`)[0]!, /^3:16/)
})

test('Certain mistakes are warnings with their position', () => {
  const warnings = warningsOf(`[ceilings]
timeout = "2s"
[schedules.default]
phases = [{ name = "full", for = "2s" }, { name = "late", for = "1s" }]
on_anomaly = { low = "terminate", medium = "advance", high = "capture" }
[schedules.default.zones.parsing]
phases = [{ name = "a", for = "5s" }, { name = "b", for = 1 }]
`)
  assert.deepEqual(warnings, [
    'mayfly.toml:5:35: schedules.default.on_anomaly.medium: "advance" is milder than "terminate", the reaction to low anomalies',
    'mayfly.toml:4:42: schedules.default.phases.1: phase "late" never begins: ceilings.timeout ends after 2000 ms',
    'mayfly.toml:7:39: schedules.default.zones.parsing.phases.1: phase "b" never begins: schedule "default" ends after 3000 ms',
  ])
})

test('A schedule with a name near "default", which no job has by default, is a warning', () => {
  const named = (name: string, more = '') =>
    warningsOf(`[schedules.${name}]\nphases = [{ name = "a", for = 1 }]\n${more}`)
  assert.deepEqual(named('defualt'), [
    'mayfly.toml:1:12: schedules.defualt: only jobs that name it have it; did you mean "default"?',
  ])
  const byDefault = '[schedules.default]\nphases = [{ name = "a", for = 1 }]\n'
  const bound = 'for_origins = ["page"]\n'
  for (const warnings of [named('strict'), named('defualt', bound), named('defualt', byDefault)])
    assert.deepEqual(warnings, [])
})

test('A clock of CPU time needs no warning, because every wall reports CPU time', () => {
  const warnings = warningsOf(`[schedules.default]
clock = "cpu"
phases = [{ name = "a", for = 1, advance_if = "life.cpu > 5" }]
`)
  assert.deepEqual(warnings, [])
})

test('A program zone is within the whole, has a name of its own, and only limits that a part of a wall can have', () => {
  const zone = (kind: string, program: string, phase: string) => `[schedules.default]
phases = [{ name = "full", for = "9s", memory = "64MB" }]
[schedules.default.zones.${kind}]
program = ${program}
phases = [{ name = "a", for = "2s", ${phase} }, { name = "b", for = "2s", cpu = 0.1 }]
`
  const both = zone('video', '["ffmpeg", "/opt/*/bin/ff*"]', 'memory = "32MB", cpu = 0.5')
  const { schedules } = load(both).config
  assert.deepEqual(schedules['default']!.zones['video']!.program, ['ffmpeg', '/opt/*/bin/ff*'])
  assert.deepEqual(faultsOf(zone('video', '"ffmpeg"', 'memory = "65MB"')), [
    '5:37: schedules.default.zones.video.phases.0.memory: expected no more than the whole has: 67108864',
  ])
  assert.deepEqual(faultsOf(zone('video', '"ffmpeg"', 'cpu = 0.05')), [
    '5:77: schedules.default.zones.video.phases.1.cpu: expected no more than the phase before it has: 0.05',
  ])
  for (const network of ['"none"', '{ allow = ["a.example"] }'])
    assert.deepEqual(faultsOf(zone('video', '"ffmpeg"', `network = ${network}`)), [
      '5:37: schedules.default.zones.video.phases.0.network: expected memory, cpu, processes only: "network" applies to the whole program',
    ])
  assert.deepEqual(faultsOf(zone('compute', '"ffmpeg"', 'cpu = 1')), [
    '4:1: schedules.default.zones.compute.program: expected another name for a zone of programs: "compute" is a kind of JavaScript code',
  ])
  assert.match(
    faultsOf(
      zone('video', '"ffmpeg"', `cpu = 1, terminate_if = "life.age > 5 || life.cpu > 9"`),
    ).join(),
    /^5:\d+: .*terminate_if: expected no "life.cpu"/,
  )
  const byCpu = zone('video', '"ffmpeg"', 'cpu = 1').replace(
    '\nprogram',
    '\nclock = "cpu"\nprogram',
  )
  assert.deepEqual(faultsOf(byCpu), [
    '4:1: schedules.default.zones.video.clock: expected "wall": the CPU time of a zone of programs is not known while it runs',
  ])
  for (const program of ['"bin/ffmpeg"', '"/usr/../ffmpeg"', '""', '[]'])
    assert.match(faultsOf(zone('video', program, 'cpu = 1')).join(), /^4:\d+: /, program)
})

test('S2-28: a misspelt zone is an error with its line, as its stricter schedule would never apply', () => {
  const zone = (name: string, more = '') => `[schedules.default]
phases = [{ name = "full", for = "9s" }]
[schedules.default.zones.${name}]
${more}
phases = [{ name = "a", for = "2s", memory = "8MB" }]
`
  assert.match(
    faultsOf(zone('validateName')).join(),
    /^3:\d+: schedules\.default\.zones\.validateName: expected a kind \(secrets, .*\), or a zone with "function" or "program"$/,
  )
  assert.match(
    faultsOf(zone('input-validatoin')).join(),
    /^3:\d+: .*did you mean "input-validation"\?$/,
  )
  for (const name of ['Compute', 'main', '"*"', 'constructor', '"__proto__"'])
    assert.match(faultsOf(zone(name)).join(), /^3:\d+: .*expected a kind|^3:\d+: /, name)
  const { schedules } = load(zone('names', 'function = "validateName"')).config
  assert.deepEqual(schedules['default']!.zones['names']!.function, ['validateName'])
  assert.match(
    faultsOf(zone('compute', 'function = "count"')).join(),
    /^4:1: .*expected another name for a zone of functions/,
  )
  assert.match(
    faultsOf(zone('names', 'function = "a"\nprogram = "awk"')).join(),
    /^4:1: .*expected one of "program" and "function"/,
  )
  for (const name of ['"a b"', '"main"', '""', '[]', '"a()"'])
    assert.match(faultsOf(zone('names', `function = ${name}`)).join(), /^4:\d+: /, name)
  const twice = `${zone('one', 'function = ["a", "b"]')}[schedules.default.zones.two]
function = "b"
phases = [{ name = "a", for = "2s" }]
`
  assert.match(faultsOf(twice).join(), /^7:1: .*expected one zone for the function "b"; "one" is/)
})

test('S2-7: policy check warns of controls that no wall enforces for a zone of JavaScript', () => {
  const warnings = warningsOf(`[schedules.default]
phases = [{ name = "full", for = "9s" }]
[schedules.default.zones.compute]
phases = [{ name = "a", for = "2s", cpu = 0.5, memory = "8MB" }]
[schedules.default.zones.exec]
phases = [{ name = "a", for = "2s" }]
`)
  assert.deepEqual(warnings, [
    'mayfly.toml:4:37: schedules.default.zones.compute.phases.0.cpu: "cpu" is not enforced for a JavaScript zone, only for the whole job; each run reports it',
    'mayfly.toml:5:26: schedules.default.zones.exec: no wall supports zones of the kind "exec": its functions stay in "main"',
  ])
})

test('S2-18: a channel rule names zones of its schedule, and a misspelt one is an error with its line', () => {
  const rule = (text: string) => `[schedules.default]
phases = [{ name = "full", for = "9s" }]
[schedules.default.zones.compute]
phases = [{ name = "a", for = "2s" }]
[schedules.default.zones.video]
program = "ffmpeg"
phases = [{ name = "a", for = "2s" }]
[[schedules.default.channels]]
${text}
`
  const { schedules } = load(rule('from = "main"\nto = "compute"\ncalls_per_second = 5')).config
  assert.deepEqual(schedules['default']!.channels, [
    { from: 'main', to: 'compute', permit: true, calls_per_second: 5 },
  ])
  assert.deepEqual(faultsOf(rule('from = "*"\nto = "main"\npermit = false\nfor = "1s"')), [])
  for (const name of ['compote', 'video', 'parsing', ''])
    assert.match(faultsOf(rule(`from = "*"\nto = "${name}"`)).join(), /^10:\d+: .*\.to: /, name)
  for (const wrong of ['calls = 0', 'calls_per_second = 0', 'permit = "no"', 'rate = 3'])
    assert.notDeepEqual(faultsOf(rule(`from = "*"\nto = "*"\n${wrong}`)), [], wrong)
})

test('A condition on a phase that its schedule does not have is a warning with its position and the nearest name', () => {
  const warnings = warningsOf(`[schedules.default]
phases = [
  { name = "full", for = 1, advance_if = 'life.phase == "fulll" || life["phase"] in ["full", "rest"]' },
  { name = "quiet", for = 1, terminate_if = '!("odd" != life.phase) && output.bytes == 1' },
]
`)
  assert.deepEqual(warnings, [
    'mayfly.toml:3:29: schedules.default.phases.0.advance_if: no phase here has the name "fulll"; did you mean "full"?',
    'mayfly.toml:3:29: schedules.default.phases.0.advance_if: no phase here has the name "rest"; there are full, quiet',
    'mayfly.toml:4:30: schedules.default.phases.1.terminate_if: no phase here has the name "odd"; there are full, quiet',
  ])
})
