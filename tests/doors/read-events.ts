/** A server-sent event, its data parsed as JSON. */
export interface Received {
  readonly event: string
  readonly data: Record<string, any>
}

/** Reads the events of an answer as they come. */
export async function* readEvents(response: Response): AsyncGenerator<Received> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const bytes of response.body!) {
    rest += decoder.decode(bytes, { stream: true })
    const parts = rest.split('\n\n')
    rest = parts.pop()!
    for (const part of parts) {
      const read = /^event: (\w+)\ndata: (.*)$/.exec(part)
      if (read) yield { event: read[1]!, data: JSON.parse(read[2]!) as Record<string, any> }
    }
  }
}

export async function allEvents(response: Response): Promise<readonly Received[]> {
  return Array.fromAsync(readEvents(response))
}
