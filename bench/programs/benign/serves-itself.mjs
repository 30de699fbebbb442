import { createServer } from 'node:http'
import { once } from 'node:events'

/** A server and its client in one program, by the loopback of its own. */
export default async () => {
  const server = createServer((request, response) => response.end(`you asked ${request.url}`))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const answers = []
  for (let n = 0; n < 20; n++) {
    const answer = await fetch(`http://127.0.0.1:${server.address().port}/${n}`)
    answers.push(await answer.text())
  }
  server.close()
  return answers.length
}
