// allow: http://a.example:PORT
/** A web fetch by the granted way out. */
export default async () => {
  const answer = await fetch('http://a.example:PORT/page', { method: 'POST', body: 'hello' })
  return (await answer.json()).body
}
