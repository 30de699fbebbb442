// What a visitor may try first: two jobs that behave and three that do not.
export const examples = [
  {
    name: 'Fibonacci',
    about: 'A little arithmetic, printed as it goes and returned at the end.',
    input: { count: 20 },
    code: `const numbers = [0, 1]
while (numbers.length < input.count) {
  numbers.push(numbers.at(-1) + numbers.at(-2))
}
console.log(\`\${input.count} numbers, the last is \${numbers.at(-1)}\`)
return numbers
`,
  },
  {
    name: 'Transform JSON',
    about: 'Data in, data out: what most jobs are.',
    input: {
      orders: [
        { customer: 'Ada', item: 'lamp', price: 40 },
        { customer: 'Alan', item: 'tape', price: 3.5 },
        { customer: 'Ada', item: 'desk', price: 210 },
      ],
    },
    code: `const byCustomer = Map.groupBy(input.orders, (order) => order.customer)

return [...byCustomer].map(([customer, orders]) => ({
  customer,
  items: orders.map((order) => order.item),
  total: orders.reduce((sum, order) => sum + order.price, 0),
}))
`,
  },
  {
    name: 'A loop without an end',
    about:
      'It never yields, so nothing inside could stop it. The wall does, from outside, when the time is over.',
    input: null,
    code: `console.log('starting')
while (true) {}
`,
  },
  {
    name: 'A memory bomb',
    about:
      'It takes memory until it meets its ceiling. The server and every other job stay as they are.',
    input: null,
    code: `const hoard = []
for (;;) {
  hoard.push(new Array(1_000_000).fill(hoard.length))
}
`,
  },
  {
    name: 'A way out',
    about:
      'It looks for the process, the file system and the network by the usual tricks. The boldest gives it away: it is blocked before it runs.',
    input: {},
    code: `const tricks = {
  process: () => typeof process,
  require: () => typeof require,
  fetch: () => typeof fetch,
  constructor: () => input.constructor.constructor('return typeof process')(),
  stack: () => {
    Error.prepareStackTrace = (_, frames) => typeof frames[0].getThis()
    return new Error().stack
  },
}

const found = {}
for (const [name, trick] of Object.entries(tricks)) {
  try {
    found[name] = trick()
  } catch (error) {
    found[name] = String(error)
  }
}
return found
`,
  },
]
