type EventKind = "arrive" | "finish";
interface SimEvent { at: number; kind: EventKind; customer: number; counter?: number }

class PriorityQueue<T> {
  private heap: T[] = [];
  constructor(private before: (a: T, b: T) => boolean) {}
  get size() { return this.heap.length; }
  push(x: T) {
    const h = this.heap;
    let i = h.push(x) - 1;
    while (i > 0) {
      const p = (i - 1) >>> 1;
      if (!this.before(h[i], h[p])) break;
      [h[i], h[p]] = [h[p], h[i]];
      i = p;
    }
  }
  pop(): T | undefined {
    const h = this.heap;
    if (h.length < 2) return h.pop();
    const top = h[0];
    h[0] = h.pop()!;
    let i = 0;
    for (;;) {
      let c = 2 * i + 1;
      if (c >= h.length) break;
      if (c + 1 < h.length && this.before(h[c + 1], h[c])) c++;
      if (!this.before(h[c], h[i])) break;
      [h[c], h[i]] = [h[i], h[c]];
      i = c;
    }
    return top;
  }
}

function* lcg(seed: number): Generator<number, never> {
  let s = seed;
  while (true) yield (s = (s * 48271) % 2147483647) / 2147483647;
}

function simulate(counters: number, customers: number, seed: number) {
  const random = lcg(seed);
  const exp = (mean: number) => Math.ceil(-Math.log(random.next().value) * mean);
  const events = new PriorityQueue<SimEvent>((a, b) => a.at < b.at || (a.at === b.at && a.customer < b.customer));
  const waiting: { customer: number; since: number }[] = [];
  const free = Array.from({ length: counters }, (_, i) => i);
  const waits: number[] = [];
  let t = 0, longest = 0, end = 0;

  for (let c = 1; c <= customers; c++) events.push({ at: (t += exp(3)), kind: "arrive", customer: c });

  while (events.size) {
    const e = events.pop()!;
    end = e.at;
    if (e.kind === "arrive") waiting.push({ customer: e.customer, since: e.at });
    else free.push(e.counter!);
    longest = Math.max(longest, waiting.length);
    while (free.length && waiting.length) {
      const counter = free.shift()!;
      const w = waiting.shift()!;
      waits.push(e.at - w.since);
      events.push({ at: e.at + exp(7), kind: "finish", customer: w.customer, counter });
    }
  }
  waits.sort((a, b) => a - b);
  return {
    counters,
    "avg wait": +(waits.reduce((a, b) => a + b, 0) / waits.length).toFixed(1),
    "p90 wait": waits[Math.floor(waits.length * 0.9)],
    "longest queue": longest,
    closed: end,
  };
}

console.table([1, 2, 3, 4].map((c) => simulate(c, 200, 12345)));
const best = [1, 2, 3, 4, 5].find((c) => simulate(c, 200, 12345)["avg wait"] < 5);
console.log(best ? `You need ${best} counters` : "Not enough counters");
