import { ManualClock, SlidingWindow, TokenBucket } from "./limiter";

const clock = new ManualClock();
const bucket = new TokenBucket(3, 2, clock);

const steps: Array<[wait: number, tokens: number]> = [[0, 1], [0, 1], [0, 1], [0, 1], [250, 1], [250, 1], [10_000, 3], [100, 2]];
for (const [wait, tokens] of steps) {
  clock.advance(wait);
  const r = bucket.tryTake(tokens);
  const label = `t=${String(clock.now()).padStart(5)} take ${tokens}`;
  if (r.ok) console.log(`${label} ✅ left ${r.left}`);
  else console.log(`${label} ⛔ retry after ${r.retryAfterMs} ms`);
}

const win = new SlidingWindow(2, 1000, clock);
const log = [["ann", 0], ["ann", 100], ["ben", 0], ["ann", 100], ["ann", 900]] as const;
for (const [who, wait] of log) {
  clock.advance(wait);
  console.log(who, win.allow(who) ? "allowed" : "denied");
}
