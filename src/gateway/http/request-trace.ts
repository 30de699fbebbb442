import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TLSSocket } from 'node:tls'
import type { Clock } from '../../contract/clock.ts'
import type { Emitter } from '../../contract/event.ts'
import { clientAddress } from './client-address.ts'
import { newSpanId, newTraceId, readTraceparent, writeTraceparent } from '../../lib/traceparent.ts'

/** Emits an event for each answered request, and gives each a span in a trace. */
export class RequestTrace {
  readonly #emitter: Pick<Emitter, 'emit'>
  readonly #clock: Pick<Clock, 'now'>
  readonly #traces: boolean

  /** `traces`: spans are exported, so each request becomes one; otherwise `traceparent` is passed through. */
  constructor(emitter: Pick<Emitter, 'emit'>, clock: Pick<Clock, 'now'>, traces: boolean) {
    this.#emitter = emitter
    this.#clock = clock
    this.#traces = traces
  }

  /** `routes`: known path templates; other paths are not recorded, which bounds label cardinality. */
  follow(incoming: IncomingMessage, outgoing: ServerResponse, routes: ReadonlySet<string>): void {
    const finish = this.#begin(incoming, routes)
    outgoing.once('close', () =>
      finish(outgoing.headersSent ? outgoing.statusCode : CLIENT_CLOSED_REQUEST),
    )
  }

  /** Like `follow`, for an upgrade: emits when the connection closes. Returns a setter for the status. */
  followUpgrade(incoming: IncomingMessage, routes: ReadonlySet<string>): (status: number) => void {
    const finish = this.#begin(incoming, routes)
    let status = CLIENT_CLOSED_REQUEST
    incoming.socket.once('close', () => finish(status))
    return (known) => (status = known)
  }

  #begin(incoming: IncomingMessage, routes: ReadonlySet<string>): (status: number) => void {
    const began = this.#clock.now()
    const span = this.#spanOf(incoming)
    const { method = '', url = '' } = incoming
    const client = clientAddress(incoming)
    const scheme = (incoming.socket as Partial<TLSSocket>).encrypted ? 'https' : 'http'
    return (status) => {
      const route = routeOf(url, routes)
      const code = refusedWith.get(incoming)
      this.#emitter.emit('door/answered', {
        method: methods.has(method) ? method : '_OTHER',
        ...(route !== undefined && { route }),
        status,
        scheme,
        ...(code !== undefined && { code }),
        client,
        took: this.#clock.now() - began,
        ...span,
      })
    }
  }

  /** Reads the caller's span from `traceparent` and replaces the header by our own span, for work done here. */
  #spanOf({ headers }: IncomingMessage): Readonly<Record<string, string>> {
    const asked = readTraceparent(single(headers['traceparent']))
    if (!asked) delete headers['traceparent']
    if (!this.#traces) return {}
    const { traceId = newTraceId(), sampled = true } = asked ?? {}
    const traceparent = writeTraceparent({ traceId, spanId: newSpanId(), sampled })
    headers['traceparent'] = traceparent
    return { traceparent, ...(asked && { parent: asked.spanId }) }
  }
}

const refusedWith = new WeakMap<IncomingMessage, string>()

/** Remembers the code of the problem that answers a request, for its event. */
export function noteRefusal(incoming: IncomingMessage, code: string): void {
  refusedWith.set(incoming, code)
}

/** Status if the client disconnected before the response (nginx's 499). */
export const CLIENT_CLOSED_REQUEST = 499

/** Trace context of a request, for its job. */
export function traceOf({ headers }: IncomingMessage): { readonly traceparent?: string } {
  const traceparent = single(headers['traceparent'])
  return traceparent === undefined ? {} : { traceparent }
}

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/** Known path template of a target: `/v1/executions/{id}` for every id. */
function routeOf(target: string, routes: ReadonlySet<string>): string | undefined {
  const path = target.split('?', 1)[0]!
  if (routes.has(path)) return path
  const segments = path.split('/')
  for (const route of routes) {
    if (route === '/*') return route
    const known = route.split('/')
    const isFile = known.at(-1) === '{path}' && segments.length > known.length
    if (known.length !== segments.length && !isFile) continue
    if (known.every((part, at) => part === segments[at] || part.startsWith('{'))) return route
  }
  return undefined
}

function single(header: string | readonly string[] | undefined): string | undefined {
  return typeof header === 'string' ? header : undefined
}
