const { setTimeout: delay } = require('node:timers/promises');

// pretend API, 23 records, pages of 5, next-cursor style
const DATA = Array.from({ length: 23 }, (_, i) => ({ id: i + 1, score: (i * 37) % 100 }));
let requests = 0;

async function fetchPage(cursor = 0) {
  requests++;
  await delay(2);
  if (requests === 3) throw Object.assign(new Error('rate limited'), { status: 429 });
  const items = DATA.slice(cursor, cursor + 5);
  const next = cursor + 5 < DATA.length ? cursor + 5 : null;
  return { items, next };
}

class Records {
  constructor({ retries = 2 } = {}) {
    this.retries = retries;
  }

  async *[Symbol.asyncIterator]() {
    let cursor = 0;
    try {
      while (cursor !== null) {
        const { items, next } = await this.#withRetry(() => fetchPage(cursor));
        yield* items;
        cursor = next;
      }
    } finally {
      console.log(`(iterator closed after ${requests} requests)`);
    }
  }

  async #withRetry(fn) {
    for (let attempt = 0; ; attempt++) {
      try {
        return await fn();
      } catch (err) {
        if (err.status !== 429 || attempt >= this.retries) throw err;
        console.log(`  ${err.message}, retrying`);
        await delay(5);
      }
    }
  }
}

async function* filter(source, predicate) {
  for await (const x of source) if (predicate(x)) yield x;
}

async function main() {
  const high = [];
  for await (const rec of filter(new Records(), (r) => r.score >= 80)) high.push(`${rec.id}:${rec.score}`);
  console.log('high scores', high);

  requests = 10;
  for await (const rec of new Records()) {
    if (rec.id > 7) {
      console.log('first id above 7:', rec.id);
      break;
    }
  }

  requests = 100;
  const all = await Array.fromAsync(new Records(), (r) => r.id);
  console.log('all ids:', all.length, 'sum', all.reduce((a, b) => a + b));
}

main().catch(e => { console.error(e); process.exit(1); });
