// Simulated clock so that the run is repeatable
class Clock {
  now = 0;
  advance(ms) { this.now += ms; }
}

class TokenBucket {
  constructor(clock, { capacity, perSecond }) {
    Object.assign(this, { clock, capacity, perSecond, tokens: capacity, last: clock.now });
  }
  #refill() {
    const elapsed = this.clock.now - this.last;
    this.tokens = Math.min(this.capacity, this.tokens + (elapsed * this.perSecond) / 1000);
    this.last = this.clock.now;
  }
  tryRemove(n = 1) {
    this.#refill();
    if (this.tokens < n) return { ok: false, retryAfter: Math.ceil(((n - this.tokens) / this.perSecond) * 1000) };
    this.tokens -= n;
    return { ok: true, left: Math.floor(this.tokens) };
  }
}

class SlidingWindow {
  hits = [];
  constructor(clock, { limit, windowMs }) {
    this.clock = clock;
    this.limit = limit;
    this.windowMs = windowMs;
  }
  tryRemove() {
    const from = this.clock.now - this.windowMs;
    while (this.hits.length && this.hits[0] <= from) this.hits.shift();
    if (this.hits.length >= this.limit) return { ok: false, retryAfter: this.hits[0] + this.windowMs - this.clock.now };
    this.hits.push(this.clock.now);
    return { ok: true, left: this.limit - this.hits.length };
  }
}

function simulate(name, make) {
  const clock = new Clock();
  const limiter = make(clock);
  const gaps = [0, 50, 50, 50, 50, 100, 400, 10, 10, 1500, 0, 0, 0, 0];
  let accepted = 0;
  console.log(`\n${name}`);
  for (const gap of gaps) {
    clock.advance(gap);
    const r = limiter.tryRemove();
    accepted += r.ok;
    console.log(`${String(clock.now).padStart(6)} ms  ${r.ok ? `ok (${r.left} left)` : `429, retry after ${r.retryAfter} ms`}`);
  }
  console.log(`accepted ${accepted} of ${gaps.length}`);
}

simulate('token bucket: 3 + 2/s', (c) => new TokenBucket(c, { capacity: 3, perSecond: 2 }));
simulate('sliding window: 4 per second', (c) => new SlidingWindow(c, { limit: 4, windowMs: 1000 }));
