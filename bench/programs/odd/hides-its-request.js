// expects: unforeseen-access
// allow: open
// Goes to the network by a name that no reader of its code sees.
export default async () => {
  const name = Object.getOwnPropertyNames(globalThis).find((one) => /^f.+ch$/.test(one))
  const answer = await Reflect.get(globalThis, name)('http://drop.example:PORT/')
  return answer.status
}
