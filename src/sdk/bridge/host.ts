import { Socket } from 'node:net'
import { MayflyError } from '../../contract/error.ts'
import { encodeFrame, FrameDecoder } from '../../lib/frames.ts'
import { internalsOf, Mayfly } from '../mayfly.ts'
import { decodeMessage, encodeMessage, type ExportedObject } from './codec.ts'
import { bridgeKinds, messageBytesMax, Peer, type ServedCall } from './peer.ts'
import { classes, isRow, openRow, type ClassName, rowAt, type MemberRow } from './table.ts'

/**
 * Host process: runs the pipeline for an application under an older Node. fd 3 is the socket to the application, fd 4 the pipe of
 * synchronous calls. It exits with the application: at the end of the socket it closes everything, and a
 * parent-death signal kills it otherwise.
 */
const callsFd = 3
const waitedFd = 4
/** Timeout of closing after the application has exited. */
const CLOSE_MS_MAX = 10_000

interface HeldObject {
  /** Undefined for data to which the application only refers. */
  readonly className: ClassName | undefined
  readonly object: object
}

const objects = new Map<number, HeldObject>()
let last = 0
let opened: Mayfly | undefined

// The application receives these signals too, and decides when to close.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined)
// eslint-disable-next-line no-new
new Peer(new Socket({ fd: callsFd }), {
  serve,
  held,
  free: (ids) => ids.forEach((id) => objects.delete(id)),
  ended: () => void endProcess(),
})
serveWaited(new Socket({ fd: waitedFd }))

async function serve({ target, path, args, answerWith }: ServedCall): Promise<unknown> {
  if (target === 0) {
    opened = await Mayfly.open(...(args as Parameters<typeof Mayfly.open>))
    answerWith(holdingOf(openRow, opened))
    return opened
  }
  const { row, holder, name } = memberAt(target, path)
  const result = await answer(row, holder, name, args)
  answerWith(holdingOf(row, result))
  return result
}

function answer(
  row: MemberRow,
  holder: Record<string, unknown>,
  name: string,
  args: readonly unknown[],
) {
  const value = holder[name]
  if (row.kind === 'call' || row.kind === 'sync')
    return (value as (...given: readonly unknown[]) => unknown).apply(holder, [...args])
  if (row.kind === 'readable') return read(value as ReadableStream, args[0] as 'read' | 'cancel')
  if (row.kind === 'writable') return write(value as WritableStream, args)
  return value
}

const readers = new WeakMap<ReadableStream, ReadableStreamDefaultReader>()
const writers = new WeakMap<WritableStream, WritableStreamDefaultWriter>()

function read(stream: ReadableStream, action: 'read' | 'cancel'): Promise<unknown> {
  const reader = readers.get(stream) ?? stream.getReader()
  readers.set(stream, reader)
  return action === 'read' ? reader.read() : reader.cancel()
}

function write(stream: WritableStream, [action, chunk]: readonly unknown[]): Promise<void> {
  const writer = writers.get(stream) ?? stream.getWriter()
  writers.set(stream, writer)
  if (action === 'write') return writer.write(chunk)
  return action === 'close' ? writer.close() : writer.abort(chunk)
}

/** Finds a member by its path. Throws MayflyError NOT_FOUND for paths that the table lacks. */
function memberAt(target: number, path: string) {
  const { className, object } = objects.get(target) ?? {}
  const row = className && rowAt(className, path)
  if (!object || !row) throw new MayflyError('NOT_FOUND', `Cannot find the member "${path}"`)
  const names = path.split('.')
  const name = names.pop()!
  const holder = names.reduce<object>((at, one) => innerOf(at, one), object)
  return { row, holder: holder as Record<string, unknown>, name }
}

function innerOf(object: object, name: string): object {
  if (object instanceof Mayfly && name === 'internals') return internalsOf(object)
  return (object as Record<string, object>)[name]!
}

function held(id: number): unknown {
  const found = objects.get(id)
  if (found) return found.object
  throw new MayflyError('NOT_FOUND', 'Cannot find an object of this call: it was freed')
}

/** Registers the objects of a result that stay in this process. */
function holdingOf(row: MemberRow, result: unknown): (value: object) => ExportedObject | undefined {
  const { returns, returnsItems, remembers } = row.kind === 'call' || row.kind === 'sync' ? row : {}
  const isOfItems = remembers === 'items' || returnsItems !== undefined
  const named = isOfItems ? (result as readonly unknown[]) : [result]
  const className = returns ?? returnsItems
  return (value) => {
    if (className && named.includes(value))
      return { id: hold(value, className), ...described(value, className) }
    return remembers && named.includes(value) ? { id: hold(value, undefined) } : undefined
  }
}

function hold(object: object, className: ClassName | undefined): number {
  objects.set(++last, { className, object })
  return last
}

function described(object: object, className: ClassName) {
  const facts = Object.entries(classes[className])
    .filter(([, row]) => isRow(row) && row.kind === 'fact')
    .map(([name]) => [name, (object as Record<string, unknown>)[name]] as const)
  return { className, facts: Object.fromEntries(facts) }
}

/** Serves synchronous calls one after another; the calling thread is blocked meanwhile. */
function serveWaited(pipe: Socket): void {
  const decoder = new FrameDecoder(messageBytesMax)
  pipe.on('error', () => undefined)
  pipe.on('data', (chunk: Buffer) => {
    for (const { payload } of decoder.push(chunk)) pipe.write(answerWaited(payload))
  })
}

function answerWaited(payload: Buffer): Buffer {
  try {
    const [, target, path, args] = decodeMessage(payload, { held }) as [
      0,
      number,
      string,
      unknown[],
    ]
    const { row, holder, name } = memberAt(target, path)
    const result = answer(row, holder, name, args)
    return encodeFrame(
      bridgeKinds.answer,
      encodeMessage([0, result], { holding: holdingOf(row, result) }),
    )
  } catch (thrown) {
    return encodeFrame(bridgeKinds.fault, encodeMessage([0, thrown], {}))
  }
}

async function endProcess(): Promise<void> {
  setTimeout(() => process.exit(1), CLOSE_MS_MAX).unref()
  await opened?.close().catch(() => undefined)
  process.exit(0)
}
