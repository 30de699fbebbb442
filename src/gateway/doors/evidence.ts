import { MayflyError } from '../../contract/error.ts'
import type { Evidence } from '../../contract/evidence.ts'
import { requirePart, type Door } from './door.ts'
import { refuseOver } from '../http/authenticate-request.ts'
import { isAdmin } from '../http/auth.ts'
import type { GatewayParts } from '../http/parts.ts'
import { idOf } from './history.ts'
import { json } from '../http/json-response.ts'
import { operatorOf } from './sandboxes.ts'

/** `GET /v1/evidence/{id}`: lists the captures of an execution. An admin sees those of every tenant. */
export const readEvidence: Door<Pick<GatewayParts, 'evidence'>> = (parts, { identity, params }) => {
  const id = idOf(params)
  return json({ id, captures: evidenceOf(parts).of(id, operatorOf(identity)) })
}

/**
 * `GET /v1/evidence/{id}/{capture}/{part}`: streams the bytes and verifies each piece against its stored digest
 * before it is sent. On a mismatch the connection is cut short of the announced content-length.
 */
export const readEvidencePart: Door<
  Pick<GatewayParts, 'evidence' | 'limits' | 'operateRate' | 'refusals'>
> = (parts, { http: { incoming, outgoing }, identity, params }) => {
  if (!isAdmin(identity)) refuseOver(parts.operateRate.take(identity.id))
  const { capture = '', part = '' } = params
  const asked = [idOf(params), `${capture}/${part}`, operatorOf(identity)] as const
  if (incoming.method === 'HEAD') return answer(named(evidenceOf(parts), ...asked), null)
  const found = evidenceOf(parts).read(...asked)
  // Idle timeout: cuts off a client that stops reading.
  outgoing.socket?.setTimeout(parts.limits.writeMs)
  const cut = (thrown: unknown) => {
    parts.refusals.problem(thrown)
    outgoing.destroy()
  }
  return answer(found.part, ReadableStream.from(upTo(found.bytes, cut)))
}

/** Destroys the connection on an error: the status was already sent. */
async function* upTo(
  bytes: AsyncGenerator<Uint8Array>,
  cut: (thrown: unknown) => void,
): AsyncGenerator<Uint8Array> {
  try {
    yield* bytes
  } catch (thrown) {
    cut(thrown)
  }
}

/** Finds the description of a part, without its bytes. */
function named(evidence: Evidence, run: string, name: string, by: Parameters<Evidence['of']>[1]) {
  const captured = evidence.of(run, by).flatMap((one) => one.parts)
  const found = captured.find((one) => one.name === name)
  if (found) return found
  throw new MayflyError('NOT_FOUND', 'Cannot find this part of a capture')
}

function answer(
  { name, size, sha256 }: ReturnType<typeof named>,
  body: ReadableStream<Uint8Array> | null,
): Response {
  return new Response(body, {
    headers: {
      'content-type': 'application/octet-stream',
      'content-length': String(size),
      'content-disposition': `attachment; filename="${name.replace('/', '-')}"`,
      'repr-digest': `sha-256=:${Buffer.from(sha256, 'hex').toString('base64')}:`,
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    },
  })
}

function evidenceOf({ evidence }: Pick<GatewayParts, 'evidence'>): Evidence {
  return requirePart(evidence, 'Cannot read evidence: it is disabled on this server')
}
