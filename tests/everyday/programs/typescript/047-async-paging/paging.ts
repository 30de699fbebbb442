export {};

interface Page<T> {
  items: T[];
  next?: string;
}
interface Issue {
  id: number;
  title: string;
  open: boolean;
}

const ALL: Issue[] = Array.from({ length: 23 }, (_, i) => ({ id: i + 1, title: `Issue ${"abcdefg"[i % 7]}`, open: i % 3 !== 0 }));
let requests = 0;

async function fetchPage(cursor = "0", size = 5): Promise<Page<Issue>> {
  requests++;
  await new Promise((r) => setImmediate(r));
  const from = Number(cursor);
  const items = ALL.slice(from, from + size);
  return { items, next: from + size < ALL.length ? String(from + size) : undefined };
}

async function* paginate<T>(load: (cursor?: string) => Promise<Page<T>>): AsyncGenerator<T, number> {
  let cursor: string | undefined;
  let pages = 0;
  do {
    const page = await load(cursor);
    pages++;
    yield* page.items;
    cursor = page.next;
  } while (cursor);
  return pages;
}

async function* filter<T>(src: AsyncIterable<T>, p: (t: T) => boolean) {
  for await (const x of src) if (p(x)) yield x;
}
async function* take<T>(src: AsyncIterable<T>, n: number) {
  if (n <= 0) return;
  for await (const x of src) {
    yield x;
    if (--n <= 0) return;
  }
}
async function* batch<T>(src: AsyncIterable<T>, n: number): AsyncGenerator<T[]> {
  let buf: T[] = [];
  for await (const x of src) {
    if (buf.push(x) === n) {
      yield buf;
      buf = [];
    }
  }
  if (buf.length) yield buf;
}

class Countdown implements AsyncIterable<number> {
  constructor(private n: number) {}
  [Symbol.asyncIterator](): AsyncIterator<number> {
    let n = this.n;
    return {
      next: async () => (n > 0 ? { done: false, value: n-- } : { done: true, value: undefined }),
      return: async () => {
        console.log("countdown stopped early");
        return { done: true, value: undefined };
      },
    };
  }
}

async function run() {
  for await (const i of take(filter(paginate(fetchPage), (x) => x.open), 4)) console.log(`#${i.id} ${i.title}`);
  console.log("requests so far (lazy!):", requests);
  for await (const ids of batch(paginate(fetchPage), 9)) console.log("batch", ids.map((x) => x.id).join(","));
  const gen = paginate(fetchPage);
  let r = await gen.next();
  while (!r.done) r = await gen.next();
  console.log("pages:", r.value, "requests:", requests);
  for await (const n of new Countdown(5)) {
    if (n < 3) break;
    console.log(n, "…");
  }
  console.log(await Array.fromAsync(new Countdown(3)));
}

run().then(() => console.log("done"));
