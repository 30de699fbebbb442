import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '../../src/contract/clock.ts'
import { allControls, noFiles, noNetwork, type Controls } from '../../src/contract/controls.ts'
import type { Event } from '../../src/contract/event.ts'
import type { Entry, JobFile, Language } from '../../src/contract/job.ts'
import type { Profile } from '../../src/contract/profile.ts'
import type {
  Ability,
  CallAnswer,
  Provider,
  Sandbox,
  Task,
  TaskEnd,
  TaskIo,
} from '../../src/contract/provider.ts'
import { strengthOf } from '../../src/contract/tier.ts'
import { guestsInJs, type GuestName, type Guests } from './guests.ts'

/** Input of the suite: a provider, and its cleanup. */
export interface Made {
  readonly provider: Provider
  close(): Promise<void>
}

/** Language and guests of a provider that does not run JavaScript. */
export interface GuestLanguage {
  readonly language: Language
  readonly entry: Entry
  readonly guests: Guests
}

/** Abilities of a provider of programs for jobs of one language. */
export function abilitiesIn(language: Language, can: readonly Ability[]): readonly Ability[] {
  const lacks: readonly Ability[] = [
    // A script is no function that could be called again.
    ...(language === 'sh' ? (['batch'] as const) : []),
    // A cell is no program: its memory is not copied, it has no packages, and it cannot be forked.
    ...(language === 'js' ? notOfCells : []),
    // Only a cell calls the host, and reports which functions ran.
    ...(language === 'js' ? [] : (['calls', 'trace'] as const)),
  ]
  return can.filter((ability) => !lacks.includes(ability))
}

const notOfCells = ['capture-memory', 'capture-disk', 'packages', 'program-zones', 'fork'] as const

export const inJs: GuestLanguage = { language: 'js', entry: 'body', guests: guestsInJs }

/** Parameters of a case. */
export interface Wish {
  readonly controls?: Partial<Controls>
  /** Controls of a later phase. */
  readonly later?: Partial<Controls>
  readonly limits?: Partial<Profile['limits']>
  readonly entry?: Entry
  readonly input?: unknown
  /** Number of calls of a batch: `input` is then a list of as many. */
  readonly calls?: number
  readonly files?: readonly JobFile[]
  /** Opens a session: the sandbox takes execs, and the source is empty. */
  readonly session?: true
  /** Callable capabilities, with their answers. */
  readonly capabilities?: Readonly<Record<string, (argsText: string) => Promise<string> | string>>
  readonly io?: Partial<Pick<TaskIo, 'stdout' | 'stderr'>>
}

/** A running task: its output so far, and its end. */
export interface Running {
  readonly sandbox: Sandbox
  readonly end: Promise<TaskEnd>
  /** Settles when user code was released. */
  released(): Promise<void>
  readonly releases: () => number
  readonly stdout: () => string
  readonly stderr: () => string
  /** Capability calls that reached the host, as `name(argsText)`. */
  readonly calls: readonly string[]
  /** Ends of the batch calls so far. */
  readonly answers: readonly CallAnswer[]
  readonly events: readonly Event[]
  /** Settles once stdout holds the text. */
  said(text: string): Promise<void>
}

/** A life that ended. */
export interface Ended {
  readonly end: TaskEnd
  readonly stdout: string
  readonly stderr: string
  readonly calls: readonly string[]
  readonly answers: readonly CallAnswer[]
  readonly events: readonly Event[]
}

/** Deadline of each wait of a case, in milliseconds. In the long run two suites of machines share the processors. */
export const patienceMs = process.env['MAYFLY_LONG'] === undefined ? 60_000 : 600_000
/** Timeout of a guest unless its case is about time. Generous, because the suite may share its machine. */
const timeoutMs = 10_000
const mebibyte = 2 ** 20

/** Fixture: one provider, with short methods to create sandboxes and run guests. */
export class Stand {
  readonly provider: Provider
  readonly make: () => Promise<Made>
  readonly #language: GuestLanguage

  constructor(provider: Provider, make: () => Promise<Made>, language: GuestLanguage) {
    this.provider = provider
    this.make = make
    this.#language = language
  }

  /** Guests available in every language, in this one; a case names those it needs. */
  get guests(): Readonly<Record<GuestName, string>> {
    return this.#language.guests as Readonly<Record<GuestName, string>>
  }

  profile(wish: Wish = {}): Profile {
    return profileFor(this.provider, this.#language, wish)
  }

  /** The same fixture for another provider. */
  at(provider: Provider): Stand {
    return new Stand(provider, this.make, this.#language)
  }

  launch(wish: Wish = {}): Promise<Sandbox> {
    return this.provider.launch(this.profile(wish), systemClock)
  }

  /** Starts a guest in a new sandbox. The caller disposes `sandbox`. */
  async start(source: string, wish: Wish = {}): Promise<Running> {
    return this.begin(await this.launch(wish), source, wish)
  }

  /** Runs a task in a sandbox, and records its output. */
  begin(sandbox: Sandbox, source: string, wish: Wish = {}): Running {
    return begin(sandbox, taskFor(this.#language, source, wish), wish)
  }

  /** Runs a guest to its end and destroys its sandbox. */
  async run(source: string, wish: Wish = {}): Promise<Ended> {
    const running = await this.start(source, wish)

    await using _sandbox = running.sandbox
    const end = await inTime(running.end, 'the end of a run')
    const { stdout, stderr, calls, answers, events } = running
    return { end, stdout: stdout(), stderr: stderr(), calls, answers, events }
  }
}

function begin(sandbox: Sandbox, task: Task, wish: Wish): Running {
  const said = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] }
  const text = (stream: keyof typeof said) => Buffer.concat(said[stream]).toString()
  const released = Promise.withResolvers<void>()
  const calls: string[] = []
  const answers: CallAnswer[] = []
  const events: Event[] = []
  let releases = 0
  const hear = (stream: keyof typeof said) => (chunk: Uint8Array) => {
    said[stream].push(Uint8Array.from(chunk))
    return wish.io?.[stream]?.(chunk)
  }
  const io: TaskIo = {
    stdout: hear('stdout'),
    stderr: hear('stderr'),
    released() {
      releases++
      released.resolve()
    },
    answered: (answer) => void answers.push(answer),
    ...(wish.capabilities && {
      async call(name: string, argsText: string) {
        calls.push(`${name}(${argsText})`)
        const answer = wish.capabilities?.[name]
        if (!answer) throw new Error(`Cannot call "${name}": nobody answers`)
        return answer(argsText)
      },
    }),
  }
  sandbox.watch((event) => void events.push(event))
  const end = sandbox.run(task, io)
  // A case that expects a rejection awaits it itself; this prevents an unhandled one.
  end.catch(() => undefined)
  return {
    sandbox,
    end,
    released: () => inTime(released.promise, 'the release of user code'),
    releases: () => releases,
    stdout: () => text('stdout'),
    stderr: () => text('stderr'),
    calls,
    answers,
    events,
    said: (wanted) => until(() => text('stdout').includes(wanted), `"${wanted}" on stdout`),
  }
}

function taskFor({ language, entry }: GuestLanguage, source: string, wish: Wish): Task {
  return {
    run: 'exec_conformance',
    language,
    entry: wish.entry ?? entry,
    code: source,
    inputText: JSON.stringify(wish.input ?? null),
    files: wish.files ?? [],
    capabilities: Object.keys(wish.capabilities ?? {}),
    ...(wish.calls !== undefined && { calls: wish.calls }),
    ...(wish.session && { session: true }),
  }
}

function profileFor(
  provider: Provider,
  { language, entry }: GuestLanguage,
  { controls = {}, later, limits = {}, ...wish }: Wish,
) {
  const memory = controls.memory ?? limits.memory ?? 128 * mebibyte
  const granted: Controls = {
    ...allControls,
    network: noNetwork,
    files: noFiles,
    cpu: 1,
    capabilities: Object.keys(wish.capabilities ?? {}).sort(),
    ...controls,
    memory,
  }
  const timeout = limits.timeout ?? timeoutMs
  return {
    format: 1,
    provider: provider.name,
    tier: provider.tier,
    floor: strengthOf[provider.tier],
    image: 'conformance',
    language,
    entry: wish.entry ?? entry,
    tenant: 'conformance',
    controls: granted,
    schedule: {
      name: 'default',
      phases: [
        { name: 'full', for: timeout, controls: granted },
        ...(later ? [{ name: 'later', for: 1, controls: { ...granted, ...later } }] : []),
      ],
      onAnomaly: { low: 'record', medium: 'advance', high: 'terminate' },
      shorten: 0.5,
    },
    limits: {
      cpu: 1,
      processes: 64,
      disk: 64 * mebibyte,
      output: mebibyte,
      result: 4 * mebibyte,
      artifacts: 16 * mebibyte,
      ...limits,
      timeout,
      memory,
    },
    output: { gate: 'stream' },
    capture: false,
    digest: `sha256:${'0'.repeat(64)}`,
    explain: [],
  } as const satisfies Profile
}

/** Summary of an end, for assertion messages. */
export function messageIn(end: TaskEnd): string {
  return `${end.status}: ${end.error?.code} ${end.error?.message}`
}

/** Rejects on timeout. */
export async function inTime<T>(promise: Promise<T>, what: string, ms = patienceMs): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`Waited ${ms} ms for ${what}`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

const napMs = 5

/**
 * Polls until it holds, for a number of sleeps that `ms` allow: a stall of the machine stops both sides.
 */
export async function until(
  holds: () => boolean,
  what: string,
  ms: number = patienceMs,
): Promise<void> {
  for (let naps = 0; !holds(); naps++) {
    if (naps * napMs > ms) throw new Error(`Waited ${ms} ms for ${what}`)
    await sleep(napMs)
  }
}
