// learns: yes
// An effect that gets a larger input than ever.
export default (input) => {
  const side = input === 'usual' ? 64 : 512
  const picture = Uint8Array.from({ length: side * side }, (_, n) => (n * 31) % 251)
  return picture.filter((_, n) => n % 2 === 0 && Math.floor(n / side) % 2 === 0).length
}
