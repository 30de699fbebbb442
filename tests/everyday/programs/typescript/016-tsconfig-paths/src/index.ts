import { SampleSet } from "@models";
import * as stats from "@lib/math/stats";
import { formatSample } from "@lib/format";

const set = new SampleSet().add("morning", 12, 15, 11, 14).add("evening", 22, 18, 25);

for (const s of set) {
  console.log(formatSample(s, stats.mean));
  console.log(formatSample(s, stats.median, 1));
  console.log(formatSample(s, stats.stdev, 3));
}
console.log(Object.keys(stats).sort());
