// A box blur over the bytes of a picture.
export default () => {
  const side = 512
  let picture = Uint8Array.from({ length: side * side }, (_, n) => (n * 31) % 251)
  for (let pass = 0; pass < 4; pass++)
    picture = picture.map(
      (one, n) => (one + (picture[n - 1] ?? one) + (picture[n + side] ?? one)) / 3,
    )
  return picture.reduce((sum, one) => sum + one, 0)
}
