export class ClosedError extends Error {
  constructor() { super("channel is closed"); }
}

/** Bounded channel with back pressure. */
export class Channel<T> implements AsyncIterable<T> {
  private items: T[] = [];
  private takers: ((r: IteratorResult<T, undefined>) => void)[] = [];
  private putters: (() => void)[] = [];
  private closed = false;

  constructor(private readonly size = Infinity) {}

  async put(item: T): Promise<void> {
    if (this.closed) throw new ClosedError();
    const taker = this.takers.shift();
    if (taker) return taker({ done: false, value: item });
    while (this.items.length >= this.size) await new Promise<void>((r) => this.putters.push(r));
    this.items.push(item);
  }

  take(): Promise<IteratorResult<T, undefined>> {
    if (this.items.length) {
      const value = this.items.shift()!;
      this.putters.shift()?.();
      return Promise.resolve({ done: false, value });
    }
    if (this.closed) return Promise.resolve({ done: true, value: undefined });
    return new Promise((r) => this.takers.push(r));
  }

  close() {
    this.closed = true;
    for (const t of this.takers.splice(0)) t({ done: true, value: undefined });
  }

  [Symbol.asyncIterator]() {
    return { next: () => this.take() };
  }
}
