export class Seq<T> implements Iterable<T> {
  private constructor(private readonly source: () => Iterator<T>) {}

  static from<T>(it: Iterable<T>): Seq<T> {
    return new Seq(() => it[Symbol.iterator]());
  }
  static generate<T>(seed: T, next: (t: T) => T): Seq<T> {
    return new Seq(function* () {
      for (let v = seed; ; v = next(v)) yield v;
    });
  }
  static range(from = 0, to = Infinity, step = 1) {
    return Seq.generate(from, (n) => n + step).takeWhile((n) => n < to);
  }

  [Symbol.iterator]() {
    return this.source();
  }

  private derive<U>(gen: (src: Seq<T>) => Generator<U>): Seq<U> {
    return new Seq(() => gen(this));
  }
  map<U>(f: (t: T, i: number) => U): Seq<U> {
    return this.derive(function* (src) {
      let i = 0;
      for (const x of src) yield f(x, i++);
    });
  }
  filter<S extends T>(p: (t: T) => t is S): Seq<S>;
  filter(p: (t: T) => boolean): Seq<T>;
  filter(p: (t: T) => boolean): Seq<T> {
    return this.derive(function* (src) {
      for (const x of src) if (p(x)) yield x;
    });
  }
  take(n: number): Seq<T> {
    return this.derive(function* (src) {
      if (n <= 0) return;
      let left = n;
      for (const x of src) {
        yield x;
        if (--left === 0) return;
      }
    });
  }
  takeWhile(p: (t: T) => boolean): Seq<T> {
    return this.derive(function* (src) {
      for (const x of src) {
        if (!p(x)) return;
        yield x;
      }
    });
  }
  chunk(size: number): Seq<T[]> {
    return this.derive(function* (src) {
      let buf: T[] = [];
      for (const x of src) {
        buf.push(x);
        if (buf.length === size) {
          yield buf;
          buf = [];
        }
      }
      if (buf.length) yield buf;
    });
  }
  zip<U>(other: Iterable<U>): Seq<[T, U]> {
    return this.derive(function* (src) {
      const it = other[Symbol.iterator]();
      for (const x of src) {
        const r = it.next();
        if (r.done) return;
        yield [x, r.value] as [T, U];
      }
    });
  }
  reduce<A>(f: (acc: A, t: T) => A, init: A): A {
    let acc = init;
    for (const x of this) acc = f(acc, x);
    return acc;
  }
  toArray(): T[] {
    return [...this];
  }
}
