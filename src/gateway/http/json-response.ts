/** JSON answer with status 200, not cacheable and not sniffable. */
export function json(body: unknown): Response {
  return jsonText(200, JSON.stringify(body))
}

/** JSON answer from text that is already JSON. */
export function jsonText(
  status: number,
  text: string | Uint8Array<ArrayBuffer>,
  headers: Readonly<Record<string, string>> = {},
): Response {
  return new Response(text, {
    status,
    headers: {
      'content-type': 'application/json',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      ...headers,
    },
  })
}
