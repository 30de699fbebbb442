import { andThen, collect, err, map, ok, unwrapOr, type Result } from "./result";

type ParseError =
  | { kind: "empty" }
  | { kind: "not-a-number"; input: string }
  | { kind: "out-of-range"; value: number; min: number; max: number };

function parseNumber(input: string): Result<number, ParseError> {
  const s = input.trim();
  if (s === "") return err({ kind: "empty" });
  const n = Number(s);
  return Number.isNaN(n) ? err({ kind: "not-a-number", input: s }) : ok(n);
}

const inRange =
  (min: number, max: number) =>
  (n: number): Result<number, ParseError> =>
    n >= min && n <= max ? ok(n) : err({ kind: "out-of-range", value: n, min, max });

function describe(e: ParseError): string {
  switch (e.kind) {
    case "empty":
      return "input is empty";
    case "not-a-number":
      return `"${e.input}" is not a number`;
    case "out-of-range":
      return `${e.value} is not between ${e.min} and ${e.max}`;
    default: {
      const never: never = e;
      return never;
    }
  }
}

const inputs = ["42", "  7 ", "abc", "", "900", "1e2"];
for (const i of inputs) {
  const r = andThen(parseNumber(i), inRange(1, 120));
  console.log(JSON.stringify(i).padEnd(8), r.ok ? `✅ ${r.value}` : `❌ ${describe(r.error)}`);
}

const all = collect(["1", "2", "3"].map(parseNumber));
console.log("sum:", unwrapOr(map(all, (xs) => xs.reduce((a, b) => a + b, 0)), -1));

const bad = collect(["1", "x", ""].map(parseNumber));
if (!bad.ok) console.log("errors:", bad.error.map(describe).join("; "));
