type Row = number[];

class Matrix {
  constructor(private readonly data: Row[]) {
    if (data.some((r) => r.length !== data[0].length)) throw new TypeError("rows differ in length");
  }
  static identity(n: number) {
    return new Matrix(Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_, j) => +(i === j))));
  }
  get rows() { return this.data.length; }
  get cols() { return this.data[0].length; }

  mul(other: Matrix): Matrix {
    if (this.cols !== other.rows) throw new RangeError(`cannot multiply ${this.rows}x${this.cols} by ${other.rows}x${other.cols}`);
    return new Matrix(this.data.map((row) => other.transpose().data.map((col) => row.reduce((s, v, k) => s + v * col[k], 0))));
  }
  transpose(): Matrix {
    return new Matrix(this.data[0].map((_, j) => this.data.map((r) => r[j])));
  }
  pow(n: number): Matrix {
    let result = Matrix.identity(this.rows), base: Matrix = this;
    for (; n > 0; n >>= 1) {
      if (n & 1) result = result.mul(base);
      base = base.mul(base);
    }
    return result;
  }
  determinant(): number {
    const m = this.data.map((r) => [...r]);
    let det = 1;
    for (let c = 0; c < m.length; c++) {
      let pivot = c;
      for (let r = c + 1; r < m.length; r++) if (Math.abs(m[r][c]) > Math.abs(m[pivot][c])) pivot = r;
      if (m[pivot][c] === 0) return 0;
      if (pivot !== c) { [m[pivot], m[c]] = [m[c], m[pivot]]; det = -det; }
      det *= m[c][c];
      for (let r = c + 1; r < m.length; r++) {
        const f = m[r][c] / m[c][c];
        for (let k = c; k < m.length; k++) m[r][k] -= f * m[c][k];
      }
    }
    return Math.round(det * 1e9) / 1e9;
  }
  toString() {
    const w = Math.max(...this.data.flat().map((n) => String(n).length));
    return this.data.map((r) => "[ " + r.map((n) => String(n).padStart(w)).join(" ") + " ]").join("\n");
  }
}

const a = new Matrix([[2, 1, 0], [0, 3, 4], [1, 0, 5]]);
const b = new Matrix([[1, 2], [3, 4], [5, 6]]);
console.log(String(a.mul(b)));
console.log("det", a.determinant());
console.log(b.transpose().toString());
console.log("fib(30) =", String(new Matrix([[1, 1], [1, 0]]).pow(30)).match(/\d+/g)![1]);
try {
  b.mul(b);
} catch (err: unknown) {
  if (err instanceof RangeError) console.log("RangeError:", err.message);
}
console.log(new Matrix([[1, 2], [2, 4]]).determinant());
