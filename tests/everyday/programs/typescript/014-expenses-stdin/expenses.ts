import * as readline from "node:readline";
import { stdin as input } from "node:process";

type Category = "food" | "rent" | "fun" | "other";
const KNOWN: readonly Category[] = ["food", "rent", "fun", "other"];

const rl = readline.createInterface({ input, crlfDelay: Infinity });
const totals: Record<Category, number> = { food: 0, rent: 0, fun: 0, other: 0 };
let lineNo = 0;
const problems: string[] = [];

rl.on("line", (line) => {
  lineNo++;
  const text = line.replace(/#.*/, "").trim();
  if (!text) return;
  const m = /^(?<amount>\d+(?:[.,]\d{1,2})?)\s+(?<cat>\w+)(?:\s+(?<note>.*))?$/.exec(text);
  if (!m?.groups) {
    problems.push(`line ${lineNo}: cannot read "${text}"`);
    return;
  }
  const amount = Number(m.groups.amount.replace(",", "."));
  const cat = (KNOWN as readonly string[]).includes(m.groups.cat) ? (m.groups.cat as Category) : "other";
  totals[cat] += amount;
});

rl.on("close", () => {
  const entries = Object.entries(totals) as [Category, number][];
  const sum = entries.reduce((a, [, v]) => a + v, 0);
  for (const [cat, value] of entries.sort(([, a], [, b]) => b - a)) {
    const bar = "█".repeat(Math.round((value / sum) * 30));
    console.log(`${cat.padEnd(6)} ${value.toFixed(2).padStart(9)} ${bar}`);
  }
  console.log(`${"sum".padEnd(6)} ${sum.toFixed(2).padStart(9)}`);
  for (const p of problems) console.log("⚠ " + p);
});
