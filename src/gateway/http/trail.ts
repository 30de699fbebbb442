import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TLSSocket } from 'node:tls'
import type { Clock } from '../../contract/clock.ts'
import type { Emitter } from '../../contract/event.ts'
import { newSpanId, newTraceId, readTraceparent, writeTraceparent } from '../../lib/traceparent.ts'

/** Tells the stream of every answered request, and gives each its place in a trace. */
export class Trail {
  readonly #voice: Pick<Emitter, 'say'>
  readonly #clock: Pick<Clock, 'now'>
  readonly #traces: boolean

  /** `traces`: whether spans go out, so that a request is one; else a `traceparent` is only passed on. */
  constructor(voice: Pick<Emitter, 'say'>, clock: Pick<Clock, 'now'>, traces: boolean) {
    this.#voice = voice
    this.#clock = clock
    this.#traces = traces
  }

  /** `routes` are the paths that are told apart; whatever a stranger makes up is none of them. */
  follow(incoming: IncomingMessage, outgoing: ServerResponse, routes: ReadonlySet<string>): void {
    const tell = this.#begin(incoming, routes)
    outgoing.once('close', () => tell(outgoing.headersSent ? outgoing.statusCode : LEFT))
  }

  /**
   * The same of an upgrade, told when the connection is over, as any other answer is when its last byte is out.
   * Returns what takes the status once it is known.
   */
  followUpgrade(incoming: IncomingMessage, routes: ReadonlySet<string>): (status: number) => void {
    const tell = this.#begin(incoming, routes)
    let status = LEFT
    incoming.socket.once('close', () => tell(status))
    return (known) => (status = known)
  }

  #begin(incoming: IncomingMessage, routes: ReadonlySet<string>): (status: number) => void {
    const began = this.#clock.now()
    const place = this.#placeOf(incoming)
    const { method = '', url = '' } = incoming
    const scheme = (incoming.socket as Partial<TLSSocket>).encrypted ? 'https' : 'http'
    return (status) => {
      const route = routeOf(url, routes)
      this.#voice.say('door/answered', {
        method: methods.has(method) ? method : '_OTHER',
        ...(route !== undefined && { route }),
        status,
        scheme,
        took: this.#clock.now() - began,
        ...place,
      })
    }
  }

  /** What comes in names the span that asks; what is left in the headers names ours, for what is done here. */
  #placeOf({ headers }: IncomingMessage): Readonly<Record<string, string>> {
    const asked = readTraceparent(single(headers['traceparent']))
    if (!asked) delete headers['traceparent']
    if (!this.#traces) return {}
    const { traceId = newTraceId(), sampled = true } = asked ?? {}
    const traceparent = writeTraceparent({ traceId, spanId: newSpanId(), sampled })
    headers['traceparent'] = traceparent
    return { traceparent, ...(asked && { parent: asked.spanId }) }
  }
}

/** The status of a request whose client went away before there was an answer. */
export const LEFT = 499

/** The trace that a request is part of, for the job it makes. */
export function traceOf({ headers }: IncomingMessage): { readonly traceparent?: string } {
  const traceparent = single(headers['traceparent'])
  return traceparent === undefined ? {} : { traceparent }
}

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/** The known path that a target is of: `/v1/executions/{id}` for every id. */
function routeOf(target: string, routes: ReadonlySet<string>): string | undefined {
  const path = target.split('?', 1)[0]!
  if (routes.has(path)) return path
  const segments = path.split('/')
  for (const route of routes) {
    if (route === '/*') return route
    const known = route.split('/')
    if (known.length !== segments.length) continue
    if (known.every((part, at) => part === segments[at] || part.startsWith('{'))) return route
  }
  return undefined
}

function single(header: string | readonly string[] | undefined): string | undefined {
  return typeof header === 'string' ? header : undefined
}
