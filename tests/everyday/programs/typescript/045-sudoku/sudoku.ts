const puzzle =
  "53..7...." +
  "6..195..." +
  ".98....6." +
  "8...6...3" +
  "4..8.3..1" +
  "7...2...6" +
  ".6....28." +
  "...419..5" +
  "....8..79";

type Digit = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9;
type Board = (Digit | 0)[];

const parse = (s: string): Board => [...s].map((c) => (c === "." ? 0 : (Number(c) as Digit)));

const peers: number[][] = Array.from({ length: 81 }, (_, i) => {
  const r = Math.floor(i / 9), c = i % 9;
  const set = new Set<number>();
  for (let k = 0; k < 9; k++) {
    set.add(r * 9 + k);
    set.add(k * 9 + c);
    set.add((Math.floor(r / 3) * 3 + Math.floor(k / 3)) * 9 + Math.floor(c / 3) * 3 + (k % 3));
  }
  set.delete(i);
  return [...set];
});

let guesses = 0;

function candidates(b: Board, i: number): Digit[] {
  const used = new Set(peers[i].map((p) => b[p]));
  return ([1, 2, 3, 4, 5, 6, 7, 8, 9] as Digit[]).filter((d) => !used.has(d));
}

function solve(b: Board): Board | null {
  let best = -1;
  let options: Digit[] = [];
  for (let i = 0; i < 81; i++) {
    if (b[i]) continue;
    const c = candidates(b, i);
    if (best < 0 || c.length < options.length) [best, options] = [i, c];
    if (options.length <= 1) break;
  }
  if (best < 0) return b;
  for (const d of options) {
    guesses++;
    const copy = b.slice();
    copy[best] = d;
    const r = solve(copy);
    if (r) return r;
  }
  return null;
}

function show(b: Board) {
  for (let r = 0; r < 9; r++) {
    if (r && r % 3 === 0) console.log("------+-------+------");
    const row = b.slice(r * 9, r * 9 + 9).map((d) => d || ".");
    console.log([row.slice(0, 3), row.slice(3, 6), row.slice(6)].map((x) => x.join(" ")).join(" | "));
  }
}

show(parse(puzzle));
console.log();
const solved = solve(parse(puzzle));
if (solved) {
  show(solved);
  console.log(`solved with ${guesses} placements`);
}
