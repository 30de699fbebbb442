import { readFileSync } from "node:fs";
import { summarize } from "./lib/sumary";

const rows = readFileSync("data.csv", "utf8").trim().split("\n").map(Number);
console.log(summarize(rows));
