import type { LifeObserver, Supervisor } from '../../src/contract/pipeline.ts'
import { allControls, noFiles, noNetwork, type Controls } from '../../src/contract/controls.ts'
import type { Point, TimelineEntry, Emitter } from '../../src/contract/event.ts'
import type { Phase } from '../../src/contract/phase.ts'
import type { Profile } from '../../src/contract/profile.ts'
import type { Task, TaskIo } from '../../src/contract/provider.ts'
import { createGate } from '../../src/output/gate.ts'
import { supervise } from '../../src/lives/supervise.ts'
import { createMockProvider, type MockOptions } from '../../src/tiers/mock/provider.ts'
import { SimulatedClock } from './simulated-clock.ts'

/** Profile for the mock, as the job pipeline would make it. */
export function profileOf(parts: Partial<Profile> = {}): Profile {
  const controls = parts.controls ?? allControls
  const timeout = parts.limits?.timeout ?? 5000
  return {
    format: 1,
    provider: 'mock',
    tier: 'mock',
    floor: 0,
    image: 'mock',
    language: 'js',
    entry: 'body',
    tenant: 'default',
    controls,
    schedule: scheduleOf([{ name: 'full', for: timeout, controls }]),
    limits: limitsOf(),
    output: { gate: 'stream' },
    capture: false,
    digest: 'sha256:0',
    explain: [],
    ...parts,
  }
}

export function limitsOf(parts: Partial<Profile['limits']> = {}): Profile['limits'] {
  return {
    timeout: 5000,
    memory: 128 * 2 ** 20,
    cpu: 1,
    processes: 64,
    disk: 64 * 2 ** 20,
    output: 2 ** 20,
    result: 4 * 2 ** 20,
    artifacts: 16 * 2 ** 20,
    ...parts,
  }
}

export function scheduleOf(phases: readonly Phase[], shorten = 0.5): Profile['schedule'] {
  const onAnomaly = { low: 'record', medium: 'advance', high: 'terminate' } as const
  return { name: 'test', phases, onAnomaly, shorten }
}

/** Phases that close a little more each: nothing, network, files, calls. */
export function phasesOf(...lengths: readonly number[]): Phase[] {
  const closed: Partial<Controls>[] = [
    {},
    { network: noNetwork },
    { network: noNetwork, files: noFiles },
    { network: noNetwork, files: noFiles, capabilities: [] },
  ]
  return lengths.map((length, place) => ({
    name: `phase-${place}`,
    for: length,
    controls: { ...allControls, ...closed[Math.min(place, closed.length - 1)] },
  }))
}

export function taskOf(parts: Partial<Task> = {}): Task {
  return {
    run: 'exec_1',
    language: 'js',
    entry: 'body',
    code: '',
    inputText: 'null',
    files: [],
    capabilities: [],
    ...parts,
  }
}

export interface Said {
  readonly point: Point
  readonly fields: Readonly<Record<string, unknown>>
}

/** Life on a simulated clock: mock wall, supervisor and gate, as in the job pipeline. */
export async function stage(
  mock: MockOptions,
  profile: Profile = profileOf(),
  { observers = [] }: { readonly observers?: readonly LifeObserver[] } = {},
) {
  const clock = new SimulatedClock()
  const canceller = new AbortController()
  const said: Said[] = []
  const emitter: Emitter = { emit: (point, fields = {}) => void said.push({ point, fields }) }
  const sandbox = await createMockProvider(mock).launch(profile, clock)
  const gate = createGate(profile)
  const { signal } = canceller
  const heard: TimelineEntry[] = []
  const on = (entry: TimelineEntry) => void heard.push(entry)
  const supervisor = supervise({ sandbox, profile, clock, emitter, signal, on, observers })
  const io: TaskIo = {
    stdout: (chunk) => gate.stdout(chunk),
    stderr: (chunk) => gate.stderr(chunk),
    released() {},
    call: (name) => Promise.resolve(JSON.stringify(name)),
  }
  return { clock, canceller, said, heard, sandbox, gate, supervisor, io, profile }
}

/** A supervisor of the test's own with one observer, called as the real one calls it. */
export function observedBy(
  observer: LifeObserver,
  supervisor: Supervisor,
): Pick<Supervisor, 'run'> {
  observer.attach?.(supervisor, () => undefined)
  return {
    async run(task, io) {
      const given = observer.begin?.(task, io) ?? { task, io }
      const run = await supervisor.run(given.task, given.io)
      const ended = observer.end?.(run) ?? run
      observer.close?.()
      return ended
    },
  }
}
