/** Baseline of the server bench: a hono handler that computes in process what the effect computes behind its wall. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'

const app = new Hono()
app.post('/', async (context) => {
  const { input } = await context.req.json<{ input: { a: number } }>()
  return context.json({ result: input.a + 1 })
})
const server = createServer(getRequestListener(app.fetch, { overrideGlobalObjects: false }))
server.listen(0, '127.0.0.1', () =>
  console.log(JSON.stringify({ port: (server.address() as AddressInfo).port })),
)
process.on('disconnect', () => process.exit())
