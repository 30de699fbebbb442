/**
 * Classes of the library under an older Node: the same members, generated from the table, each of which calls the host
 * process (`host.ts`). In the bundle for older Nodes this module replaces `mayfly.ts`, `box.ts` and `box-terminal.ts`.
 */
import type { Box as RealBox } from '../box.ts'
import type { BoxTerminal as RealBoxTerminal } from '../box-terminal.ts'
import type { MayflyInternals } from '../internals.ts'
import type { Mayfly as RealMayfly, OpenOptions } from '../mayfly.ts'
import { MayflyError } from '../../contract/error.ts'
import { startRoad, type RoadProcess } from './connect.ts'
import {
  classes,
  isRow,
  openRow,
  type ClassName,
  type MemberRow,
  type MemberRows,
} from './table.ts'

/** Reference to an object of the host process. */
interface RemoteObject {
  readonly road: RoadProcess
  readonly id: number
  readonly facts: Readonly<Record<string, unknown>>
}

const remotes = new WeakMap<object, RemoteObject>()
/** Copies of data with the number by which the host process refers to them. */
const named = new WeakMap<object, { readonly road: RoadProcess; readonly id: number }>()
/** Instances by their number, whose promises are read before their process ends. */
const instances = new WeakMap<RoadProcess, Map<number, WeakRef<object>>>()
/** Frees objects in the host process that are unreachable here. */
const collected = new FinalizationRegistry<{ readonly road: RoadProcess; readonly id: number }>(
  ({ road, id }) => {
    instances.get(road)?.delete(id)
    road.peer.free([id])
  },
)
const internals = Symbol('internals')

const made: Readonly<Record<ClassName, { readonly prototype: object }>> = {
  Mayfly: remoteClass('Mayfly'),
  Box: remoteClass('Box'),
  BoxTerminal: remoteClass('BoxTerminal'),
  AddedCustom: remoteClass('AddedCustom'),
}

const RemoteMayfly = Object.assign(made.Mayfly, { open }) as unknown as typeof RealMayfly
const RemoteBox = made.Box as unknown as typeof RealBox
const RemoteBoxTerminal = made.BoxTerminal as unknown as typeof RealBoxTerminal

// Exported under the names of the classes that they replace.
export { RemoteMayfly as Mayfly, RemoteBox as Box, RemoteBoxTerminal as BoxTerminal }

export function internalsOf(mayfly: RealMayfly): MayflyInternals {
  return (mayfly as unknown as Record<symbol, MayflyInternals>)[internals]!
}

async function open(config?: unknown, options: OpenOptions = {}): Promise<unknown> {
  const objects = options.providers?.filter((one) => typeof one !== 'string') ?? []
  if (objects.length > 0) throw noObjects()
  const road: RoadProcess = startRoad({
    instance: (id, className, facts) => adopt(road, id, className as ClassName, facts),
    remember(id, value) {
      named.set(value, { road, id })
      collected.register(value, { road, id })
    },
    referenceTo: (value) => {
      const known = remotes.get(value) ?? named.get(value)
      return known?.road === road ? known.id : undefined
    },
  })
  try {
    return await road.peer.call(0, 'open', [config, options], openRow)
  } catch (thrown) {
    await road.end()
    throw thrown
  }
}

function noObjects(): MayflyError {
  return new MayflyError(
    'UNAVAILABLE',
    `Cannot use a provider object under Node ${process.versions.node}: jobs run in another process`,
    { hint: 'Give the path of its module, or run the application under Node 26' },
  )
}

/** Class with a private constructor, like the real one. */
function remoteClass(className: ClassName): { readonly prototype: object } {
  const { [className]: constructor } = {
    [className]: function (): never {
      throw new TypeError(`Cannot construct a ${className}: a method of Mayfly makes one`)
    },
  }
  const { prototype } = constructor!
  defineMembers(prototype, classes[className], '', (self) => remotes.get(self as object)!)
  if (className === 'Mayfly') defineMayfly(prototype)
  Object.defineProperty(prototype, Symbol.asyncDispose, {
    async value(this: { close(): Promise<unknown> }) {
      await this.close()
    },
  })
  return constructor as unknown as { readonly prototype: object }
}

type RemoteOf = (self: unknown) => RemoteObject

function defineMembers(target: object, rows: MemberRows, prefix: string, remoteOf: RemoteOf): void {
  for (const [name, row] of Object.entries(rows)) {
    const key = name === 'internals' ? internals : name
    const path = prefix + name
    if (isRow(row)) Object.defineProperty(target, key, propertyFor(row, path, remoteOf))
    else
      Object.defineProperty(target, key, {
        get: remembered((self) => inner(row, path, remoteOf(self))),
      })
  }
}

/** Object that only groups members, such as `box.files`. */
function inner(rows: MemberRows, path: string, remote: RemoteObject): object {
  const group = {}
  defineMembers(group, rows, `${path}.`, () => remote)
  return group
}

function propertyFor(row: MemberRow, path: string, remoteOf: RemoteOf): PropertyDescriptor {
  switch (row.kind) {
    case 'call':
      return method((self, args) => {
        const { road, id } = remoteOf(self)
        if (row.settles && !instances.has(road))
          return (self as Record<string, unknown>)[row.settles]
        return road.peer.call(id, path, args, row)
      })
    case 'sync':
      return method((self, args) => {
        const { road, id } = remoteOf(self)
        return road.wait(id, path, args)
      })
    case 'fact':
      return { get: withSelf((self) => remoteOf(self).facts[path]) }
    case 'look':
      return { get: withSelf((self) => waitFor(remoteOf(self), path)) }
    case 'later':
      return { get: remembered((self) => call(remoteOf(self), path)) }
    case 'readable':
      return { get: remembered((self) => readableAt(remoteOf(self), path)) }
    case 'writable':
      return { get: remembered((self) => writableAt(remoteOf(self), path)) }
  }
}

function method(work: (self: unknown, args: readonly unknown[]) => unknown): PropertyDescriptor {
  return {
    writable: true,
    configurable: true,
    value(this: unknown, ...args: readonly unknown[]) {
      return work(this, args)
    },
  }
}

function withSelf(work: (self: unknown) => unknown) {
  return function (this: unknown): unknown {
    return work(this)
  }
}

/** Getter that is computed once for each object. */
function remembered(work: (self: unknown) => unknown) {
  const known = new WeakMap<object, unknown>()
  return function (this: object): unknown {
    if (!known.has(this)) known.set(this, work(this))
    return known.get(this)
  }
}

const call = ({ road, id }: RemoteObject, path: string, ...args: readonly unknown[]) =>
  road.peer.call(id, path, args)
const waitFor = ({ road, id }: RemoteObject, path: string) => road.wait(id, path, [])

interface ReadResult {
  readonly done: boolean
  readonly value?: unknown
}

/** Stream that reads ahead one chunk, like the real one. */
function readableAt(remote: RemoteObject, path: string): ReadableStream {
  return new ReadableStream(
    {
      async pull(controller) {
        const { done, value } = (await call(remote, path, 'read')) as ReadResult
        if (done) controller.close()
        else controller.enqueue(value)
      },
      cancel: () => call(remote, path, 'cancel') as Promise<void>,
    },
    { highWaterMark: 0 },
  )
}

function writableAt(remote: RemoteObject, path: string): WritableStream {
  const send = (...args: readonly unknown[]) => call(remote, path, ...args) as Promise<void>
  return new WritableStream({
    write: (chunk) => send('write', chunk),
    close: () => send('close'),
    abort: (reason) => send('abort', reason),
  })
}

function adopt(road: RoadProcess, id: number, className: ClassName, facts: unknown): object {
  const instance = Object.create(made[className].prototype) as object
  remotes.set(instance, { road, id, facts: facts as RemoteObject['facts'] })
  const all = instances.get(road) ?? new Map<number, WeakRef<object>>()
  instances.set(road, all.set(id, new WeakRef(instance)))
  collected.register(instance, { road, id })
  return instance
}

/** `close` ends the process as well, and `addProvider` takes an object, which cannot cross. */
function defineMayfly(prototype: object): void {
  const ending = new WeakMap<object, Promise<void>>()
  Object.defineProperties(prototype, {
    close: method((self) => {
      const mayfly = self as object
      const ended = ending.get(mayfly) ?? close(remotes.get(mayfly)!)
      ending.set(mayfly, ended)
      return ended
    }),
    addProvider: method(() => Promise.reject(noObjects())),
  })
}

async function close(remote: RemoteObject): Promise<void> {
  const { road } = remote
  const ends = Promise.allSettled([...instances.get(road)!.values()].flatMap(promisesOf))
  instances.delete(road)
  try {
    await call(remote, 'close')
    await ends
  } finally {
    await road.end()
  }
}

/** Promises of an instance, which settle by the close at the latest: read later, they have no process to ask. */
function promisesOf(reference: WeakRef<object>): readonly unknown[] {
  const instance = reference.deref() as Record<string, unknown> | undefined
  const names = ['ended', 'exited']
  return instance ? names.map((name) => instance[name]) : []
}
