import { createHash } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import * as z from 'zod'
import { MayflyError } from '../contract/error.ts'
import {
  type CapturedPart,
  capturedPart,
  storedCapture,
  type StoredCapture,
  type PartReader,
} from '../contract/evidence.ts'
import type { Capture, CapturePart } from '../contract/provider.ts'
import type { KeepCapture } from '../contract/pipeline.ts'
import type { MemoryBase } from '../contract/warden.ts'
import type { Bodies, BodiesRead, BodyFolder } from './bodies.ts'
import type { MemoryBases } from './memory-bases.ts'
import { parseJson, tryParseJson } from '../lib/parse-json.ts'
import { roomLacks, type RoomLack } from './state-error.ts'

/** Piece size: hashing, encrypting and writing one blocks the event loop for some milliseconds. */
export const pieceBytes = 2 ** 20
const capturesMax = 1000
const SUMMARY = 'capture.json'
/** Marker of a requested capture, written first and deleted last, so that every piece is counted. */
const ASKED = 'asked'

/** Summary, written last: a capture without one is incomplete. */
const summarySchema = z.strictObject({
  format: z.literal(1),
  ...storedCapture.unwrap().pick({ at: true, because: true, kind: true, why: true, base: true })
    .shape,
  parts: z.array(capturedPart.unwrap().extend({ pieces: z.number().int().min(0) })),
})
type Summary = z.infer<typeof summarySchema>

/**
 * Stores captures with the other bodies of a run: encrypted, same retention. Each is named by its time, so several
 * captures of a run coexist. Pieces are written with a yield to the event loop in between. Rejects with MayflyError
 * STATE, and DISK_FULL before it writes anything: half a capture would take the room of the record, and serve nobody. A
 * base that cannot be kept, or for which there is no room beside the parts, is named in `why`.
 */
export function createCaptures(
  bodies: () => Pick<Bodies, 'put' | 'roomLack'>,
  now: () => number,
  bases?: MemoryBases,
): KeepCapture {
  let last = 0
  return async ({ run, tenant, because }, capture) => {
    const { kind, parts } = capture
    if (parts.length === 0) return []
    const bytes = sizeOf(parts)
    const lack = bodies().roomLack(bytes)
    if (lack) throw noRoom(lack)
    const lackBeside = (beside: number) => bodies().roomLack(bytes, beside)
    const { why, base } = await keepBase(capture, lackBeside, bases)
    const at = (last = Math.max(now(), last + 1))
    const name = `capture-${at}`
    const put = (of: string, bytes: Uint8Array) =>
      bodies().put({ tenant, run, name: `${name}/${of}` }, bytes, at)

    if (because === 'asked') put(ASKED, Buffer.alloc(0))
    const kept: Summary['parts'] = []
    for (const part of parts) kept.push(await keepPart(name, part, put))
    const summary = summarySchema.parse({ format: 1, at, because, kind, why, base, parts: kept })
    put(SUMMARY, Buffer.from(JSON.stringify(summary)))
    return kept.map(told)
  }
}

const sizeOf = (parts: readonly CapturePart[]) =>
  parts.flatMap(({ bytes }) => bytes).reduce((sum, { length }) => sum + length, 0)

function noRoom(lack: RoomLack): MayflyError {
  const { why, hint } = roomLacks[lack]
  return new MayflyError('DISK_FULL', `Cannot store a capture: ${why}`, { hint })
}

async function keepBase(
  { why, base }: Capture,
  lackBeside: (bytes: number) => RoomLack | undefined,
  bases: MemoryBases | undefined,
) {
  const missing = base && (await missingCause(base, lackBeside, bases))
  if (missing === undefined) return { why, base: base?.sha256 }
  const cause = `the memory of its template is not kept: ${missing}`
  return { why: why === undefined ? cause : `${why}; ${cause}`, base: undefined }
}

async function missingCause(
  base: MemoryBase,
  lackBeside: (bytes: number) => RoomLack | undefined,
  bases: MemoryBases | undefined,
): Promise<string | undefined> {
  if (!bases) return 'nowhere to keep it'
  const bytes = await bases.bytesFor(base)
  const lack = bytes > 0 ? lackBeside(bytes) : undefined
  if (lack) return roomLacks[lack].why
  return await bases.keep(base)
}

async function keepPart(
  capture: string,
  { name, bytes, trust }: CapturePart,
  put: (of: string, bytes: Uint8Array) => void,
) {
  const digest = createHash('sha256')
  let size = 0
  let pieces = 0
  for (const piece of inPieces(bytes)) {
    digest.update(piece)
    put(`${name}/${pieces++}`, piece)
    size += piece.length
    await turn()
  }
  const sha256 = digest.digest('hex')
  return { name: `${capture}/${name}`, size, sha256, ...(trust && { trust }), pieces }
}

function* inPieces(chunks: readonly Uint8Array[]): Generator<Uint8Array> {
  let waiting: Uint8Array[] = []
  let bytes = 0
  for (const chunk of chunks) {
    for (let at = 0; at < chunk.length;) {
      const cut = chunk.subarray(at, at + pieceBytes - bytes)
      waiting.push(cut)
      bytes += cut.length
      at += cut.length
      if (bytes < pieceBytes) continue
      yield Buffer.concat(waiting)
      waiting = []
      bytes = 0
    }
  }
  if (bytes > 0) yield Buffer.concat(waiting)
}

/** True for the name of a capture, which an outcome has as `evidence.bundle`. */
export const isCaptureName = (id: string) => /^capture-\d{1,16}$/.test(id)

/** Complete captures, newest first; optionally of one tenant, run or name. Throws MayflyError STATE. */
export function storedCaptures(
  bodies: BodiesRead,
  { name: wanted = 'capture-*', ...of }: CapturesOf,
): readonly StoredCapture[] {
  return bodies
    .places({ like: `${wanted}/${SUMMARY}`, ...of, limit: capturesMax })
    .flatMap((place) => {
      const found = summaryAt(bodies, place)
      if (!found) return []
      const { because, kind, why, base, at, parts } = found
      const { tenant, run } = place
      const name = place.name.slice(0, -1 - SUMMARY.length)
      const about = { at, because, kind, ...(why !== undefined && { why }), ...(base && { base }) }
      return [{ name, run, tenant, ...about, parts: parts.map(told) }]
    })
}

export interface CapturesOf {
  readonly tenant?: string | undefined
  readonly run?: string | undefined
  /** A name that `isCaptureName` accepts. */
  readonly name?: string
}

/**
 * Requested captures of a tenant, newest first, with their bytes; includes incomplete and partly deleted ones.
 * Throws MayflyError STATE.
 */
export function requestedCaptures(bodies: Bodies, tenant: string): readonly BodyFolder[] {
  return bodies.folders(tenant, `capture-*/${ASKED}`)
}

/** Forgets a capture for good: hides it by deleting the summary, then deletes piece by piece. */
export async function forgetCapture(
  bodies: Bodies,
  { tenant, run, name }: Pick<StoredCapture, 'tenant' | 'run' | 'name'>,
): Promise<void> {
  bodies.forget(tenant, run, `${name}/${SUMMARY}`)
  const mark = `${name}/${ASKED}`
  for (const piece of bodies.names(tenant, run)) {
    if (!piece.startsWith(`${name}/`) || piece === mark) continue
    bodies.forget(tenant, run, piece)
    await turn()
  }
  bodies.forget(tenant, run, mark)
  await turn()
}

/** Bytes of a part. Throws MayflyError NOT_FOUND, or STATE if they differ from what was stored. */
export function readCaptured(
  bodies: BodiesRead,
  { tenant, run }: { readonly tenant?: string | undefined; readonly run: string },
  part: string,
): PartReader & { readonly tenant: string } {
  const like = `capture-*/${SUMMARY}`
  for (const place of bodies.places({ like, tenant, run, limit: capturesMax })) {
    const found = summaryAt(bodies, place)?.parts.find(({ name }) => name === part)
    if (!found) continue
    return { tenant: place.tenant, part: told(found), bytes: piecesOf(bodies, place, found) }
  }
  throw new MayflyError('NOT_FOUND', 'Cannot find this part of a capture')
}

/** Name of the capture of a part. */
export function captureOf({ name }: CapturedPart): string {
  return name.slice(0, name.indexOf('/'))
}

/** Parts listed in the text of an `evidence/kept` line; empty for any other line. */
export function partsRecordedIn(bodyText: string): readonly CapturedPart[] {
  const read = keptLine.safeParse(tryParseJson(bodyText))
  return read.success ? read.data.fields.parts : []
}

const keptLine = z.object({
  point: z.literal('evidence/kept'),
  fields: z.object({ parts: z.array(capturedPart) }),
})

function told({ name, size, sha256, trust }: CapturedPart): CapturedPart {
  return { name, size, sha256, ...(trust && { trust }) }
}

type Place = ReturnType<BodiesRead['places']>[number]

/** Names of summaries, of which others print the first part. */
const summaryName = /^capture-\d{1,16}\/capture\.json$/

/** Undefined if a piece is missing, and for a name that Mayfly gives to no capture. */
function summaryAt(bodies: BodiesRead, place: Place): Summary | undefined {
  const bytes = summaryName.test(place.name) ? bodies.get(place) : undefined
  if (!bytes) return undefined
  const summary = summarySchema.parse(parseJson(Buffer.from(bytes).toString()))
  const names = new Set(bodies.names(place.tenant, place.run))
  const isWhole = summary.parts.every(({ name, pieces }) =>
    Array.from({ length: pieces }, (_, at) => `${name}/${at}`).every((one) => names.has(one)),
  )
  return isWhole ? summary : undefined
}

/** AAD binds each piece to its name; the digest proves that none is missing. */
async function* piecesOf(
  bodies: BodiesRead,
  { tenant, run }: Place,
  { name, pieces, sha256 }: Summary['parts'][number],
): AsyncGenerator<Uint8Array> {
  const digest = createHash('sha256')
  for (let at = 0; at < pieces; at++) {
    const piece = bodies.get({ tenant, run, name: `${name}/${at}` })
    if (!piece) throw new MayflyError('NOT_FOUND', `Cannot read "${name}": it was forgotten`)
    digest.update(piece)
    yield piece
    await turn()
  }
  if (digest.digest('hex') === sha256) return
  throw new MayflyError('STATE', `Cannot read "${name}": it is not what was kept`)
}
