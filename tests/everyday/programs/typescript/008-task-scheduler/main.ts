import { setTimeout as sleep } from "node:timers/promises";
import schedule, { type Task } from "./scheduler";

const job = (name: string, ms: number, fail = false): Task<number> => ({
  name,
  run: async () => {
    await sleep(ms);
    if (fail) throw new Error(`${name} exploded 💥`);
    return ms * 2;
  },
});

async function main() {
  let peak = 0;
  const results = await schedule(
    [job("fetch", 30), job("parse", 10), job("index", 20, true), job("store", 5), job("notify", 15)],
    2,
    (n) => (peak = Math.max(peak, n)),
  );
  for (const r of results) {
    switch (r.status) {
      case "done":
        console.log(`✔ ${r.name}: ${r.value}`);
        break;
      case "failed":
        console.log(`✘ ${r.name}: ${r.reason}`);
    }
  }
  console.log("peak concurrency:", peak);
  const failed = results.filter((r) => r.status === "failed").length;
  if (failed) process.exitCode = 1;
}

main();
