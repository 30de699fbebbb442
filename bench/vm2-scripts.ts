/** A script as users of an embedded sandbox write them, with its input and the result of each correct run. */
export interface Script {
  readonly code: string
  readonly input: unknown
  readonly answer: unknown
}

const people = Array.from({ length: 50 }, (_, n) => ({ name: `name ${n % 7}`, age: n }))
const words = 'the quick brown fox jumps over the lazy dog and the cat'

export const scripts: Readonly<Record<string, Script>> = {
  sum: { code: 'return input.a + 1', input: { a: 1 }, answer: 2 },
  'rule of a form': {
    code: `const errors = []
if (!/^[^@\\s]+@[^@\\s]+$/.test(input.email)) errors.push('email')
if (!(input.age >= 18)) errors.push('age')
return errors`,
    input: { email: 'no address', age: 20 },
    answer: ['email'],
  },
  'text template': {
    code: "return input.text.replace(/\\{(\\w+)\\}/g, (_, name) => String(input.values[name] ?? ''))",
    input: { text: 'Dear {name}, {count} items', values: { name: 'Ada', count: 3 } },
    answer: 'Dear Ada, 3 items',
  },
  'count of words': {
    code: `const counts = {}
for (const word of input.split(' ')) counts[word] = (counts[word] ?? 0) + 1
return counts`,
    input: words,
    answer: Object.fromEntries(
      [...new Set(words.split(' '))].map((word) => [
        word,
        words.split(' ').filter((other) => other === word).length,
      ]),
    ),
  },
  'groups of records': {
    code: `const groups = new Map()
for (const { name, age } of input) groups.set(name, (groups.get(name) ?? 0) + age)
return [...groups].sort(([a], [b]) => a.localeCompare(b))`,
    input: people,
    answer: [0, 1, 2, 3, 4, 5, 6].map((at) => [
      `name ${at}`,
      people.reduce((sum, { age }) => sum + (age % 7 === at ? age : 0), 0),
    ]),
  },
  'class and closure': {
    code: `class Counter { #n = 0; add(by) { this.#n += by; return this } get value() { return this.#n } }
const counter = new Counter()
;[1, 2, 3].forEach((by) => counter.add(by * input))
return counter.value`,
    input: 2,
    answer: 12,
  },
  recursion: {
    code: 'const fib = (n) => (n < 2 ? n : fib(n - 1) + fib(n - 2)); return fib(input)',
    input: 22,
    answer: 17_711,
  },
  'sort of 5,000 numbers': {
    code: `let seed = input
const list = Array.from({ length: 5000 }, () => (seed = (seed * 48271) % 2147483647))
list.sort((a, b) => a - b)
return list.every((value, at) => at === 0 || list[at - 1] <= value)`,
    input: 42,
    answer: true,
  },
  'JSON of 1,000 records': {
    code: `const all = Array.from({ length: 1000 }, (_, id) => ({ id, tags: ['a', 'b'] }))
return JSON.parse(JSON.stringify(all)).length + input`,
    input: 0,
    answer: 1_000,
  },
  'caught error': {
    code: "try { JSON.parse(input) } catch (error) { return error.name } return 'none'",
    input: '{',
    answer: 'SyntaxError',
  },
}
