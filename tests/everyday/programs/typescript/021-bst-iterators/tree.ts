class Node<T> {
  left?: Node<T>;
  right?: Node<T>;
  constructor(public value: T) {}
}

class BST<T> implements Iterable<T> {
  private root?: Node<T>;
  private _size = 0;

  constructor(private compare: (a: T, b: T) => number, init: Iterable<T> = []) {
    for (const v of init) this.insert(v);
  }

  get size() { return this._size; }

  insert(value: T): boolean {
    if (!this.root) { this.root = new Node(value); this._size++; return true; }
    let cur = this.root;
    while (true) {
      const c = this.compare(value, cur.value);
      if (c === 0) return false;
      const side = c < 0 ? "left" : "right";
      if (!cur[side]) { cur[side] = new Node(value); this._size++; return true; }
      cur = cur[side]!;
    }
  }

  *[Symbol.iterator](): Iterator<T> { yield* this.inOrder(this.root); }

  private *inOrder(n?: Node<T>): Generator<T> {
    if (!n) return;
    yield* this.inOrder(n.left);
    yield n.value;
    yield* this.inOrder(n.right);
  }

  *levels(): Generator<T[]> {
    let level = this.root ? [this.root] : [];
    while (level.length) {
      yield level.map((n) => n.value);
      level = level.flatMap((n) => [n.left, n.right]).filter((n): n is Node<T> => n !== undefined);
    }
  }

  range(lo: T, hi: T): IterableIterator<T> {
    const self = this;
    return (function* () {
      for (const v of self) {
        if (self.compare(v, hi) > 0) return;
        if (self.compare(v, lo) >= 0) yield v;
      }
    })();
  }

  get height(): number {
    const h = (n?: Node<T>): number => (n ? 1 + Math.max(h(n.left), h(n.right)) : 0);
    return h(this.root);
  }
}

const t = new BST<number>((a, b) => a - b, [50, 30, 70, 20, 40, 60, 80, 30, 65]);
console.log("size", t.size, "height", t.height);
console.log("sorted", ...t);
for (const [depth, level] of [...t.levels()].entries()) console.log(`level ${depth}:`, level.join(" "));
console.log("35..65:", [...t.range(35, 65)]);

const words = new BST<string>((a, b) => a.localeCompare(b), "the quick brown fox jumps over the lazy dog".split(" "));
const [first, second, ...others] = words;
console.log(first, second, others.length);
console.log(Math.max(...t), Array.from(t, (x) => x / 10));
