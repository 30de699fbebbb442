// allow: http://a.example:PORT
// A web fetch that was granted by name.
export default async () => {
  const answer = await fetch('http://a.example:PORT/page')
  return (await answer.json()).line
}
