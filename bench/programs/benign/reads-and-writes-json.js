// A document through JSON and back, many times.
export default () => {
  let document = { list: Array.from({ length: 500 }, (_, n) => ({ n, text: `row ${n}` })) }
  for (let round = 0; round < 200; round++) document = JSON.parse(JSON.stringify(document))
  console.log('rows', document.list.length)
  return document.list.at(-1)
}
