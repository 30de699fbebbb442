export interface Clock {
  now(): number;
}

export class ManualClock implements Clock {
  constructor(private t = 0) {}
  now = () => this.t;
  advance(ms: number) {
    this.t += ms;
  }
}

export class TokenBucket {
  private tokens: number;
  private last: number;

  constructor(
    public readonly capacity: number,
    public readonly refillPerSecond: number,
    private readonly clock: Clock = { now: () => Date.now() },
  ) {
    this.tokens = capacity;
    this.last = clock.now();
  }

  private refill(): void {
    const now = this.clock.now();
    this.tokens = Math.min(this.capacity, this.tokens + ((now - this.last) / 1000) * this.refillPerSecond);
    this.last = now;
  }

  tryTake(n = 1): { ok: true; left: number } | { ok: false; retryAfterMs: number } {
    this.refill();
    if (this.tokens >= n) {
      this.tokens -= n;
      return { ok: true, left: Math.floor(this.tokens) };
    }
    return { ok: false, retryAfterMs: Math.ceil(((n - this.tokens) / this.refillPerSecond) * 1000) };
  }
}

export class SlidingWindow {
  private hits = new Map<string, number[]>();
  constructor(private max: number, private windowMs: number, private clock: Clock) {}
  allow(key: string): boolean {
    const now = this.clock.now();
    const recent = (this.hits.get(key) ?? []).filter((t) => now - t < this.windowMs);
    const ok = recent.length < this.max;
    if (ok) recent.push(now);
    this.hits.set(key, recent);
    return ok;
  }
}
