// expects: off-baseline
// allow: http://a.example:PORT http://b.example:PORT
// learns: yes
// After five calm runs it asks a host that it never asked before.
export default async (input) => {
  const host = input === 'usual' ? 'a' : 'b'
  const answer = await fetch(`http://${host}.example:PORT/`)
  return answer.status
}
