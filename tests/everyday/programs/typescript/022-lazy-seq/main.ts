import { Seq } from "./seq";

const isPrime = (n: number) => n > 1 && !Seq.range(2, Math.floor(Math.sqrt(n)) + 1).toArray().some((d) => n % d === 0);
console.log("primes:", Seq.range(2).filter(isPrime).take(12).toArray().join(" "));

const fib = Seq.generate<[bigint, bigint]>([0n, 1n], ([a, b]) => [b, a + b]).map(([a]) => a);
console.log("fib:", fib.take(10).toArray());
console.log("fib #100:", fib.zip(Seq.range(0, 101)).reduce((_, [f]) => f, 0n));

let evaluated = 0;
const lazy = Seq.range(1).map((n) => { evaluated++; return n * n; }).filter((n) => n % 2 === 0);
console.log("nothing evaluated yet:", evaluated);
console.log(lazy.take(3).toArray(), "evaluated", evaluated);

const mixed = Seq.from<string | number>([1, "a", 2, "b", "c"]);
const strings: Seq<string> = mixed.filter((x): x is string => typeof x === "string");
console.log(strings.map((s, i) => s.repeat(i + 1)).toArray());
for (const [i, c] of Seq.range(1).zip(Seq.from("hello world").chunk(4))) console.log(i, c.join(""));
