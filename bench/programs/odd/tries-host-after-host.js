// expects: denied-burst
// allow: http://a.example:PORT
// Looks for a way out that nobody thought of.
export default async () => {
  let refused = 0
  for (let n = 0; n < 60; n++) await fetch(`http://h${n}.example:PORT/`).catch(() => refused++)
  return refused
}
