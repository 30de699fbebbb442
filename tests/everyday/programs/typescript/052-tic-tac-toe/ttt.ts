// Perfect tic-tac-toe: both sides play minimax with alpha-beta
type Player = "X" | "O";
type Square = Player | null;
type Board = readonly Square[];

const LINES = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 3, 6], [1, 4, 7], [2, 5, 8], [0, 4, 8], [2, 4, 6]] as const;

const other = (p: Player): Player => (p === "X" ? "O" : "X");
const winner = (b: Board): Player | null => LINES.map(([i, j, k]) => (b[i] && b[i] === b[j] && b[j] === b[k] ? b[i] : null)).find(Boolean) ?? null;
const free = (b: Board): number[] => b.flatMap((s, i) => (s ? [] : [i]));
const play = (b: Board, i: number, p: Player): Board => b.with(i, p);

let visited = 0;
function negamax(b: Board, p: Player, alpha = -Infinity, beta = Infinity): { score: number; move?: number } {
  visited++;
  if (winner(b)) return { score: -(free(b).length + 1) };
  const moves = free(b);
  if (!moves.length) return { score: 0 };
  let best: { score: number; move?: number } = { score: -Infinity };
  for (const move of moves) {
    const score = -negamax(play(b, move, p), other(p), -beta, -alpha).score;
    if (score > best.score) best = { score, move };
    if ((alpha = Math.max(alpha, score)) >= beta) break;
  }
  return best;
}

function draw(b: Board): string {
  const c = (i: number) => b[i] ?? String(i + 1);
  return [0, 3, 6].map((r) => ` ${c(r)} | ${c(r + 1)} | ${c(r + 2)} `).join("\n---+---+---\n");
}

let board: Board = Array<Square>(9).fill(null);
let turn: Player = "X";
while (!winner(board) && free(board).length) {
  const { move, score } = negamax(board, turn);
  board = play(board, move!, turn);
  console.log(`${turn} plays ${move! + 1} (score ${score})`);
  turn = other(turn);
}
console.log(draw(board));
console.log(winner(board) ? `${winner(board)} wins` : "A draw, of course 🤝", `- ${visited} positions`);

const puzzle = [..."XX.OO...."].map((c) => (c === "." ? null : (c as Player)));
console.log("O to move:", negamax(puzzle, "O").move! + 1, "/ X to move:", negamax(puzzle, "X").move! + 1);
