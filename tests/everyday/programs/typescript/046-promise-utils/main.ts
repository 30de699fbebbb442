import { setTimeout as delay } from "node:timers/promises";

class TimeoutError extends Error {
  name = "TimeoutError";
}

function withTimeout<T>(work: (signal: AbortSignal) => Promise<T>, ms: number): Promise<T> {
  const ctl = new AbortController();
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    ctl.abort();
    reject(new TimeoutError(`timed out after ${ms} ms`));
  }, ms);
  return Promise.race([work(ctl.signal), promise]).finally(() => clearTimeout(timer));
}

async function mapSeries<T, U>(items: readonly T[], fn: (t: T, i: number) => Promise<U>): Promise<U[]> {
  const out: U[] = [];
  for (const [i, t] of items.entries()) out.push(await fn(t, i));
  return out;
}

function debounce<A extends unknown[]>(fn: (...a: A) => void, ms: number) {
  let handle: NodeJS.Timeout | undefined;
  return (...a: A) => {
    clearTimeout(handle);
    handle = setTimeout(fn, ms, ...a);
  };
}

const download = (name: string, ms: number) => async (signal?: AbortSignal) => {
  try {
    return await delay(ms, `${name} done`, { signal });
  } catch (e) {
    console.log(`  ${name} was aborted (${(e as Error).name})`);
    throw e;
  }
};

async function main() {
  console.log(await withTimeout(download("small", 10), 500));
  await withTimeout(download("huge", 5000), 30).catch((e) => console.log(`${e.name}: ${e.message}`));

  const settled = await Promise.allSettled([download("a", 5)(), Promise.reject(new TypeError("nope")), 42]);
  for (const s of settled) console.log(s.status, s.status === "fulfilled" ? s.value : s.reason.message);

  console.log(await mapSeries(["x", "y", "z"], async (c, i) => (await delay(3 - i), c + i)));
  console.log(await Promise.any([Promise.reject(1), delay(20, "slow"), delay(2, "fast")]));
  try {
    await Promise.any([Promise.reject(new Error("e1")), Promise.reject(new Error("e2"))]);
  } catch (e) {
    if (e instanceof AggregateError) console.log(e.constructor.name, e.errors.map(String));
  }

  const save = debounce((text: string) => console.log("saved:", text), 15);
  "hello".split("").forEach((_, i, all) => save(all.slice(0, i + 1).join("")));

  console.log("sync");
  process.nextTick(() => console.log("tick"));
  queueMicrotask(() => console.log("microtask"));
  setImmediate(() => console.log("immediate"));
}

main();
