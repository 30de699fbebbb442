import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { systemClock } from '../../src/contract/clock.ts'
import type { Job } from '../../src/contract/job.ts'
import type { Outcome } from '../../src/contract/outcome.ts'
import type { RunJob } from '../../src/gateway/http/parts.ts'
import { createHistory } from '../../src/history/history.ts'
import { openBodies } from '../../src/evidence/bodies.ts'
import { openKeys } from '../../src/gateway/http/keys.ts'
import { effectsRoom } from './effects-room.ts'
import { openGateway, type Gateway, type GatewayOptions } from '../../src/gateway/server.ts'

/** A gateway with a stub of the pipeline, for tests of HTTP alone. */
export interface TestDoor extends AsyncDisposable {
  readonly gateway: Gateway
  readonly key: string
  /** Jobs that reached the pipeline, in order. */
  readonly jobs: Job[]
  /** Error codes of the emitted refusal events. */
  readonly refusals: unknown[]
  readonly staticPort: number
  readonly activePort: number
}

export const adminKey = 'mfy_admin_0123456789abcdefghijklmnop'

/** `state` is the folder of stored outcomes; a temporary one by default. */
export async function openDoor(
  options: Partial<GatewayOptions> = {},
  given?: string,
): Promise<TestDoor> {
  const state = given ?? (await mkdtemp(join(tmpdir(), 'mayfly-door-')))
  const bodies = openBodies(state)
  const jobs: Job[] = []
  const refusals: unknown[] = []
  const { keys } = await openKeys({ first: adminKey })
  const forget = async (): Promise<void> => {
    bodies.close()
    if (!given) await rm(state, { recursive: true, force: true })
  }
  const gateway = await openGateway({
    host: '127.0.0.1',
    port: 0,
    providers: async () => [],
    ready: () => ({ ready: true, walls: ['isolated-vm'] }),
    keys,
    effects: effectsRoom().effects,
    history: createHistory(
      () => bodies,
      () => Date.now(),
    ),
    emitter: {
      emit: (point, fields) => void (point === 'door/refused' && refusals.push(fields?.['code'])),
    },
    clock: systemClock,
    version: '0.0.0',
    ...options,
    road: (job, more) => {
      jobs.push(job)
      return (options.road ?? echo)(job, more)
    },
  }).catch(async (thrown: unknown) => {
    await forget()
    throw thrown
  })
  return {
    gateway,
    key: adminKey,
    jobs,
    refusals,
    staticPort: Number(new URL(gateway.staticUrl).port),
    activePort: Number(new URL(gateway.activeUrl).port),
    async [Symbol.asyncDispose]() {
      await gateway.close()
      await forget()
    },
  }
}

export const echo: RunJob = async (job) =>
  endOf(job, { result: { echo: JSON.parse(job.inputText) as unknown } })

/** An outcome as the pipeline returns it. */
export function endOf(job: Job, more: Partial<Outcome> = {}): Outcome {
  return {
    id: job.id,
    status: 'ok',
    result: null,
    encoding: 'json',
    stdout: '',
    stderr: '',
    truncated: { stdout: false, stderr: false },
    exitCode: null,
    signal: null,
    artifacts: [],
    artifactsLeftOut: [],
    display: [],
    security: {
      judged: true,
      threatScore: 0,
      risk: 0,
      severity: 'low',
      behaviorScore: 0,
      signatureValid: false,
      findings: [],
    },
    profile: { digest: 'sha256:', explain: [] },
    metrics: {
      executionTime: 0,
      queueTime: 0,
      startTime: 0,
      teardownTime: 0,
      cpuTime: 0,
      pool: 'none',
      cache: 'none',
      network: [],
    },
    timeline: [],
    evidence: { audit: null, hash: null, bundle: null },
    ...more,
  }
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly json: Record<string, any>
}

export async function call(url: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(url, { redirect: 'manual', ...init })
  const text = await response.text()
  const isJson = /json/.test(response.headers.get('content-type') ?? '') && text !== ''
  const json = (isJson ? JSON.parse(text) : {}) as Record<string, any>
  return { status: response.status, headers: response.headers, text, json }
}

export function post(
  url: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  return call(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body:
      typeof body === 'string' || body instanceof Uint8Array
        ? (body as NonNullable<RequestInit['body']>)
        : JSON.stringify(body),
  })
}

export const bearer = (key: string): Record<string, string> => ({ authorization: `Bearer ${key}` })

/** Loads a page of the static endpoint and reads its token. */
export async function tokenOf(door: TestDoor, path = '/'): Promise<string> {
  const page = await call(door.gateway.staticUrl + path)
  return /<meta name="mayfly-session" content="([^"]+)">/.exec(page.text)?.[1] ?? ''
}

/**
 * Writes bytes to a port as they are and reads what comes: until the other side ends, 50 ms after a whole answer
 * was there (a second one would be a finding), or until `ms` are over.
 */
export async function raw(port: number, bytes: string, ms = 5000): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  const { promise, resolve } = Promise.withResolvers<void>()
  let timer = setTimeout(resolve, ms)
  let text = ''
  socket.on('data', (chunk) => {
    text += String(chunk)
    if (!isWhole(text)) return
    clearTimeout(timer)
    timer = setTimeout(resolve, 50)
  })
  socket.on('error', () => resolve())
  socket.on('close', () => resolve())
  socket.write(bytes, 'latin1')
  await promise
  clearTimeout(timer)
  socket.destroy()
  return text
}

function isWhole(text: string): boolean {
  const headEnd = text.indexOf('\r\n\r\n')
  const length = Number(/^content-length: (\d+)/im.exec(text)?.[1] ?? 0)
  return headEnd > 0 && Buffer.byteLength(text) >= headEnd + 4 + length
}

export function statusOf(answer: string): number {
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 0)
}

export async function folder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'mayfly-site-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}
