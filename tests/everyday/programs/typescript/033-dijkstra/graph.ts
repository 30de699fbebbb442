export type Weight = number;
type Edge<N> = { to: N; weight: Weight };

class MinHeap<T> {
  private a: { p: number; v: T }[] = [];
  get length() { return this.a.length; }
  push(p: number, v: T) {
    const a = this.a;
    a.push({ p, v });
    let i = a.length - 1;
    while (i > 0) {
      const up = (i - 1) >> 1;
      if (a[up].p <= a[i].p) break;
      [a[up], a[i]] = [a[i], a[up]];
      i = up;
    }
  }
  pop(): { p: number; v: T } | undefined {
    const a = this.a;
    const top = a[0];
    const last = a.pop();
    if (a.length && last) {
      a[0] = last;
      for (let i = 0; ; ) {
        const l = 2 * i + 1, r = l + 1;
        let s = i;
        if (l < a.length && a[l].p < a[s].p) s = l;
        if (r < a.length && a[r].p < a[s].p) s = r;
        if (s === i) break;
        [a[s], a[i]] = [a[i], a[s]];
        i = s;
      }
    }
    return top;
  }
}

export class Graph<N extends string> {
  private adj = new Map<N, Edge<N>[]>();

  edge(a: N, b: N, weight: Weight, directed = false): this {
    if (weight < 0) throw new RangeError("negative weight");
    this.of(a).push({ to: b, weight });
    const back = this.of(b);
    if (!directed) back.push({ to: a, weight });
    return this;
  }
  private of(n: N): Edge<N>[] {
    if (!this.adj.has(n)) this.adj.set(n, []);
    return this.adj.get(n)!;
  }
  nodes(): N[] { return [...this.adj.keys()]; }

  shortest(from: N, to: N): { path: N[]; cost: number } | null {
    const dist = new Map<N, number>([[from, 0]]);
    const prev = new Map<N, N>();
    const heap = new MinHeap<N>();
    heap.push(0, from);
    while (heap.length) {
      const { p, v } = heap.pop()!;
      if (v === to) break;
      if (p > (dist.get(v) ?? Infinity)) continue;
      for (const { to: w, weight } of this.of(v)) {
        const d = p + weight;
        if (d < (dist.get(w) ?? Infinity)) {
          dist.set(w, d);
          prev.set(w, v);
          heap.push(d, w);
        }
      }
    }
    if (!dist.has(to)) return null;
    const path: N[] = [];
    for (let n: N | undefined = to; n !== undefined; n = prev.get(n)) path.unshift(n);
    return { path, cost: dist.get(to)! };
  }
}
