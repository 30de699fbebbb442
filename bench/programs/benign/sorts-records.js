// Sorts and groups a few thousand records.
export default () => {
  const records = Array.from({ length: 20_000 }, (_, n) => ({ id: n, key: (n * 7919) % 1009 }))
  const groups = Object.groupBy(
    records.toSorted((a, b) => a.key - b.key),
    ({ key }) => key % 10,
  )
  return Object.values(groups).map((one) => one.length)
}
