const puzzle = `
53..7....
6..195...
.98....6.
8...6...3
4..8.3..1
7...2...6
.6....28.
...419..5
....8..79`;

function parse(text) {
  return text.trim().split('\n').map(line => [...line].map(c => (c === '.' ? 0 : +c)));
}

function candidates(board, r, c) {
  const used = new Set(board[r]);
  for (let i = 0; i < 9; i++) used.add(board[i][c]);
  const br = r - (r % 3), bc = c - (c % 3);
  for (let i = 0; i < 9; i++) used.add(board[br + Math.floor(i / 3)][bc + (i % 3)]);
  return [1, 2, 3, 4, 5, 6, 7, 8, 9].filter(n => !used.has(n));
}

let steps = 0;
function solve(board) {
  let best = null;
  for (let r = 0; r < 9; r++) {
    for (let c = 0; c < 9; c++) {
      if (board[r][c]) continue;
      const opts = candidates(board, r, c);
      if (!best || opts.length < best.opts.length) best = { r, c, opts };
    }
  }
  if (!best) return true;
  for (const n of best.opts) {
    steps++;
    board[best.r][best.c] = n;
    if (solve(board)) return true;
    board[best.r][best.c] = 0;
  }
  return false;
}

function show(board) {
  board.forEach((row, i) => {
    if (i % 3 === 0) console.log('+-------+-------+-------+');
    console.log('| ' + [0, 3, 6].map(k => row.slice(k, k + 3).join(' ')).join(' | ') + ' |');
  });
  console.log('+-------+-------+-------+');
}

const board = parse(puzzle);
if (solve(board)) {
  show(board);
  console.log(`solved in ${steps} steps`);
} else {
  console.log('no solution');
  process.exit(1);
}

const broken = parse(puzzle);
broken[0][2] = 5;
broken[1][1] = 4;
console.log('impossible puzzle solved?', solve(broken));
