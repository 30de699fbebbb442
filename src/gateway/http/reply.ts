/** An answer of status 200 that nobody keeps or reads as anything but JSON. */
export function json(body: unknown): Response {
  return jsonText(200, JSON.stringify(body))
}

/** The same of text that is JSON already. */
export function jsonText(
  status: number,
  text: string,
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
