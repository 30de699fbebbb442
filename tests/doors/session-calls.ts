import assert from 'node:assert/strict'
import type { Server } from './program.ts'

/** Asks about sessions in machines, by named API keys of a server, which may be another after a restart. */
export function sessionCalls(
  server: () => Server,
  keys: Readonly<Record<string, string>>,
  usual: string,
) {
  async function ask(
    method: string,
    path: string,
    body?: unknown,
    key = usual,
    headers: Readonly<Record<string, string>> = {},
  ) {
    const response = await fetch(new URL(path, server().active), {
      method,
      headers: {
        authorization: `Bearer ${keys[key]}`,
        'content-type': 'application/json',
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    const isRepeated = response.headers.get('idempotent-replayed') === 'true'
    return { status: response.status, body: (await response.json()) as any, isRepeated }
  }

  /** Id of a new session. */
  async function opened(more: object = {}, key = usual): Promise<string> {
    const asked = { language: 'python', tier: 'microvm', limits: { timeout: '60s' }, ...more }
    const { status, body } = await ask('POST', '/v1/sandboxes', asked, key)
    assert.equal(status, 201, JSON.stringify(body))
    return body.id as string
  }

  /** Result of an exec that ends `ok`. */
  async function ran(id: string, code: string, key = usual): Promise<unknown> {
    const { body } = await ask('POST', `/v1/sandboxes/${id}/run`, { code }, key)
    assert.equal(body.status, 'ok', JSON.stringify(body))
    return body.result
  }

  const end = (id: string, key = usual) => ask('DELETE', `/v1/sandboxes/${id}`, undefined, key)
  return { ask, opened, ran, end }
}
